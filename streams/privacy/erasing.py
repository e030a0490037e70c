"""Erasing people from ClickHouse: their rows from every part of every table, and what was counted of them.

Deleting is a mutation: it rewrites the parts in which there is something to delete, and ends when all are. The parts
as they were are taken off the disk some minutes later, by ClickHouse itself (its setting old_parts_lifetime).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.errors import Retry
from schemas.columns import time_text
from schemas.events import EVENTS, EventType
from schemas.normalize import FORGOTTEN, identity_of
from schemas.privacy import Marks
from schemas.rollups import by_day, counting
from schemas.tables import DEAD_LETTERS, DELIVERIES, EVENT_TABLES, HOURLY, REMOVALS
from streams import failpoints
from streams.clock import now
from streams.privacy.searching import PREFIX, Place, Search

_ASK_SECONDS = 0.2
_PAGE = 50_000
_IDENTITIES = f"{PREFIX}identities"
_HOURS = "uncounted_hours"
"""Hours in which something was deleted. It outlives a run that is interrupted: the next one could not find them out."""
_EVENTS: Mapping[str, EventType] = {EVENT_TABLES[event.name].rows: event for event in EVENTS}
_UNDONE = """
SELECT sum(parts_to_do), any(latest_fail_reason) FROM system.mutations
WHERE database = {database:String} AND table = {table:String} AND NOT is_done
HAVING count() > 0
"""


@dataclass(slots=True)
class Erased:
    """What was erased.

    Attributes:
        rows: by table, as they lay in its parts, repeats included.
        events: of them, repeats counted once.
        hours: that were counted anew.
    """

    rows: dict[str, int] = field(default_factory=dict)
    events: int = 0
    hours: int = 0

    def add(self, more: "Erased") -> None:
        """What was erased after it."""
        for table, count in more.rows.items():
            self.rows[table] = self.rows.get(table, 0) + count
        self.events += more.events
        self.hours += more.hours


class Eraser:
    """Erases everything that a search finds in one database.

    Args:
        search: open.
        database: the source's.
        marks: of the installation.
        on_progress: told what is being done.
    """

    def __init__(self, search: Search, database: str, marks: Marks, on_progress: Callable[[str], None]) -> None:
        self._search = search
        self._database = database
        self._marks = marks
        self._on_progress = on_progress

    async def erase(self) -> Erased:
        """Erase all that is there now; returns when no active part has any of it.

        Raises:
            Retry, Reject, Fatal: ClickHouse would not. Done again, it goes on where it was.
        """
        erased = Erased()
        places = [place for place in await self._search.places() if place.texts or place.names]
        for number, place in enumerate(places, 1):
            self._on_progress(f"{self._database}.{place.table} ({number} of {len(places)})")
            if rows := await self._collect(place):
                erased.rows[place.table] = rows
                if event := _EVENTS.get(place.table):
                    erased.events += await self._remember(place, event)
                await self._delete(place)
        erased.hours = await self._recount()
        return erased

    async def _collect(self, place: Place) -> int:
        """Note which rows of a table are to go; returns how many."""
        received = ", received_at" if place.table in _EVENTS else ""
        rows = f"{self._search.table(place.table)} WHERE {self._search.condition(place)}"
        query = f"SELECT {place.key}{received} FROM {rows}"
        found = await self._search.make_table(f"{PREFIX}{place.table}", place.key, query=query)
        ((count,),) = await self._search.query(f"SELECT count() FROM {found}")
        time = {HOURLY.rows: "hour", **dict.fromkeys(_EVENTS, "timestamp")}.get(place.table)
        if count and time:
            hours = self._search.table(_HOURS)
            begun = f"SELECT DISTINCT toUnixTimestamp(toStartOfHour({time})) FROM {found}"
            columns = "(hour UInt32) ENGINE = MergeTree ORDER BY hour"
            await self._search.query(f"CREATE TABLE IF NOT EXISTS {hours} {columns}")
            await self._search.query(f"INSERT INTO {hours} {begun}")
        return int(count)

    async def _delete(self, place: Place) -> None:
        await failpoints.reach("before-deleting")
        key = f"({place.key}) IN (SELECT {place.key} FROM {self._search.table(f'{PREFIX}{place.table}')})"
        if place.table == DEAD_LETTERS.rows:
            # A letter is one of the account's; what is left of it says nothing of anybody.
            await self._mutate(
                place.table,
                f"UPDATE payload = '', encoding = 'utf-8', reason = '{FORGOTTEN.reason}', "
                f"state = if(state = 'waiting', 'discarded', state) WHERE {key}",
            )
        else:
            await self._mutate(place.table, f"DELETE WHERE {key}")

    async def _remember(self, place: Place, event: EventType) -> int:
        """Have the account say of events that they are removed; how many they are.

        Their identities leave the deliveries: where SendGrid gave an event no id, its identity is a hash of facts about
        its person.
        """
        found = self._search.table(f"{PREFIX}{place.table}")
        identities = await self._search.make_table(_IDENTITIES, "identity", columns="(identity UInt64)")
        total = 0
        while rows := await self._search.query(
            f"SELECT event_id, toUnixTimestamp64Milli(timestamp), toUnixTimestamp64Milli(max(received_at))\n"
            f"FROM {found} GROUP BY timestamp, event_id ORDER BY timestamp, event_id LIMIT {_PAGE} OFFSET {total}"
        ):
            await self._write(event, rows)
            total += len(rows)
        of_them = f"identity IN (SELECT identity FROM {identities})"
        has_one = f"arrayExists(identity -> {of_them}, identities)"
        without = f"UPDATE identities = arrayFilter(identity -> NOT {of_them}, identities)"
        await self._mutate(DELIVERIES.rows, f"{without} WHERE {has_one}")
        return total

    async def _write(self, event: EventType, rows: Sequence[tuple[str, int, int]]) -> None:
        at = time_text(now())
        identities = [identity_of(event, event_id, time) for event_id, time, _ in rows]
        removals = (
            {"identity": self._marks.of_identity(identity), "received_at": time_text(received), "removed_at": at}
            for identity, (_, _, received) in zip(identities, rows, strict=True)
        )
        await self._search.insert(REMOVALS.rows, removals)
        await self._search.insert(_IDENTITIES, ({"identity": identity} for identity in identities))

    async def _mutate(self, table: str, command: str) -> None:
        """Run a mutation to its end."""
        await self._search.query(f"ALTER TABLE {self._search.table(table)} {command} SETTINGS mutations_sync = 0")
        while undone := await self._search.query(_UNDONE, database=self._database, table=table):
            ((parts, failure),) = undone
            if failure:
                raise Retry(f"{self._database}.{table} cannot be rewritten just now, it goes on by itself: {failure}")
            self._on_progress(f"{self._database}.{table}: {parts} parts to rewrite")
            await asyncio.sleep(_ASK_SECONDS)

    async def _recount(self) -> int:
        """Count the hours anew in which something was deleted, of those that are counted ahead at all."""
        await failpoints.reach("after-deleting")
        hours = self._search.table(_HOURS)
        ((is_there,),) = await self._search.query(f"EXISTS TABLE {hours}")
        if not is_there:
            return 0
        touched = f"toUnixTimestamp(hour) IN (SELECT hour FROM {hours})"
        hourly = self._search.table(HOURLY.rows)
        found = await self._search.query(f"SELECT DISTINCT toUnixTimestamp(hour) FROM {hourly} WHERE {touched}")
        ((before,),) = await self._search.query("SELECT toUnixTimestamp64Milli(now64(3))")
        days = by_day(hour for (hour,) in found)
        for number, day in enumerate(days, 1):
            self._on_progress(f"{self._database}.{HOURLY.rows}: day {number} of {len(days)}")
            for statement, values in counting(self._database, day):
                await self._search.query(statement, **values)
        if days:
            older = f"{HOURLY.version.name} < fromUnixTimestamp64Milli({before:d})"
            await self._mutate(HOURLY.rows, f"DELETE WHERE {touched} AND {older}")
        await self._search.query(f"DROP TABLE {hours} SYNC")
        return len(found)
