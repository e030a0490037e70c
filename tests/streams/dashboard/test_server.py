"""What the page's server answers, and to whom."""

import asyncio
import base64
import time
from pathlib import Path

import pytest

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from schemas.ddl import FOREVER
from streams.dashboard.panels import PANELS
from streams.datafolder import DataFolder
from streams.schema import apply
from streams.settings import Settings, load
from tests.faults.proxy import FaultProxy
from tests.pipeline import running
from tests.streams.dashboard.serving import Page, feed, insert, lines, serving

_PATIENCE_SECONDS = 30


async def test_every_panel_answers_as_it_is_declared(page: Page, clickhouse: ClickHouse, source: str) -> None:
    now = time.time()
    await page.noticing(insert(clickhouse, source, feed(1, now - 7_200, 7_200, 500)))
    for panel in PANELS.values():
        status, answer = await page.get(f"/api/panels/{panel.name}?range=6h&domain=gmail.example&find=a@example.com")

        assert status == 200, answer
        assert all(len(row) == len(panel.columns) for row in answer["rows"])
        assert (answer["before"] is not None) == panel.compared
        assert "{" not in answer["sql"].replace("{3}", "").replace("{5,}", "").replace("{8,}", "").replace("{8}", "")


async def test_the_sql_that_is_shown_gives_what_is_shown(page: Page, clickhouse: ClickHouse, source: str) -> None:
    now = time.time()
    await page.noticing(insert(clickhouse, source, feed(2, now - 90_000, 90_000, 1_000)))
    for panel in PANELS.values():
        _, answer = await page.get(f"/api/panels/{panel.name}?range=24h&domain=gmail.example&find=a@example.com")
        result = await clickhouse.query(answer["sql"])
        if panel.name != "freshness":  # it is of the very second
            assert len(result.result_rows) == len(answer["rows"]), panel.name
            shown = [[value for value in row if isinstance(value, int)] for row in answer["rows"]]
            names = [column.name for column in panel.columns]
            pasted = [[row[name] for name in names if isinstance(row[name], int)] for row in result.named_results()]
            assert pasted == shown, panel.name


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/panels/nonsense", 404),
        ("/api/panels/funnel?range=nonsense", 400),
        ("/api/panels/funnel?source=nonsense", 400),
        ("/api/panels/funnel?from=nonsense", 400),
        ("/api/panels/history", 400),
        (f"/api/panels/history?find={'x' * 2_000}", 400),
        ("/api/changes?since=nonsense", 400),
        ("/api/health?source=nonsense", 400),
        ("/static/../server.py", 404),
    ],
)
async def test_what_cannot_be_answered_says_why(page: Page, path: str, status: int) -> None:
    found, answer = await page.get(path)

    assert found == status
    assert answer["error"]


async def test_changes_are_told_when_rows_come(page: Page, clickhouse: ClickHouse, source: str) -> None:
    _, before = await page.get("/api/changes?since=-1")
    waiting = asyncio.ensure_future(page.get(f"/api/changes?since={before['revision']}"))
    await insert(clickhouse, source, lines([{"event": "open", "email": "a@example.com"}], int(time.time() * 1000)))
    _, after = await waiting

    assert after["revision"] > before["revision"]
    assert (after["trouble"], after["counted"]) == ("", 1)


async def test_with_clickhouse_away_it_says_so_and_comes_back(
    servers: Settings, data: DataFolder, clickhouse: ClickHouse, source: str
) -> None:
    await apply({source: FOREVER}, clickhouse)
    async with FaultProxy(data.clickhouse_url(servers)) as proxy:
        async with proxy.away(), serving(servers, proxy.url, source) as page:
            status, answer = await page.get("/api/panels/funnel")
            assert (status, "does not answer" in answer["error"]) == (503, True)
            assert (await page.get("/health"))[0] == 200
        async with serving(servers, proxy.url, source) as page:
            await page.counted()
            async with proxy.away():
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    while not (await page.get("/api/changes?since=-1"))[1]["trouble"]:
                        await asyncio.sleep(0.1)
                assert (await page.get("/api/panels/funnel"))[0] == 503
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while (await page.get("/api/changes?since=-1"))[1]["trouble"]:
                    await asyncio.sleep(0.1)
            assert (await page.get("/api/panels/funnel"))[0] == 200


