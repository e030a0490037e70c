"""A small world for tests of mails: one account with rules, the real engine, and a fake SendGrid with a clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson

from connectors.clickhouse import ClickHouse
from connectors.kafka import NO_HEADERS, Headers, Record
from connectors.sendgrid import SendGrid
from schemas import topics
from schemas.dead_letters import HEADER, DeadLetter
from schemas.segment import Call
from schemas.tables import Table
from streams.chunks import Chunk
from streams.mail.agent import MailAgent, resend
from streams.mail.book import Entry, MailBook
from streams.mail.sender import Sender
from streams.sections import Mail
from tests.fakes.clock import Clock
from tests.fakes.sendgrid import FakeSendGrid

EVENT = "Order Shipped"


class CrashError(Exception):
    """The process has ended in the middle of a chunk."""


class Letters:
    """Kafka, as far as a sender of mails needs it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Record]] = []

    async def publish(self, topic: str, record: Record) -> None:
        self.published.append((topic, record))

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The dead letters as the table has them: of each the one that changed last."""
        found: dict[str, dict[str, Any]] = {}
        for topic, record in self.published:
            if topic.endswith(".dead-letters"):
                row = orjson.loads(record.value)
                if row["id"] not in found or row["changed_at"] >= found[row["id"]]["changed_at"]:
                    found[row["id"]] = row
        return found


@dataclass
class Office:
    """What a test does with it.

    Attributes:
        fake: the SendGrid.
        api: of it.
        clickhouse: connected.
        database: of the account's source.
        template: that the rule of EVENT sends.
        prefix: of the ids of this test's calls.
        kafka: where dead letters go.
        rules: which calls send which mails.
        said: all records so far.
        unacknowledged: those that Kafka will bring again.
    """

    fake: FakeSendGrid
    api: SendGrid
    clickhouse: ClickHouse
    database: str
    template: str
    prefix: str
    kafka: Letters = field(default_factory=Letters)
    said: list[Record] = field(default_factory=list)
    unacknowledged: list[Record] = field(default_factory=list)
    _calls: int = 0
    _crashing: asyncio.Event = field(default_factory=asyncio.Event)
    _crashed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.configure(self.rule())

    def rule(self, **fields: Any) -> dict[str, Any]:
        """A rule's settings."""
        usual = {
            "event": EVENT,
            "template_id": self.template,
            "from": "shop@example.com",
            "to": "$.properties.email",
        }
        return usual | fields

    def configure(self, *rules: Mapping[str, Any]) -> None:
        """Other rules; also what a restart does."""
        self.rules = Mail(rules=rules).compiled()
        self.book = MailBook(self.clickhouse, self.database)
        kafka: Any = self.kafka
        self.sender = Sender(self.api, self.book, kafka, self.database, "uid", self.pause)
        self.agent = MailAgent(self.rules, self.sender, self.database, kafka)

    def restart(self) -> None:
        """What was only in memory is gone."""
        self.sender = Sender(self.api, self.book, self.sender._producer, self.database, "uid", self.pause)
        self.agent = MailAgent(self.rules, self.sender, self.database, self.sender._producer)

    def call(self, message_id: str = "", event: str = EVENT, age: float = 0, **properties: Any) -> Call:
        """A track call, made so many seconds ago."""
        self._calls += 1
        at = int((self.fake.clock.now() - age) * 1000)
        return Call(
            type="track",
            message_id=self.prefix + (message_id or str(self._calls)),
            user_id="u1",
            anonymous_id="",
            event=event,
            timestamp=at,
            received_at=at,
            traits={},
            properties={"email": f"p{self._calls}@example.com"} | properties,
            context={},
        )

    async def say(self, *calls: Call, headers: Headers = NO_HEADERS) -> None:
        """Calls come out of Kafka, and what becomes of them is decided."""
        await self.hear(*(Record(call.key, call.record(), headers) for call in calls))

    async def hear(self, *records: Record) -> None:
        """Records come out of Kafka, after those that were not acknowledged.

        Raises:
            CrashError: the process has ended.
        """
        self.said += records
        self.unacknowledged += records
        if not self.unacknowledged:
            return
        chunk = Chunk.of(topics.MAILS, 0, [_consumed(each) for each in self.unacknowledged], 0)

        async def stream() -> AsyncIterator[Chunk]:
            yield chunk

        working = asyncio.ensure_future(self.agent.agent(stream()))
        crashing = asyncio.ensure_future(self._crashing.wait())
        crashing.add_done_callback(lambda _: working.cancel() if self._crashing.is_set() else None)
        await asyncio.wait({working})
        crashing.cancel()
        if chunk.acknowledged:
            self.unacknowledged = []
        if self._crashing.is_set():
            self._crashed.set()
            self._crashing, self._crashed = asyncio.Event(), asyncio.Event()
            raise CrashError
        working.result()

    async def replay(self, letter: dict[str, Any]) -> None:
        """Somebody replays a dead letter."""
        at = int(self.fake.clock.now() * 1000)
        found = DeadLetter.of_row(letter | {"received_ms": at, "changed_ms": at})
        await self.hear(Record(None, found.payload, [(HEADER, found.header())]))

    async def resend(self, entry: Entry) -> None:
        """Somebody wants a mail sent again."""
        await self.hear(resend(entry))

    def crash_after(self, steps: int) -> None:
        """The process ends at the step after so many: before or after a call of SendGrid's, an insert, a letter."""
        left = steps
        database = self.book._database
        insert = partial(type(database).insert, database)

        async def step() -> None:
            nonlocal left
            left -= 1
            if left == -1:
                self._crashing.set()
                await self._crashed.wait()
                raise ConnectionError

        async def inserting(table: Table, rows: Iterable[Mapping[str, object]]) -> None:
            await step()
            await insert(table, rows)
            await step()

        async def publishing(topic: str, record: Record) -> None:
            await step()
            await Letters.publish(self.kafka, topic, record)
            await step()

        self.fake.on_call = self.fake.on_answer = lambda _: step()
        database.insert = inserting  # type: ignore[method-assign]
        self.kafka.publish = publishing  # type: ignore[method-assign]

    def heal(self) -> None:
        """No more crashes."""
        self.fake.on_call = self.fake.on_answer = None
        self.book._database.__dict__.pop("insert", None)
        self.kafka.__dict__.pop("publish", None)

    async def pause(self, seconds: float) -> None:
        """Time passes."""
        self.fake.clock.advance(seconds)
        await asyncio.sleep(0)

    def ids(self, *calls: Call) -> list[str]:
        """Of the mails that calls become."""
        return [rule.id_of(call) for call in calls for rule in self.rules.of(call)]

    async def entries(self, *calls: Call) -> list[Entry]:
        """What is known of the mails of calls."""
        found = await self.book.entries(self.ids(*calls))
        return [found[mail] for mail in self.ids(*calls) if mail in found]

    async def states(self, *calls: Call) -> list[str]:
        """How far the mails of calls are."""
        return [entry.state for entry in await self.entries(*calls)]

    @property
    def bodies(self) -> list[Any]:
        """Of what was sent."""
        return [mail.body for mail in self.fake.mail.sent]

    def times_sent(self, mail: str) -> int:
        """How often a mail was sent."""
        return sum(each["personalizations"][0]["custom_args"]["gridstream_message_id"] == mail for each in self.bodies)


def _consumed(record: Record) -> Any:
    """As aiokafka gives it."""
    return SimpleNamespace(
        key=record.key,
        value=record.value,
        headers=record.headers,
        topic=topics.MAILS,
        partition=0,
        offset=0,
        timestamp=1_790_000_000_000,
    )


@asynccontextmanager
async def opened(clickhouse: ClickHouse, database: str, prefix: str) -> AsyncIterator[Office]:
    """An office with one rule.

    Args:
        clickhouse: connected; it has the database.
        database: of its source.
        prefix: of the ids of its calls.
    """
    async with FakeSendGrid(Clock(time.time())) as fake, SendGrid(fake.key, fake.url) as api:
        template = fake.add_template("Order", "Hello {{name}}").id
        yield Office(fake, api, clickhouse, database, template, f"{prefix} ")
