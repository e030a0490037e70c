"""What the small worlds of contacts, mails and objects stand on."""

import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER
from streams import schema
from streams.datafolder import DataFolder
from streams.settings import Settings


@pytest.fixture(scope="session")
async def database(servers: Settings, data: DataFolder) -> str:
    """A database on the engine, one for all: to make one takes longer than most tests.

    So each test has an account, calls or the like of its own, or empties it before.
    """
    name = "worlds"
    async with ClickHouse(data.clickhouse_url(servers)) as connection:
        await schema.apply({name: FOREVER}, connection)
    return name
