"""The world that tests of mails live in."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams.mail import agent, book, resolving, sender
from tests.streams.mail.office import Office, opened


@pytest.fixture
async def office(
    clickhouse: ClickHouse, database: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    """An office with one rule."""
    async with opened(clickhouse, database, source) as new:
        clocked(new, monkeypatch)
        yield new


def clocked(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time be that of an office's SendGrid."""
    for module in (agent, book, resolving, sender):
        monkeypatch.setattr(module, "now", lambda: int(office.fake.clock.now() * 1000))