async def test_without_its_tables_it_ends_and_says_what_to_do(servers: Settings, data: DataFolder, source: str) -> None:
    async with serving(servers, data.clickhouse_url(servers), source) as page:
        with pytest.raises(Fatal, match="gridstream schema apply"):
            await asyncio.wait_for(page.tasks.failure(), _PATIENCE_SECONDS)


async def test_the_pipelines_health_is_what_status_says(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with running(servers, data, source, tmp_path) as pipeline:
        assert await pipeline.post(b'[{"event": "open", "email": "a@example.com"}, 7]') == 200
        account = await pipeline.settled()
        async with serving(servers, data.clickhouse_url(servers), source) as page, asyncio.timeout(_PATIENCE_SECONDS):
            while not (health := (await page.get("/api/health"))[1])["account"] or not health["lag_at"]:
                await asyncio.sleep(0.1)

            assert health["account"]["accepted"] == account.accepted == 2
            assert health["account"]["dead_letters"] == 1
            assert health["account"]["balanced"] is True
            assert health["roles"] == {"normalize": "running", "store": "running"}
            assert health["lag"] == {"gridstream.normalize": 0, "gridstream.store": 0}
            (letter,) = await page.rows("letters")
            assert (letter["step"], letter["letters"]) == ("normalize", 1)
            (freshness,) = await page.rows("freshness")
            assert freshness["rate"] > 0
            assert freshness["took"] > 0
            assert freshness["latest"]


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


async def test_with_a_password_nothing_is_shown_without_it(
    servers: Settings, data: DataFolder, clickhouse: ClickHouse, source: str
) -> None:
    await apply({source: FOREVER}, clickhouse)
    async with serving(servers, data.clickhouse_url(servers), source, dashboard={"password": "pass:wörd"}) as page:
        for path in ("/", "/static/page.js", "/api/page", "/api/panels/tail", "/api/health", "/metrics", "/nonsense"):
            async with page.session.get(page.url + path) as refusal:
                assert refusal.status == 401
                assert refusal.headers["WWW-Authenticate"].startswith("Basic ")
        for wrong in (basic("other"), basic(""), "Basic !", "Basic", "Bearer pass:wörd", basic("pass")):
            async with page.session.get(page.url + "/api/page", headers={"Authorization": wrong}) as refusal:
                assert refusal.status == 401

        assert (await page.get("/api/page", Authorization=basic("pass:wörd")))[0] == 200
        assert (await page.get("/health"))[0] == 200


async def test_without_a_password_only_this_machine_is_meant(page: Page) -> None:
    assert (await page.get("/api/page", Host="attacker.example"))[0] == 403
    assert (await page.get("/api/page", Host="localhost:8081"))[0] == 200
    assert (await page.get("/api/page", Host="[::1]:8081"))[0] == 200


def test_beyond_loopback_a_password_must_be_set(tmp_path: Path) -> None:
    file = tmp_path / "gridstream.toml"
    file.write_text('[dashboard]\nhost = "0.0.0.0"')
    with pytest.raises(Fatal, match=r"dashboard.host: 0\.0\.0\.0 would show anybody .* set dashboard\.password"):
        load(file)

    file.write_text('[dashboard]\nhost = "0.0.0.0"\npassword = "secret"')
    settings = load(file)
    assert settings.dashboard.host == "0.0.0.0"
    assert "secret" not in repr(settings)


async def test_answers_forbid_what_the_page_does_not_need(page: Page) -> None:
    for path in ("/", "/static/page.js", "/api/page", "/nonsense"):
        async with page.session.get(page.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_files_are_compressed_and_sent_once(page: Page) -> None:
    async with page.session.get(page.url + "/static/uPlot.js") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        tag = answer.headers["ETag"]
    async with page.session.get(page.url + "/static/uPlot.js", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with page.session.get(page.url + "/static/uPlot.js", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert "uPlot" in await answer.text()
