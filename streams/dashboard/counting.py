"""Counting ahead: keeps `hourly` the tables' numbers, however late an event comes.

Several processes may do this at once: what one writes the other would have written too. A deletion leaves no row that
could be found; who deletes counts the hours again.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from schemas.ddl import identifier
from schemas.events import EVENTS
from schemas.rollups import DAY, DIMENSIONS, FIRST_EVENTS, HOUR, Day, by_day, counting, kinds
from schemas.tables import EVENT_TABLES, HOURLY, STORED_AT
from streams.dashboard.queries import NOTHING

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_IDLE_SECONDS = 10.0
_WATCHED_SECONDS = 30.0
"""Who watches asks again within these. A look costs 22 ms of ClickHouse's CPU: many sources that nobody watches would
take from their own inserts what they need."""
_AFTER_TROUBLE_SECONDS = 2.0
_UNSEEN_SECONDS = 120
"""A row is seen so long after the time that it bears, at the latest: an insert may take as long as its timeout."""
_CLOCK = 2**32 - 1
"""Stands for the hour where ClickHouse's own time is given."""
_PERHOUR = sum(
    len(kinds(event)) * (sum(each.counts(event) for each in DIMENSIONS.values()) + (event.name in FIRST_EVENTS))
    for event in EVENTS
)
"""Rows of a counted hour."""

_SOON = 2
"""Days with new rows that are counted before anything else; late events are mostly of today."""

Stamp = tuple[int, int]
"""The hour of some rows, and when they were stored, in milliseconds: rows of an insert have one."""


