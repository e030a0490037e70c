"""The real servers that tests run on: Apache Kafka and the ClickHouse engine, one of each for the whole run."""

import itertools
from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
async def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """The data folder of the run's servers."""
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    folder.prepare()
    return folder


@pytest.fixture(scope="session")
async def servers(data: DataFolder) -> AsyncIterator[Settings]:
    """Settings that name the run's servers."""
    kafka_port, engine_port = embedded.free_port(), embedded.free_port()
    settings = Settings(kafka={"embedded_port": kafka_port}, clickhouse={"embedded_port": engine_port})
    async with Supervisor() as supervisor:
        await supervisor.start(await embedded.kafka(settings, data), embedded.engine(settings, data))
        yield settings


@pytest.fixture
async def clickhouse(servers: Settings, data: DataFolder) -> AsyncIterator[ClickHouse]:
    """Connected, with the right to write."""
    connection = ClickHouse(data.clickhouse_url(servers))
    await connection.connect()
    yield connection
    await connection.close()


@pytest.fixture
def source() -> str:
    """The name of a source that no other test has."""
    return f"source{next(_numbers)}"
