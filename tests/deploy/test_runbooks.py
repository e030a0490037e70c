"""From each alert to its cause: something goes wrong in a real pipeline, and its metrics and the runbook lead there."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import aiohttp
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from connectors.kafka import Admin
from schemas import topics
from schemas.ddl import identifier
from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Program
from tests.deploy.shift import Scrape, Shift, runbook
from tests.deploy.test_monitoring import ALERTS
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.faults import Respond
from tests.faults.proxy import FaultProxy, refusing
from tests.pipeline import running
from tests.samples import sample

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
SOURCE = "runbooks"
PASSWORD = "of the webhook"
LOGIN = {"Authorization": aiohttp.encode_basic_auth("sendgrid", PASSWORD)}
_PATIENCE_SECONDS = 60
_PROVOKED: set[str] = set()
Test = TypeVar("Test")


def provokes(*alerts: str) -> Callable[[Test], Test]:
    """Marks the test that provokes alerts."""
    _PROVOKED.update(alerts)
    return lambda test: test


class World(Shift):
    """A shift on a pipeline whose ClickHouse and Amplitude can fail.

    Attributes:
        clickhouse: what its processes take for it.
        amplitude: where its events go.
    """

    clickhouse: FaultProxy
    amplitude: FakeAmplitude

    async def post(self, *tables: str) -> None:
        for table in tables:
            assert await self.pipeline.post(sample(table), **LOGIN) == 200

    async def until(self, process: str, text: str, times: int = 1) -> None:
        """Wait until a process has said something."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self.pipeline.log(process).count(text) < times:
                await asyncio.sleep(0.05)

    async def grown(self, name: str, before: Scrape) -> Scrape:
        """Wait until a metric is more than it was."""

        def total(scrape: Scrape) -> float:
            return sum(value for series, value in scrape.series.items() if series.startswith(f"{name}{{"))

        async with asyncio.timeout(_PATIENCE_SECONDS):
            while total(after := await self.scrape()) <= total(before):
                await asyncio.sleep(0.1)
        return after

    @asynccontextmanager
    async def without(self, role: str) -> AsyncIterator[None]:
        """No worker of a role meanwhile."""
        await self.pipeline.supervisor.stop(role)
        yield
        await self.start(role)

    async def start(self, role: str) -> None:
        """Start a worker, and wait until it works."""
        before = self.pipeline.log(role).count('"working"')
        await self.pipeline.supervisor.start(self.pipeline.worker(role))
        await self.until(role, '"working"', before + 1)

    def process(self, name: str, *command: str, **variables: str) -> Program:
        """One more process, with settings of its own."""
        program = self.pipeline.process(name, command)
        return replace(program, environment={**program.environment, **variables})


