"""The world that tests of contacts live in."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams import schema
from streams.contacts import list_sync
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.streams.contacts.town import Town, founded

_DATABASE = "contacts"


@pytest.fixture(scope="session")
async def contacts_database(servers: Settings, data: DataFolder) -> str:
    """One database for all: each test has an account of its own."""
    connection = ClickHouse(data.clickhouse_url(servers))
    await connection.connect()
    await schema.apply([_DATABASE], connection)
    await connection.close()
    return _DATABASE


@pytest.fixture
async def town(
    clickhouse: ClickHouse, contacts_database: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    """A town with one account."""
    async with founded(clickhouse, contacts_database, source) as new:
        monkeypatch.setattr(list_sync, "now", lambda: int(new.fake.clock.now() * 1000))
        yield new
