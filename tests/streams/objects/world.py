"""A small world for tests of objects: one account, the real engine, and a fake SendGrid whose clock can be stepped."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from connectors.clickhouse import ClickHouse
from connectors.http import error_for
from connectors.sendgrid_objects import SendGridObjects
from schemas.columns import time_text
from schemas.ddl import identifier
from schemas.objects import OBJECTS
from schemas.tables import CALLS, EVENT_TABLES
from streams.objects.calls import Calls
from streams.objects.sync import ObjectSync, Outcome
from streams.sections import Source
from tests.fakes.clock import Clock
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.server import Call

NAMES = [kind.name for kind in OBJECTS]


class Unplugged(SendGridObjects):
    """Asks the fake without sockets in between, on which 100,000 calls would spend minutes that are not gridstream's.

    Args:
        fake: that is asked.
    """

    def __init__(self, fake: FakeSendGrid) -> None:
        super().__init__(fake.key, fake.url)
        self._fake = fake

    async def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        plain, _, query = path.partition("?")
        headers = {name.lower(): value for name, value in self._headers.items()}
        asked = Call(
            method, plain, dict(parse_qsl(query)), path, headers, body or b"", self._url, self._fake.clock.now()
        )
        answer = await self._fake.answer(asked)
        content = orjson.dumps(answer.body)
        if answer.status >= 400:
            raise error_for(answer.status, content.decode(), answer.headers, "SendGrid")
        found: dict[str, Any] = orjson.loads(content)
        return found


@dataclass
class World:
    """What a test does with it.

    Attributes:
        fake: the SendGrid.
        clickhouse: connected.
        database: of the source.
        key: that is used.
        is_ours: whether the sync is this worker's.
    """

    fake: FakeSendGrid
    clickhouse: ClickHouse
    database: str
    key: str
    is_ours: bool = True
    progress: list[tuple[str, int, int | None]] = field(default_factory=list)

    async def sync(self, *names: str, through: SendGridObjects | None = None) -> dict[str, Outcome]:
        """Sync some kinds of objects, or all; what became of each.

        Args:
            names: of the kinds.
            through: what asks SendGrid, if not what usually does.
        """
        outcomes: dict[str, Outcome] = {}
        source = Source(name=self.database, api_key=self.key, api_url=self.fake.url)
        async with through or SendGridObjects(self.key, self.fake.url) as api:
            calls = Calls(lambda: self.is_ours, self.pause)
            sync = ObjectSync(source, api, self.clickhouse, calls, lambda *each: self.progress.append(each))
            await sync.run(names or NAMES, lambda outcome: outcomes.update({outcome.object: outcome}))
        return outcomes

    async def pause(self, seconds: float) -> None:
        """Time passes."""
        self.fake.clock.advance(seconds)
        await asyncio.sleep(0)

    async def rows(self, table: str, columns: str = "*", where: str = "1") -> list[dict[str, Any]]:
        """What a reader of a table sees."""
        sql = f"SELECT {columns} FROM {identifier(self.database)}.{identifier(table)} WHERE {where} ORDER BY ALL"
        return list((await self.clickhouse.query(sql)).named_results())

    async def events(self, name: str, *emails: str, at: float, **columns: object) -> None:
        """Events come in.

        Args:
            name: of the event, as on the wire.
            emails: whose; an event each.
            at: when, in seconds since 1970.
            columns: what else they say.
        """
        table = f"{identifier(self.database)}.{identifier(EVENT_TABLES[name].rows)}"
        common = {"event": name, "timestamp": time_text(int(at * 1000))} | columns
        lines = (
            orjson.dumps({"event_id": f"{name}{at}{email}", "email": email, "user_id": email} | common)
            for email in emails
        )
        await self.clickhouse.insert(table, [b"\n".join(lines)])

    async def calls(self, event: str, *user_ids: str, at: float) -> None:
        """Track calls of a Segment client come in.

        Args:
            event: what they say.
            user_ids: whose; a call each.
            at: when, in seconds since 1970.
        """
        call = {"type": "track", "event": event, "timestamp": time_text(int(at * 1000))}
        lines = (orjson.dumps(call | {"message_id": f"{event}{user_id}", "user_id": user_id}) for user_id in user_ids)
        await self.clickhouse.insert(f"{identifier(self.database)}.{identifier(CALLS.rows)}", [b"\n".join(lines)])


@asynccontextmanager
async def made(clickhouse: ClickHouse, database: str) -> AsyncIterator[World]:
    """A world with an empty account. Its time begins now and stands still: what a sync waits for passes at once."""
    async with FakeSendGrid(Clock(time.time())) as fake:
        yield World(fake, clickhouse, database, fake.key)