@pytest.fixture(scope="module")
async def world(servers: Settings, data: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("runbooks")
    async with FaultProxy(data.clickhouse_url(servers)) as proxy, FakeAmplitude() as amplitude:
        entry = {"api_key": amplitude.api_key, "url": amplitude.url}
        environment = {"GRIDSTREAM_AMPLITUDE": json.dumps([entry])}
        async with running(
            servers,
            data,
            SOURCE,
            folder,
            clickhouse_url=proxy.url,
            environment=environment,
            username="sendgrid",
            password=PASSWORD,
            api_key="SG.wrong",
            api_url=f"http://127.0.0.1:{embedded.free_port()}",
        ) as pipeline:
            world = World(pipeline, folder)
            world.clickhouse, world.amplitude = proxy, amplitude
            await world.start("forward")
            await world.post("click")
            await pipeline.settled()
            yield world


async def test_nothing_fires_while_nothing_is_wrong(world: World) -> None:
    before = await world.scrape()
    await world.post("click", "delivered")
    await world.pipeline.settled()
    after = await world.grown("gridstream_freshness_seconds_count", before)

    for alert in ALERTS.keys() - {"GridstreamAccountUnknown"}:  # its clock begins in 1970
        assert not world.fires(alert, before, after), alert


@provokes("GridstreamIngressDown")
async def test_an_ingress_without_kafka(world: World) -> None:
    before = await world.scrape()
    await world.pipeline.supervisor.stop("ingress")
    nowhere = f"127.0.0.1:{embedded.free_port()}"
    alone = world.process("ingress-2", "ingress", GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS=nowhere)
    await world.pipeline.supervisor.start(alone)
    try:
        assert world.fires("GridstreamIngressDown", before, await world.scrape())
        await world.until("ingress-2", "connecting to Kafka", 2)
        assert nowhere in world.reads("GridstreamIngressDown", "ingress", "ingress-2")
    finally:
        await world.pipeline.supervisor.stop("ingress-2")
        await world.pipeline.supervisor.start(world.pipeline.ingress())


@provokes("GridstreamUnauthorized", "GridstreamNothingAccepted")
async def test_a_password_that_is_not_the_webhooks(world: World) -> None:
    before = await world.scrape()
    assert await world.pipeline.post(sample("click")) == 401
    after = await world.grown("gridstream_requests_total", before)

    assert world.fires("GridstreamUnauthorized", before, after)
    assert world.fires("GridstreamNothingAccepted", before, after)
    assert f"source {SOURCE}: asks for a password" in await world.runs("GridstreamNothingAccepted", "doctor")
    assert "`401`: see [GridstreamUnauthorized]" in runbook("GridstreamNothingAccepted")
    assert "password" in runbook("GridstreamUnauthorized")


@provokes("GridstreamSilent")
async def test_nobody_posts_any_more(world: World) -> None:
    before = await world.scrape()
    await world.post("click")
    after = await world.grown("gridstream_requests_total", before)

    assert world.fires("GridstreamSilent", before, after, quiet_hours=4)
    assert "`405` too" in runbook("GridstreamSilent")
    async with aiohttp.ClientSession() as session, session.head(world.pipeline.url) as answer:
        assert answer.status == 405


@provokes("GridstreamRoleDown")
async def test_a_store_whose_table_lacks_a_column(world: World) -> None:
    table = f"{identifier(SOURCE)}.bounce_rows"
    before = await world.scrape()
    await world.pipeline.supervisor.stop("store")
    await world.pipeline.clickhouse.query(f"ALTER TABLE {table} DROP COLUMN status")
    try:
        assert world.fires("GridstreamRoleDown", before, await world.scrape())
        await world.pipeline.supervisor.start(world.pipeline.worker("store"))
        remedy = "lacks bounce_rows.status; run: gridstream schema apply"
        await world.until("store", remedy)
        assert remedy in world.reads("GridstreamRoleDown", "normalize", "store")
        assert "…; run: gridstream schema apply" in runbook("GridstreamRoleDown")
    finally:
        assert (await world.pipeline.command("schema", "apply"))[0] == 0
        await world.pipeline.supervisor.stop("store")
        await world.start("store")


@provokes("GridstreamLagGrowing", "GridstreamFreshness")
async def test_a_clickhouse_that_takes_nothing(world: World) -> None:
    async with world.clickhouse.doing(refusing(503)):
        await world.post("click")
        await world.clickhouse.has_met(1)
        before = await world.scrape()
        await world.post("click", "click")
        after = await world.grown("gridstream_lag_records", before)

        assert world.fires("GridstreamLagGrowing", before, after)
        assert world.fires("GridstreamFreshness", before, after)
        assert "waiting to try again" in world.pipeline.log("store")
        processes = await world.runs(
            "GridstreamLagGrowing", 'sql "SELECT elapsed, query FROM system.processes ORDER BY elapsed DESC"'
        )
        assert "upstream is not available" in processes
    assert re.search(r"store +running", await world.runs("GridstreamLagGrowing", "status"))
    await world.pipeline.settled()


@provokes("GridstreamDeadLetters")
async def test_something_that_is_no_event(world: World) -> None:
    before = await world.scrape()
    assert await world.pipeline.post(b"no JSON at all", **LOGIN) == 200
    after = await world.grown("gridstream_dead_letters_total", before)
    await world.pipeline.settled()

    assert world.fires("GridstreamDeadLetters", before, after)
    assert "not JSON" in await world.runs("GridstreamDeadLetters", "dead-letters list")
    (letter,) = await world.pipeline.rows("dead_letters", "id")
    assert "gridstream dead-letters show ID" in runbook("GridstreamDeadLetters")
    assert "no JSON at all" in (await world.pipeline.command("dead-letters", "show", letter["id"]))[1]


@provokes("GridstreamDestinationBehind")
async def test_an_amplitude_that_answers_nothing_but_errors(world: World) -> None:
    failing = world.amplitude.fail("*", "*", Respond(503, b"down for maintenance"), times=None)
    empty = await world.scrape()
    await world.post("delivered")
    before = await world.grown("gridstream_oldest_waiting_seconds", empty)
    after = await world.grown("gridstream_oldest_waiting_seconds", before)
    try:
        assert world.fires("GridstreamDestinationBehind", before, after)
        assert f"forward {SOURCE}" in await world.runs("GridstreamDestinationBehind", "status")
        assert f"amplitude {SOURCE}: Amplitude answered 503" in await world.runs(
            "GridstreamDestinationBehind", "doctor"
        )
    finally:
        failing.stop()


@provokes("GridstreamSyncFailing")
async def test_a_sendgrid_that_cannot_be_reached(world: World) -> None:
    failures = 'gridstream_sync_failures_total{job="worker", object="lists", role="objects", source="runbooks"}'
    before, after = Scrape({failures: 0}, 0), Scrape({failures: 1}, 60)

    assert world.fires("GridstreamSyncFailing", before, after)
    assert f"api_key of {SOURCE}: " in (said := await world.runs("GridstreamSyncFailing", "doctor"))
    assert "→ set sources.api_key to a key that works" in said
    assert "127.0.0.1" in await world.runs("GridstreamSyncFailing", "sync lists")


@provokes("GridstreamAccountOff")
async def test_rows_that_somebody_has_deleted(world: World) -> None:
    await world.pipeline.settled()
    before = await world.scrape()
    await world.pipeline.clickhouse.query(f"TRUNCATE TABLE {identifier(SOURCE)}.click_rows")
    account = await world.pipeline.settled()
    after = await world.scrape()

    assert not account.balanced
    assert world.fires("GridstreamAccountOff", before, after)
    assert "what came in is not what became of it" in await world.runs("GridstreamAccountOff", "status")
    assert "normalized" in await world.runs("GridstreamAccountOff", "replay --since 1d")
    assert (await world.pipeline.settled()).balanced


@provokes("GridstreamExpired")
async def test_raw_records_that_retention_took(world: World) -> None:
    await world.pipeline.settled()
    async with world.without("normalize"):
        before = await world.scrape()
        await world.post("click", "click")
        async with Admin(world.pipeline.servers) as asked:
            ends = await asked.offsets([topics.raw(SOURCE)])
        admin = AIOKafkaAdminClient(bootstrap_servers=world.pipeline.servers)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(*at): RecordsToDelete(end) for at, (_, end) in ends.items()})
        finally:
            await admin.close()
        await world.pipeline.status()
        after = await world.scrape()

        assert world.fires("GridstreamExpired", before, after)
        assert "2 raw records were gone before they were read" in await world.runs("GridstreamExpired", "status")


