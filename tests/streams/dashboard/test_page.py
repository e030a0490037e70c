"""The page in a real Chromium."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER
from streams.dashboard.panels import PANELS
from streams.datafolder import DataFolder
from streams.schema import apply
from streams.settings import Settings
from streams.simulator.feed import Feed
from streams.simulator.simulate import simulate
from tests.faults.proxy import FaultProxy
from tests.pipeline import running
from tests.streams.dashboard.browser import CHROMIUM, DRIVER, ENTER, ESCAPE, PHONE, TAB, Browser
from tests.streams.dashboard.serving import Page, feed, insert, lines, serving

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and its driver")

AXE = "axe-core@4.14.1"
_FIRST_PAINT_BYTES = 300_000
_MOST_PAGES = 100


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.quit()


@pytest.fixture(autouse=True)
def _window(browser: Browser) -> None:
    browser.look()


@pytest.fixture
async def filled(page: Page, clickhouse: ClickHouse, source: str) -> Page:
    """Over two days of a feed."""
    now = time.time()
    await page.noticing(insert(clickhouse, source, feed(1, now - 172_800, 172_700, 4_000)))
    return page


def _shows(browser: Browser, panel: str, places: list[int], numbers: list[list[int]]) -> bool:
    """Whether these columns of a panel have these numbers; it may still be on its way to them."""
    return [[number(row[place]) for place in places] for row in browser.rows(panel)] == numbers


def number(text: str) -> float:
    """What a written number says."""
    return float(re.sub(r"[^0-9.]", "", text) or "nan")


async def test_every_panel_shows_the_numbers_of_the_tables_while_a_feed_comes_in(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path, browser: Browser
) -> None:
    async with (
        running(servers, data, source, tmp_path) as pipeline,
        serving(servers, data.clickhouse_url(servers), source) as page,
    ):
        await asyncio.to_thread(browser.open, f"{page.url}/?range=90d")
        await simulate(pipeline.url, Feed(seed=7, start=time.time() - 3_600, rate=1_000), count=3_000)
        await pipeline.settled()
        expected = {
            "Processed": await pipeline.count("processed"),
            "Delivered": await pipeline.count("delivered"),
        }

        def funnel() -> dict[str, float]:
            return {
                label: number(text)
                for label, text in browser.tiles("funnel", ".line > b", ".line span b").items()
                if label in expected
            }

        await asyncio.to_thread(browser.until, lambda: funnel() == expected)
        tables = {
            "Clicked": "click", "Deferred": "deferred", "Dropped": "dropped", "Spam report": "spam_report",
            "Left a group": "group_unsubscribe", "Unknown": "unknown",
        }  # fmt: skip
        counts = {label: await pipeline.count(table) for label, table in tables.items()}

        def timeline() -> dict[str, float]:
            keys = browser.tiles("timeline", ".keys span:not(.dot)", ".keys b")
            return {label: number(text) for label, text in keys.items() if label in counts}

        await asyncio.to_thread(browser.until, lambda: timeline() == counts)
        for name, panel in PANELS.items():
            if panel.shape in ("table", "events") and not panel.needs:
                places = [place for place, column in enumerate(panel.columns) if column.format == "count"]
                rows = [list(row.values()) for row in await page.rows(name, "range=90d")]
                numbers = [[row[place] for place in places] for row in rows]
                await asyncio.to_thread(browser.until, partial(_shows, browser, name, places, numbers))
        assert await asyncio.to_thread(browser.complaints) == []


async def test_what_is_chosen_is_in_the_url_and_the_url_shows_it_to_others(filled: Page, browser: Browser) -> None:
    def choose() -> tuple[str, dict[str, str]]:
        browser.open(filled.url)
        browser.answered("rates")
        browser.choose("#range", "yesterday")
        browser.find("#tests").click()
        browser.until(lambda: "range=yesterday" in browser.driver.current_url)
        browser.until(lambda: "tests=1" in browser.driver.current_url)
        url = browser.driver.current_url
        browser.open(url)
        return url, browser.tiles("rates", "dt", "dd p:nth-child(2)")

    url, shown = await asyncio.to_thread(choose)
    assert set(url.partition("?")[2].split("&")) == {"range=yesterday", "tests=1"}
    answers = await filled.rows("rates", "range=yesterday&tests=1")
    assert {row["title"]: f"{row['events']:,} of {row['of']:,}" for row in answers} == shown

    def back() -> tuple[str, bool]:
        browser.choose("#range", "7d")
        browser.until(lambda: "range=7d" in browser.driver.current_url)
        browser.driver.back()
        browser.until(lambda: "range=yesterday" in browser.driver.current_url)
        return browser.run("return document.getElementById('range').value"), browser.find("#tests").is_selected()

    assert await asyncio.to_thread(back) == ("yesterday", True)

    def custom() -> list[str]:
        browser.open(f"{filled.url}/?from=2026-01-01T10:00&to=2026-01-02T11:30")
        browser.answered("rates")
        values: list[str] = browser.run("return ['range', 'from', 'to'].map((id) => document.getElementById(id).value)")
        return values

    assert await asyncio.to_thread(custom) == ["custom", "2026-01-01T10:00", "2026-01-02T11:30"]
    assert await asyncio.to_thread(browser.complaints) == []


async def test_paused_it_stays_as_it_is_until_another_view_is_chosen(
    filled: Page, browser: Browser, clickhouse: ClickHouse, source: str
) -> None:
    def pause() -> dict[str, str]:
        browser.open(filled.url)
        browser.answered("rates")
        browser.find("#pause").click()
        return browser.tiles("rates", "dt", "dd p:nth-child(2)")

    paused = await asyncio.to_thread(pause)
    now = time.time()
    await filled.noticing(insert(clickhouse, source, feed(7, now - 60, 50, 200)))

    def look() -> tuple[str, dict[str, str]]:
        return browser.find("#state").text, browser.tiles("rates", "dt", "dd p:nth-child(2)")

    said, shown = await asyncio.to_thread(look)
    assert said.startswith("Paused at")
    assert shown == paused

    def choose() -> bool:
        browser.choose("#range", "yesterday")
        browser.until(lambda: "range=yesterday" in browser.driver.current_url)
        busy = "return document.getElementById('panel-rates').getAttribute('aria-busy')"
        browser.until(lambda: browser.run(busy) == "false")
        return browser.find("#state").text.startswith("Paused at")

    assert await asyncio.to_thread(choose)
    answers = await filled.rows("rates", "range=yesterday")
    expected = {row["title"]: f"{row['events']:,} of {row['of']:,}" for row in answers}
    assert await asyncio.to_thread(browser.tiles, "rates", "dt", "dd p:nth-child(2)") == expected


async def test_a_recipient_leads_to_their_history_and_a_domain_to_its_answers(filled: Page, browser: Browser) -> None:
    def follow() -> tuple[str, list[list[str]], int, str, list[list[str]], str]:
        browser.open(f"{filled.url}/?range=7d")
        browser.answered("slowest")
        person = browser.follow("#panel-slowest td.who a")
        browser.until(lambda: "find=" in browser.driver.current_url)
        history = browser.rows("history")
        apart = browser.run("return document.querySelectorAll('#panel-history tr.apart').length")
        browser.answered("domains")
        domain = browser.follow("#panel-domains td a")
        return person, history, apart, domain, browser.rows("answers"), browser.find("#title-answers").text

    person, history, apart, domain, answers, title = await asyncio.to_thread(follow)
    assert {row[2] for row in history} == {person}
    rows = await filled.rows("history", f"find={person}")
    assert len(history) == len(rows)
    assert apart == sum(one["message"] != other["message"] for one, other in pairwise(rows))
    assert title == f"Why it is late: {domain}"
    expected = next(row for row in await filled.rows("domains", "range=7d") if row["domain"] == domain)
    assert sum(number(row[0]) for row in answers) == expected["deferred"]


async def test_each_panels_sql_can_be_copied_and_gives_its_numbers(
    filled: Page, clickhouse: ClickHouse, browser: Browser
) -> None:
    def copied(name: str) -> str:
        section = browser.answered(name)
        browser.run("arguments[0].querySelector('.sql').click()", section)
        browser.find("dialog button").click()
        browser.until(lambda: browser.find("dialog button").text == "Copied")
        text: str = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        browser.press(ESCAPE)
        browser.until(lambda: browser.run("return !document.querySelector('dialog')"))
        return text

    def begin() -> None:
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        browser.driver.execute_cdp_cmd("Browser.grantPermissions", {"origin": filled.url, "permissions": permissions})
        browser.open(f"{filled.url}/?range=yesterday")

    await asyncio.to_thread(begin)
    for panel in PANELS.values():
        if not panel.needs:
            sql = await asyncio.to_thread(copied, panel.name)
            result = await clickhouse.query(sql)
            if panel.name != "freshness":
                assert len(result.result_rows) == len(await filled.rows(panel.name, "range=yesterday")), panel.name


async def test_an_empty_database_says_that_there_is_nothing(page: Page, browser: Browser) -> None:
    def look() -> dict[str, str]:
        browser.open(page.url)
        return {panel.name: browser.answered(panel.name).text for panel in PANELS.values() if not panel.needs}

    texts = await asyncio.to_thread(look)
    for name, text in texts.items():
        assert PANELS[name].empty in text or PANELS[name].shape in ("rates", "funnel", "values"), name
        assert not re.search(r"NaN|undefined|null|Infinity", text), name
    assert await asyncio.to_thread(browser.complaints) == []


async def test_with_clickhouse_away_it_says_so_keeps_its_numbers_and_comes_back(
    servers: Settings, data: DataFolder, clickhouse: ClickHouse, source: str, browser: Browser
) -> None:
    await apply({source: FOREVER}, clickhouse)
    await insert(clickhouse, source, feed(3, time.time() - 3_600, 3_500, 300))
    async with FaultProxy(data.clickhouse_url(servers)) as proxy, serving(servers, proxy.url, source) as page:
        await asyncio.to_thread(browser.open, page.url)
        before = await asyncio.to_thread(browser.tiles, "funnel", ".line > b", ".line span b")
        async with proxy.away():
            await asyncio.to_thread(browser.until, lambda: browser.find("#trouble").is_displayed())
            text = await asyncio.to_thread(lambda: browser.find("#trouble").text)
            kept = await asyncio.to_thread(browser.run, "return document.querySelector('.line span b').innerText")
        await asyncio.to_thread(browser.until, lambda: not browser.find("#trouble").is_displayed())
        after = await asyncio.to_thread(browser.tiles, "funnel", ".line > b", ".line span b")

    assert "ClickHouse does not answer" in text
    assert "password" not in text
    assert kept == before["Processed"]
    assert after == before


async def test_a_thousand_campaigns_fit(page: Page, clickhouse: ClickHouse, source: str, browser: Browser) -> None:
    now = int(time.time())
    posted: list[dict[str, object]] = [
        {"event": "processed", "email": "a@example.com", "sg_event_id": f"e{number}", "timestamp": now - 60,
         "marketing_campaign_name": f"A campaign with a rather long name, number {number}"}
        for number in range(1_000)
    ]  # fmt: skip
    await page.noticing(insert(clickhouse, source, lines(posted, now * 1000)))

    def look() -> tuple[int, int, str, list[list[str]], int]:
        browser.look(PHONE)
        browser.open(f"{page.url}/?range=1h")
        section = browser.answered("campaigns")
        few = browser.run("return arguments[0].querySelectorAll('tbody tr').length", section)
        text = section.text
        rows = browser.rows("campaigns")
        return few, section.size["width"], text, rows, browser.run("return document.documentElement.scrollWidth")

    few, width, text, rows, page_width = await asyncio.to_thread(look)
    assert few == 8
    assert "Show all 1,000" in text
    assert len(rows) == 1_000
    assert width < PHONE[0]
    assert page_width <= PHONE[0]


async def test_nothing_that_comes_with_an_event_is_executed(
    page: Page, clickhouse: ClickHouse, source: str, browser: Browser
) -> None:
    markup = (
        "<img src=x onerror=\"window.ran=1\"><script>window.ran=1</script><a href='javascript:window.ran=1'>{{7*7}}"
    )
    now = int(time.time())
    fields = {
        "email": f"{markup}@example.com", "url": f"javascript:window.ran=1//{markup}", "useragent": markup,
        "reason": markup,
        "response": markup, "category": [markup], "marketing_campaign_name": markup, "bounce_classification": markup,
        "sg_message_id": f"{markup}-{now:X}-1A.0", "timestamp": now - 60,
    }  # fmt: skip
    events = ("processed", "deferred", "delivered", "bounce", "dropped", "open", "click", "spamreport", "unsubscribe")
    posted = [{**fields, "event": event, "sg_event_id": event} for event in events]
    await page.noticing(insert(clickhouse, source, lines(posted, now * 1000)))
    await clickhouse.insert(
        f"`{source}`.dead_letters_rows",
        [orjson.dumps({"id": "1", "step": markup, "reason": markup, "state": "waiting", "received_at": now})],
    )

    def look() -> dict[str, str]:
        browser.open(f"{page.url}/?range=1h&domain=example.com")
        texts = {panel.name: browser.answered(panel.name).text for panel in PANELS.values() if panel.name != "history"}
        browser.run("document.querySelector('#panel-tail td.who a').click()")
        texts["history"] = browser.answered("history").text
        browser.run("document.querySelectorAll('td a').forEach((link) => link.click())")
        return texts

    texts = await asyncio.to_thread(look)
    assert "<script>window.ran=1</script>" in texts["tail"]
    for panel in (
        "domains",
        "answers",
        "bounces",
        "drops",
        "links",
        "campaigns",
        "categories",
        "slowest",
        "history",
        "letters",
    ):
        assert "<img" in texts[panel] or "javascript" in texts[panel] or panel in ("domains", "links"), panel
    assert await asyncio.to_thread(browser.run, "return window.ran ?? null") is None
    assert await asyncio.to_thread(browser.run, "return document.querySelectorAll('main img, main script').length") == 0
    assert await asyncio.to_thread(browser.complaints) == []


async def test_it_can_be_used_with_the_keyboard_alone(filled: Page, browser: Browser) -> None:
    def focused() -> str:
        text: str = browser.run(
            "const at = document.activeElement; return at.id || at.getAttribute('aria-label') || at.innerText"
        )
        return text

    def walk() -> list[str]:
        browser.open(f"{filled.url}/?range=7d")
        browser.answered("timeline")
        browser.run("scrollTo(0, 0)")
        seen = []
        for _ in range(_MOST_PAGES):
            browser.press(TAB)
            seen.append(focused())
        return seen

    seen = await asyncio.to_thread(walk)
    wanted = [
        "Skip to the numbers",
        "find",
        "range",
        "tests",
        "pause",
        "share",
        "SQL of Rates",
        "SQL of Events over time",
    ]
    assert list(dict.fromkeys(name for name in seen if name in wanted)) == wanted
    assert any(name.startswith("Clicked") for name in seen)

    def use() -> tuple[str, str, str]:
        browser.run("document.getElementById('find').focus()")
        browser.press("somebody@example.com", ENTER)
        browser.until(lambda: "find=" in browser.driver.current_url)
        at_history = focused()
        nothing = browser.answered("history").text
        browser.run("document.querySelector('#panel-rates .sql').focus()")
        browser.press(ENTER)
        browser.until(lambda: browser.run("return document.querySelector('dialog')?.contains(document.activeElement)"))
        browser.press(ESCAPE)
        browser.until(lambda: not browser.run("return document.querySelector('dialog')"))
        return at_history, nothing, focused()

    at_history, nothing, after = await asyncio.to_thread(use)
    assert at_history == "title-history"
    assert PANELS["history"].empty in nothing
    assert after == "SQL of Rates"


@pytest.fixture(scope="module")
async def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    options = ("--no-save", "--no-package-lock", "--silent", "--prefix", str(folder))
    process = await asyncio.create_subprocess_exec("npm", "install", *options, AXE)
    assert await process.wait() == 0
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.skipif(not shutil.which("npm"), reason="needs Node")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 1000), PHONE], ids=["desktop", "phone"])
async def test_axe_finds_nothing_serious(
    filled: Page, browser: Browser, axe: str, scheme: Any, size: tuple[int, int]
) -> None:
    def look() -> list[dict[str, Any]]:
        browser.look(size, scheme)
        browser.open(f"{filled.url}/?range=7d&domain=gmail.example&find=a@example.com")
        for panel in PANELS:
            browser.answered(panel)
        browser.run("document.querySelector('details').open = true")
        browser.run(axe)
        found: list[dict[str, Any]] = browser.driver.execute_async_script(
            "axe.run().then((found) => arguments[0](found.violations))"
        )
        browser.run("document.querySelector('#panel-rates .sql').click()")
        found += browser.driver.execute_async_script(
            "axe.run('dialog').then((found) => arguments[0](found.violations))"
        )
        return found

    found = await asyncio.to_thread(look)
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


async def test_the_first_paint_is_light(filled: Page, browser: Browser) -> None:
    def transferred() -> int:
        browser.open(filled.url)
        for panel in ("rates", "funnel", "timeline"):
            browser.answered(panel)
        size: int = browser.run(
            "return performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
        )
        return size

    assert 10_000 < await asyncio.to_thread(transferred) < _FIRST_PAINT_BYTES
