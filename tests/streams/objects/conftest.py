"""The world that tests of objects live in: a fake account whose clock can be stepped, and a database on the engine."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from streams import schema
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.streams.objects.world import World, made

_DATABASE = "objects"


@pytest.fixture(scope="session")
async def objects_database(servers: Settings, data: DataFolder) -> str:
    """One database for all, emptied for each test: to make one takes longer than most tests."""
    connection = ClickHouse(data.clickhouse_url(servers))
    await connection.connect()
    await schema.apply([_DATABASE], connection)
    await connection.close()
    return _DATABASE


@pytest.fixture
async def world(clickhouse: ClickHouse, objects_database: str) -> AsyncIterator[World]:
    used = "SELECT name FROM system.tables WHERE database = {database:String} AND total_rows > 0"
    for (name,) in (await clickhouse.query(used, {"database": objects_database})).result_rows:
        await clickhouse.query(f"TRUNCATE TABLE {identifier(objects_database)}.{identifier(name)}")
    async with made(clickhouse, objects_database) as new:
        yield new
