"""The world that tests of contacts live in."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams.contacts import list_sync
from tests.streams.contacts.town import Town, founded


@pytest.fixture
async def town(
    clickhouse: ClickHouse, database: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    """A town with one account."""
    async with founded(clickhouse, database, source) as new:
        monkeypatch.setattr(list_sync, "now", lambda: int(new.fake.clock.now() * 1000))
        yield new
