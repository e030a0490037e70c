"""The world that tests of objects live in: a fake account whose clock can be stepped, and a database on the engine."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from tests.streams.objects.world import World, made


@pytest.fixture
async def world(clickhouse: ClickHouse, database: str) -> AsyncIterator[World]:
    used = "SELECT name FROM system.tables WHERE database = {database:String} AND total_rows > 0"
    for (name,) in (await clickhouse.query(used, {"database": database})).result_rows:
        await clickhouse.query(f"TRUNCATE TABLE {identifier(database)}.{identifier(name)}")
    async with made(clickhouse, database) as new:
        yield new