class Counting:
    """Counts ahead for one source.

    Args:
        database: its.
        clickhouse: open, with the right to write.

    Attributes:
        covered: which hours can be read from `hourly`.
        revision: grows when new rows were seen.
        trouble: why ClickHouse cannot be asked just now; empty: it can.
        progress: how much of the past is counted, 0 to 1.
    """

    def __init__(self, database: str, clickhouse: ClickHouse) -> None:
        self._database = database
        self._clickhouse = clickhouse
        self._seen: set[Stamp] = set()
        self._since = 0
        self._days: list[Day] = []
        self._to_do = 0
        self._started = False
        self._end = 0
        self._changed = asyncio.Condition()
        self._watched_at = -math.inf
        self._wanted = asyncio.Event()
        self._is_fresh = asyncio.Event()
        self._is_fresh.set()
        self.covered = NOTHING
        self.revision = 0
        self.trouble = ""

    @property
    def progress(self) -> float:
        """How much of the past is counted: 0 to 1."""
        return 1 - len(self._days) / self._to_do if self._to_do else float(self._started)

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.step()
                pause = 0.0 if self._days else _LOOK_SECONDS
                trouble = ""
            except GridstreamError as error:
                pause = _AFTER_TROUBLE_SECONDS
                trouble = str(error)
                log.warning("cannot count just now", source=self._database, reason=trouble)
            if trouble != self.trouble:
                self.trouble = trouble
                await self._notify()
            await self._rest(pause)

    async def attend(self) -> None:
        """Return when it has looked as lately as for those who watch; it goes on looking as often for a while."""
        self._watched_at = time.monotonic()
        self._wanted.set()
        await self._is_fresh.wait()

    async def _rest(self, seconds: float) -> None:
        """Between two looks; where nobody watches and nothing waits to be counted, until somebody comes."""
        self._is_fresh.set()
        if not seconds or time.monotonic() - self._watched_at < _WATCHED_SECONDS:
            await asyncio.sleep(seconds)
            return
        self._is_fresh.clear()
        self._wanted.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), _IDLE_SECONDS)

    async def step(self) -> None:
        """Look for new rows, count again what they touch, and one more day of the past.

        Raises:
            Retry, Reject, Fatal: ClickHouse would not.
        """
        if not self._started:
            await self._begin()
        await self._look()
        if self._days:
            await self._count(self._days[-1])
            self._days.pop()
            self._cover()

    async def wait(self, revision: int, seconds: float) -> None:
        """Return when there is something newer than a revision, or trouble, or the seconds are over."""
        try:
            async with asyncio.timeout(seconds):
                await self.attend()
                async with self._changed:
                    await self._changed.wait_for(lambda: self.revision != revision or self.trouble)
        except TimeoutError:
            return

    async def _begin(self) -> None:
        """Find out which hours are to be counted: those with rows that came after their count, and the uncounted."""
        now, _ = await self._stamps(0)
        end = now // 1000 // HOUR * HOUR
        rows = await self._ask(
            f"SELECT toUnixTimestamp(hour), toUnixTimestamp64Milli(min(counted_at)), count()\n"
            f"FROM {self._table(HOURLY.rows)} FINAL GROUP BY hour"
        )
        counted = {hour: at if number == _PERHOUR else 0 for hour, at, number in rows}
        newest = "\nUNION ALL\n".join(
            "SELECT toUnixTimestamp(toStartOfHour(timestamp)) AS hour, "
            f"toUnixTimestamp64Milli(max({STORED_AT.name})) AS at\nFROM {self._table(table.rows)} GROUP BY hour"
            for table in EVENT_TABLES.values()
        )
        stored = dict(await self._ask(f"SELECT hour, max(at) FROM (\n{newest}\n) GROUP BY hour"))
        stale = {
            hour
            for hour in (counted.keys() | stored.keys())
            if hour < end
            and counted.get(hour, 0) - _UNSEEN_SECONDS * 1000 <= stored.get(hour, 0 if hour in counted else 1)
        }
        self._put_off(by_day(stale))
        self._since = now - _UNSEEN_SECONDS * 1000
        self._end = end
        self._started = True
        self._cover()

    async def _look(self) -> None:
        now, stamps = await self._stamps(self._since)
        new = stamps - self._seen
        end = now // 1000 // HOUR * HOUR
        touched = {hour for hour, _ in new if hour < self._end} | set(range(self._end, end, HOUR))
        days = by_day(touched)
        if len(days) > _SOON:
            self._put_off(days)
        else:
            for day in days:
                await self._count(day)
        # Only now: after an error in between, the same is done again.
        self._end, self._seen, self._since = end, stamps, now - _UNSEEN_SECONDS * 1000
        self._cover()
        if new:
            self.revision += 1
            await self._notify()

    def _put_off(self, days: list[Day]) -> None:
        """Leave days to be counted one by one; until then their events' tables are read."""
        waiting = {day.begin: day for day in self._days}
        for day in days:
            known = waiting.get(day.begin, day)
            waiting[day.begin] = Day(day.begin, min(day.first, known.first), max(day.end, known.end))
        self._days = sorted(waiting.values())
        self._to_do = max(self._to_do, len(self._days))

    async def _stamps(self, since: int) -> tuple[int, set[Stamp]]:
        """ClickHouse's time, in milliseconds, and what was stored since then."""
        selects = [
            f"SELECT toUnixTimestamp(toStartOfHour(timestamp)), toUnixTimestamp64Milli({STORED_AT.name})\n"
            f"FROM {self._table(table.rows)}\n"
            f"WHERE {STORED_AT.name} >= fromUnixTimestamp64Milli({{since:Int64}}) AND {{since:Int64}} > 0"
            for table in EVENT_TABLES.values()
        ]
        clock = f"SELECT toUInt32({_CLOCK}), toUnixTimestamp64Milli(now64(3))"
        rows = await self._ask("\nUNION DISTINCT\n".join([clock, *selects]), {"since": since})
        stamps = {(hour, stored) for hour, stored in rows}
        now = next(stamp for stamp in stamps if stamp[0] == _CLOCK)
        return now[1], stamps - {now}

    async def _count(self, day: Day) -> None:
        """Count hours of one day, and which of the messages of that day are new in them and in those after."""
        for statement, values in counting(self._database, day, until=min(day.begin + DAY, self._end)):
            await self._ask(statement, values)

    def _cover(self) -> None:
        """Whatever is newer than the newest day that waits to be counted."""
        uncounted = self._days[-1].begin + DAY if self._days else 0
        self.covered = (min(uncounted, self._end), self._end)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _table(self, name: str) -> str:
        return f"{identifier(self._database)}.{identifier(name)}"

    async def _ask(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
        return list((await self._clickhouse.query(sql, parameters)).result_rows)
