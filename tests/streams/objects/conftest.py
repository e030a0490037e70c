"""The world that tests of objects live in: a fake account whose clock can be stepped, and a database on the engine."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.tables import EVENT_TABLES, OBJECT_TABLES, SYNCS
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
    for table in (*OBJECT_TABLES.values(), SYNCS, *EVENT_TABLES.values()):
        await clickhouse.query(f"TRUNCATE TABLE {identifier(objects_database)}.{identifier(table.rows)}")
    async with made(clickhouse, objects_database) as new:
        yield new
