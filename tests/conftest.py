"""The real servers that tests run on: Apache Kafka and the ClickHouse engine, one of each for the whole run."""

import itertools
from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.servers import embedded_servers

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
    async with embedded_servers(data.path) as running:
        yield running.settings


@pytest.fixture
async def clickhouse(servers: Settings, data: DataFolder) -> AsyncIterator[ClickHouse]:
    """Connected, with the right to write."""
    async with ClickHouse(data.clickhouse_url(servers)) as connection:
        yield connection


@pytest.fixture
def source() -> str:
    """The name of a source that no other test has."""
    return f"source{next(_numbers)}"