@provokes("GridstreamAccountUnknown")
async def test_a_dashboard_with_a_wrong_setting(world: World) -> None:
    nothing = Scrape({'up{job="dashboard"}': 1}, 0)
    assert world.fires("GridstreamAccountUnknown", nothing, Scrape({'up{job="dashboard"}': 0}, 60))
    wrong = world.process("dashboard", "dashboard", GRIDSTREAM_DASHBOARD__HOST="0.0.0.0")
    await world.pipeline.supervisor.start(wrong)
    try:
        await world.until("dashboard", "set dashboard.password")
        assert "dashboard.host" in world.reads("GridstreamAccountUnknown", "dashboard")
    finally:
        await world.pipeline.supervisor.stop("dashboard")


@provokes("GridstreamDisk")
async def test_a_disk_that_is_nearly_full(world: World) -> None:
    disk = '{fstype="ext4", instance="a", job="machine", mountpoint="/"}'
    sizes = {f"node_filesystem_size_bytes{disk}": 100.0}
    before = Scrape({**sizes, f"node_filesystem_avail_bytes{disk}": 20.0}, 0)
    after = Scrape({**sizes, f"node_filesystem_avail_bytes{disk}": 14.0}, 60)

    assert world.fires("GridstreamDisk", before, after)
    command = re.findall(r"`gridstream (sql [^`]+)`", runbook("GridstreamDisk"))[0]
    assert "click_rows" in await world.runs("GridstreamDisk", command)


def test_every_alert_is_provoked() -> None:
    assert set(ALERTS) == _PROVOKED
