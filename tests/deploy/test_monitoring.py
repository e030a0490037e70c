"""Alerts and dashboards speak of what there is: metrics, labels, tables, runbooks."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer.main
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER, identifier
from schemas.tables import DELIVERIES, EVENT_TABLES
from streams import metrics
from streams.accounting import COLUMNS
from streams.cli import cli
from streams.datafolder import DataFolder
from streams.groups import ROLES
from streams.schema import apply
from streams.sections import Ingress, Worker
from streams.settings import Settings
from tests.deploy.composition import COMPOSED
from tests.generated import ROOT
from tests.pipeline import running
from tests.samples import sample

PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
OPERATIONS = (ROOT / "docs/operations.md").read_text()
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in (GRAFANA / "dashboards").glob("*.json")}
_OF_SCRAPING = {"job", "instance", "role"}
FOREIGN = {
    "node_filesystem_avail_bytes": {"fstype", "mountpoint"},
    "node_filesystem_size_bytes": {"fstype", "mountpoint"},
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "up": set(),
}
"""Metrics that are not ours, of node-exporter, of the Prometheus client and of Prometheus itself, with their labels."""


_ENDINGS = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def ours() -> dict[str, set[str]]:
    """The labels of each time series that we declare."""
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = set(metric._labelnames)
            for ending in _ENDINGS[str(metric._type)]:
                found[f"{metric._name}{ending}"] = labels | ({"le"} if ending == "_bucket" else set())
    return found


KNOWN = ours() | FOREIGN


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression, with where it is."""
    for name, rule in ALERTS.items():
        yield name, rule["expr"]
    for panel in DASHBOARDS["operators"]["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_every_metric_and_label_in_an_expression_exists(place: str, expression: str) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    named = set(re.findall(r"\b((?:gridstream|node|process)_\w+|up)\b", bare))

    assert named, place
    assert named <= KNOWN.keys()
    labels = set().union(*(KNOWN[name] for name in named)) | _OF_SCRAPING
    for selector in re.findall(r"\{([^}]*)\}", bare):
        assert set(re.findall(r"(\w+)\s*(?:=|!)", selector)) <= labels, selector
    for grouped in re.findall(r"\b(?:by|ignoring|on|without)\s*\(([^)]*)\)", bare):
        assert set(re.findall(r"\w+", grouped)) <= labels, grouped


def test_the_sums_of_the_account_have_their_names() -> None:
    for place, expression in expressions():
        assert set(re.findall(r'\bwhat="(\w+)"', expression)) <= set(COLUMNS), place


class TestPrometheus:
    def test_asks_every_service_where_it_answers(self) -> None:
        scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
        jobs = {job["job_name"]: job for job in scraped}
        ((ingress,), (worker,)) = (jobs[name]["dns_sd_configs"] for name in ("ingress", "worker"))

        assert (ingress["names"], ingress["port"]) == (["ingress"], Ingress().port)
        assert (sorted(worker["names"]), worker["port"]) == (sorted(ROLES), Worker().metrics_port)
        assert jobs["dashboard"]["basic_auth"]["password_file"] == "/run/secrets/dashboard_password"
        assert "dashboard_password" in COMPOSED["services"]["prometheus"]["secrets"]
        for job in jobs.values():
            for target in [target for each in job.get("static_configs", ()) for target in each["targets"]]:
                assert target.partition(":")[0] in {*COMPOSED["services"], "127.0.0.1"}

    @pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
    @pytest.mark.parametrize(
        "arguments",
        [
            ("check", "rules", "alerts.yml"),
            ("test", "rules", "alerts_test.yml"),
            ("check", "config", "--syntax-only", "prometheus.yml"),
        ],
        ids=lambda arguments: arguments[-1],
    )
    def test_promtool_agrees(self, arguments: tuple[str, ...]) -> None:
        done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
    def test_promtool_reads_the_expressions_of_the_dashboards(self, tmp_path: Path) -> None:
        rules = [
            {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
            for number, (_, expression) in enumerate(expressions())
        ]
        file = tmp_path / "panels.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr


class TestRunbooks:
    def test_there_is_one_for_each_alert_and_none_without(self) -> None:
        sections = re.findall(r"^### (Gridstream\w+)$", OPERATIONS, re.MULTILINE)

        assert sorted(sections) == sorted(ALERTS)
        for name, rule in ALERTS.items():
            assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"

    @pytest.mark.parametrize("name", ALERTS)
    def test_says_what_one_sees_what_to_run_and_what_to_expect(self, name: str) -> None:
        section = OPERATIONS.partition(f"### {name}\n")[2].partition("\n### ")[0]

        assert re.findall(r"^\*\*(One sees|Run|Expect)\*\*", section, re.MULTILINE) == ["One sees", "Run", "Expect"]

    @pytest.mark.parametrize("name", ALERTS)
    def test_each_alert_is_provoked(self, name: str) -> None:
        cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
        checks = [check for case in cases for check in case["alert_rule_test"] if check["alertname"] == name]

        assert any(check["exp_alerts"] for check in checks)
        assert any(not check["exp_alerts"] for check in checks)

    def test_name_commands_and_services_that_there_are(self) -> None:
        code = code_in(OPERATIONS)
        commands = getattr(typer.main.get_command(cli), "commands", {})
        services = COMPOSED["services"]

        assert set(re.findall(r"\bgridstream ([a-z][a-z-]+)\b", code)) <= commands.keys()
        assert set(re.findall(r"docker compose (?:exec|stop) (\S+)", code)) <= services.keys()
        assert set(re.findall(r"--scale ([a-z]+)=", code)) <= services.keys()
        for names in re.findall(r"docker compose (?:up|ps|logs)(?: --\S+(?: \d+| 1h)?)*((?: [a-z]+)*)", code):
            assert set(names.split()) <= services.keys(), names
        for profile in re.findall(r"--profile ([a-z]+)", code):
            assert services[profile]["profiles"] == [profile]


def code_in(text: str) -> str:
    """What is set as code."""
    return "\n".join(map("".join, re.findall(r"```\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)))


class TestDashboards:
    def test_ask_sources_that_are_provisioned(self) -> None:
        provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/gridstream.yml").read_text())["datasources"]
        known = {(source["type"], source["uid"]) for source in provisioned}
        for dashboard in DASHBOARDS.values():
            for panel in dashboard["panels"]:
                for asked in [panel, *panel.get("targets", ())]:
                    source = asked.get("datasource")
                    assert source is None or (source["type"], source["uid"]) in known, panel["title"]
        clickhouse = next(source for source in provisioned if source["uid"] == "clickhouse")
        assert clickhouse["type"] == COMPOSED["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
        password = clickhouse["secureJsonData"]["password"]
        assert password == "$__file{/run/secrets/clickhouse_reader_password}"
        assert "clickhouse_reader_password" in COMPOSED["services"]["grafana"]["secrets"]

    def test_are_where_they_are_provisioned_from(self) -> None:
        providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/gridstream.yml").read_text())["providers"]
        (path,) = [provider["options"]["path"] for provider in providers]

        assert f"./deploy/grafana/dashboards:{path}:ro" in COMPOSED["services"]["grafana"]["volumes"]

    @pytest.mark.parametrize("name", DASHBOARDS)
    def test_fill_their_rows_without_overlaps(self, name: str) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in DASHBOARDS[name]["panels"]:
            grid = panel["gridPos"]
            cells = {
                (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        identities = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
        assert len(set(identities)) == len(identities)


AT = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())


def expanded(sql: str, database: str) -> str:
    """A query as Grafana sends it for the hour after AT, its macros replaced as the ClickHouse plugin does it."""
    sql = sql.replace("${source}", database)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({AT}) AND \1 <= toDateTime({AT + 3600})", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", sql)
    assert "$" not in sql
    return sql


def shares(expected: float) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda rows: rows == [{"share": expected}]


EXPECTED: dict[str, Any] = {
    "Delivered": [{"delivered": 3}],
    "Delivery rate": shares(0.75),
    "Opened by people": shares(1 / 3),
    "Clicked": shares(1 / 3),
    "Bounced for good": shares(0.25),
    "Spam reports": shares(1 / 3),
    "Events": lambda rows: sum(row["events"] for row in rows if row["event"] == "open") == 3,
    "Funnel": [{"processed": 4, "delivered": 3, "opened": 1, "clicked": 1}],
    "Campaigns": [{"category": "spring", "delivered": 3, "opened": 1, "clicked": 1, "unsubscribed": 0}],
    "Links": [{"url": "https://www.example.com/", "clicks": 2, "people": 1}],
    "Bounces by receiving domain": [
        {
            "domain": "example.org",
            "type": "bounce",
            "bounces": 1,
            "mostly": "Invalid Address",
            "example": "550 no such user",
        }
    ],
    "Not even tried": [{"reason": "Bounced Address", "dropped": 1, "people": 1}],
    "Seconds from event to receipt": lambda rows: {(row["median"], row["p95"]) for row in rows} == {(2.0, 2.0)},
    "Received": lambda rows: [(row["posts"], row["accepted"], row["malformed"]) for row in rows] == [(1, 12, 1)],
}
"""By the panel's title: the rows, or what is to be true of them."""


async def fill(database: str, clickhouse: ClickHouse) -> None:
    """Four messages: one opened, clicked and marked as spam by a person, one opened by a machine, one bounced."""
    people = ["ada@example.com", "bob@example.com", "eve@example.com", "gone@example.org"]

    async def happened(event: str, *emails: str, second: int = 60, **fields: object) -> None:
        lines = [
            orjson.dumps(
                {
                    "event": event,
                    "event_id": f"{event}-{email}-{second}",
                    "email": email,
                    "sg_message_id": f"message-{email}",
                    "category": ["spring"],
                    "timestamp": f"{datetime.fromtimestamp(AT + second, UTC):%F %T}.000",
                    "received_at": f"{datetime.fromtimestamp(AT + second + 2, UTC):%F %T}.000",
                    **fields,
                }
            )
            for email in emails
        ]
        table = f"{identifier(database)}.{identifier(EVENT_TABLES[event].rows)}"
        await clickhouse.insert(table, [b"\n".join(lines)])

    await happened("processed", *people)
    await happened("delivered", *people[:3])
    await happened("delivered", people[0], second=7200)  # after the hour that is looked at
    await happened("open", people[0], second=120)
    await happened("open", people[0], second=180)
    await happened("open", people[1], second=120, sg_machine_open=True)
    await happened("click", people[0], second=240, url="https://www.example.com/")
    await happened("click", people[0], second=241, url="https://www.example.com/")
    await happened("spamreport", people[0], second=300)
    await happened(
        "bounce", people[3], type="bounce", bounce_classification="Invalid Address", reason="550 no such user"
    )
    await happened("dropped", people[3], second=90, reason="Bounced Address", category=[])
    delivery = {"partition": 0, "offset": 0, "received_at": f"{datetime.fromtimestamp(AT, UTC):%F %T}.000"}
    line = orjson.dumps({**delivery, "bytes": 100, "events": 12, "malformed": 1, "identities": []})
    await clickhouse.insert(f"{identifier(database)}.{identifier(DELIVERIES.rows)}", [line])


async def test_analysts_see_what_happened(clickhouse: ClickHouse, source: str, subtests: pytest.Subtests) -> None:
    await apply({source: FOREVER}, clickhouse)
    await fill(source, clickhouse)
    (variable,) = DASHBOARDS["analysts"]["templating"]["list"]
    assert (source,) in (await clickhouse.query(variable["query"])).result_rows
    panels = {panel["title"]: panel for panel in DASHBOARDS["analysts"]["panels"]}

    assert panels.keys() == EXPECTED.keys()
    for title, panel in panels.items():
        with subtests.test(title):
            (target,) = panel["targets"]
            rows = list((await clickhouse.query(expanded(target["rawSql"], source))).named_results())
            expected = EXPECTED[title]
            assert expected(rows) if callable(expected) else rows == expected, rows
            if target["format"] == 0:
                assert isinstance(rows[0]["time"], datetime)


async def test_the_account_is_a_metric_of_whoever_takes_it(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with running(servers, data, source, tmp_path) as pipeline:
        assert await pipeline.post(sample("click")) == 200
        account = await pipeline.settled()

    for name in COLUMNS:
        shown = REGISTRY.get_sample_value("gridstream_account_events", {"source": source, "what": name})
        assert shown == getattr(account, name)
    assert account.rows == 1
    assert REGISTRY.get_sample_value("gridstream_account_balanced", {"source": source}) == 1
