"""The servers of the faults: their own, as they die often, and one pipeline on them that most faults happen to."""

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict

import pytest

from streams import supervisor
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor
from tests.faults.catalogue import MEASURED, Measured
from tests.faults.proxy import FaultProxy
from tests.faults.rig import Rig
from tests.pipeline import Pipeline, running
from tests.servers import embedded_servers


@pytest.fixture(scope="session", autouse=True)
def no_growing_pauses() -> None:
    """Here processes are killed every few seconds, and each time the supervisor is to be as quick as at first."""
    supervisor._STEADY_SECONDS = 0


Recorder = Callable[[Measured], None]
"""Takes what a fault cost."""


class Servers:
    """A Kafka and a ClickHouse engine that may be killed."""

    def __init__(self, settings: Settings, data: DataFolder, supervisor: Supervisor, proxy: FaultProxy) -> None:
        self.settings = settings
        self.data = data
        self.supervisor = supervisor
        self.proxy = proxy


@pytest.fixture(scope="session")
async def mortals(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    async with (
        embedded_servers(tmp_path_factory.mktemp("mortals")) as (settings, data, supervisor),
        FaultProxy(data.clickhouse_url(settings)) as proxy,
    ):
        yield Servers(settings, data, supervisor, proxy)


@pytest.fixture(scope="session")
async def shared(mortals: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pipeline]:
    folder = tmp_path_factory.mktemp("shared")
    environment = {"GRIDSTREAM_CLICKHOUSE__TIMEOUT_SECONDS": "5", "GRIDSTREAM_WORKER__HELD_BYTES": str(2 << 20)}
    async with running(
        mortals.settings,
        mortals.data,
        "shared",
        folder,
        clickhouse_url=mortals.proxy.url,
        environment=environment,
    ) as pipeline:
        yield pipeline


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Recorder:
    def record(measured: Measured) -> None:
        record_property(MEASURED, asdict(measured))

    return record


@pytest.fixture
async def rig(mortals: Servers, shared: Pipeline, record: Recorder) -> AsyncIterator[Rig]:
    rig = Rig(shared, mortals.supervisor, mortals.proxy, record)
    yield rig
    await rig.restore()
