"""A small world for tests of contacts: one account, the real engine, and a fake SendGrid whose clock can be stepped."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from connectors.clickhouse import ClickHouse
from connectors.sendgrid import SendGrid
from schemas.cohorts import CohortBatch, cohort_batch
from schemas.ddl import identifier
from schemas.tables import Table
from streams.contacts.account import Account
from streams.contacts.flusher import Flusher
from streams.contacts.gather import Gather
from streams.contacts.memberships import Memberships
from streams.sections import Contacts
from tests.fakes.clock import Clock
from tests.fakes.faults import Drop, Failure
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.server import Call
from tests.streams.contacts.webhook import message

User = str | tuple[str, Mapping[str, Any]]


class CrashError(Exception):
    """The process has ended in the middle of a flush."""


@dataclass
class Town:
    """What a test does with it.

    Attributes:
        fake: the SendGrid.
        account: of the contacts.
        database: its source's.
        clickhouse: connected.
        owned: whether the lists are this worker's.
        said: all messages that came.
    """

    fake: FakeSendGrid
    account: Account
    database: str
    clickhouse: ClickHouse
    owned: bool = True
    said: list[CohortBatch] = field(default_factory=list)
    _messages: int = 0
    _flusher: Flusher | None = None
    _crashing: asyncio.Event = field(default_factory=asyncio.Event)
    _crashed: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(
        self, cohort: str, action: str, *users: User, at: int = 0, name: str = "", message_id: str = ""
    ) -> None:
        """A message of the cohort webhook comes.

        Args:
            cohort: its id.
            action: enter or exit.
            users: user ids, or user ids with properties. A user id that is an address serves as one.
            at: when it was computed, in seconds since 1970.
            name: of the cohort; without one, its id.
            message_id: without one, a new one.
        """
        self._messages += 1
        body = message(
            cohort,
            action,
            users,
            name=name or cohort,
            computed_at=at or self._messages,
            message_id=message_id or f"{self._messages}::{action}::0",
        )
        self.said.append(cohort_batch(body, self.account.name, int(time.time() * 1000)))
        await self.hear(self.said[-1])

    async def hear(self, *batches: CohortBatch) -> None:
        """Batches come out of Kafka."""
        accounts = {self.account.name: (self.account.rules, self.account.memberships)}
        gather = Gather(accounts, None, self._notice)  # type: ignore[arg-type]  # nothing is put aside here
        for batch in batches:
            await gather.add(batch)
        await gather.write()

    def _notice(self, account: str, cohort: str) -> None:
        if self._flusher:
            self._flusher.notice(account, cohort)

    async def flush(self, times: int = 1) -> None:
        """The cadence comes round."""
        self._flusher = self._flusher or Flusher({self.account.name: self.account}, self.pause)
        for _ in range(times):
            tasks = await self._flusher.flush(self.account, lambda _: self.owned)
            done = asyncio.gather(*tasks, return_exceptions=True)
            crashing = asyncio.ensure_future(self._crashing.wait())
            crashing.add_done_callback(partial(_end, tasks))
            await asyncio.wait({done})
            crashing.cancel()
            if self._crashing.is_set():
                self._crashed.set()
                self._crashing, self._crashed = asyncio.Event(), asyncio.Event()
                raise CrashError
            for outcome in await done:
                if isinstance(outcome, BaseException):
                    raise outcome

    def restart(self) -> None:
        """What was only in memory is gone."""
        self._flusher = None
        self.configure()

    def forgive(self) -> None:
        """The pause after a failure is over."""
        if self._flusher:
            self._flusher._failures.clear()

    def configure(self, **settings: object) -> None:
        """Other settings of the contacts entry, or the same read again."""
        entry = self.account.settings.model_copy(update=settings)
        self.account = Account(entry, self.account.api, self.account.memberships)

    def crash_at(self, method: str, path: str, moment: str = "on_call") -> None:
        """The next time this is called, the process ends: before SendGrid does it, or before the answer arrives."""
        pattern = Failure(method, path, Drop(), 1, 0)

        async def crash(call: Call) -> None:
            if pattern.takes(call.method, call.path):
                self._crashing.set()
                await self._crashed.wait()
                raise ConnectionError

        setattr(self.fake, moment, crash)

    def crash_after(self, steps: int) -> None:
        """The process ends at the step after so many: before or after a call of SendGrid's, or an insert."""
        left = steps
        database = self.account.memberships._database
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

        self.fake.on_call = self.fake.on_answer = lambda _: step()
        database.insert = inserting  # type: ignore[method-assign]

    def heal(self) -> None:
        """No more crashes."""
        self.fake.on_call = self.fake.on_answer = None
        self.account.memberships._database.__dict__.pop("insert", None)

    async def pause(self, seconds: float) -> None:
        """Time passes."""
        self.fake.clock.advance(seconds)
        await asyncio.sleep(0)

    async def delete(self, email: str) -> None:
        """Somebody deletes a contact in SendGrid."""
        contact = self.fake.contact(email)
        assert contact
        await self.account.api._call("DELETE", f"/v3/marketing/contacts?ids={contact.id}")
        self.fake.clock.advance(1)

    async def rows(self, table: str, columns: str = "*", order: str = "1") -> list[dict[str, Any]]:
        """What a reader of a table sees of the account."""
        name = f"{identifier(self.database)}.{identifier(table)}"
        sql = f"SELECT {columns} FROM {name} WHERE account = {{account:String}} ORDER BY {order}"
        return list((await self.clickhouse.query(sql, {"account": self.account.name})).named_results())

    async def members(self) -> dict[str, set[str]]:
        """Who is on which list, as the table says."""
        found: dict[str, set[str]] = {}
        for row in await self.rows("cohort_members", "list, email"):
            found.setdefault(row["list"], set()).add(row["email"])
        return found

    @property
    def lists(self) -> dict[str, set[str]]:
        """Who is on which list, as SendGrid has it."""
        return {each.name: self.fake.members(each.id) for each in self.fake.lists.values()}


def _end(tasks: list[asyncio.Task[None]], crashing: asyncio.Future[bool]) -> None:
    if not crashing.cancelled():
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def founded(clickhouse: ClickHouse, database: str, account: str) -> AsyncIterator[Town]:
    """A town with one account.

    Args:
        clickhouse: connected; it has the database.
        database: of its source.
        account: its name.
    """
    # Its time begins now and stands still: what the sync waits for passes at once.
    async with FakeSendGrid(Clock(time.time())) as fake, SendGrid(fake.key, fake.url) as api:
        settings = Contacts(name=account)
        yield Town(fake, Account(settings, api, Memberships(clickhouse, database, account)), database, clickhouse)
