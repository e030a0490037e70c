"""The world that tests of mails live in."""

from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from streams import schema
from streams.datafolder import DataFolder
from streams.mail import agent, book, resolving, sender
from streams.settings import Settings
from tests.streams.mail.office import Office, opened

_DATABASE = "mails"


@pytest.fixture(scope="session")
async def mail_database(servers: Settings, data: DataFolder) -> str:
    """One database for all: each test has calls of its own."""
    connection = ClickHouse(data.clickhouse_url(servers))
    await connection.connect()
    await schema.apply([_DATABASE], connection)
    await connection.close()
    return _DATABASE


@pytest.fixture
async def office(
    clickhouse: ClickHouse, mail_database: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    """An office with one rule."""
    async with opened(clickhouse, mail_database, source) as new:
        clocked(new, monkeypatch)
        yield new


def clocked(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time be that of an office's SendGrid."""
    for module in (agent, book, resolving, sender):
        monkeypatch.setattr(module, "now", lambda: int(office.fake.clock.now() * 1000))
