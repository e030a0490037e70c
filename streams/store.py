"""The store role: chunks of a topic become few large inserts into its table."""

import time
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import Any, Self

import orjson
import structlog

from connectors.clickhouse import ClickHouse
from connectors.errors import Reject
from connectors.kafka import Producer
from schemas.ddl import identifier
from schemas.dead_letters import DeadLetter, letter_id, replayed
from schemas.tables import Table
from streams import failpoints, metrics
from streams.aside import publish
from streams.batching import BatchPolicy, batches
from streams.chunks import Chunk
from streams.clock import now
from streams.delivery import Refusals, persistently
from streams.fairness import Turns
from streams.pieces import pieces
from streams.privacy.forgotten import Forgotten

log = structlog.get_logger()


_ROWS = 100_000
_BYTES = 96 << 20
"""Of an insert: ClickHouse has its rows in memory until they are written. Rows of the usual size never reach the bytes:
what is left over would be an insert of its own."""
_UNPACKED_ROWS = 25_000
"""Where each is looked at before it is inserted: all are in memory as Python's objects."""
_SHORTEST_SECONDS = 0.3
_LONGEST_SECONDS = 2.0
_LATE_SECONDS = 4.0
"""Older than busy servers make them: there is a backlog."""
_LONGEST_LATE_SECONDS = 8.0
_QUIET_SECONDS = 1.0
_AT_ONCE = 2
"""As many as keep a small machine busy, and take what one worker can read; more would only slow each other down."""
_PIECE_ROWS = 400


class InsertPolicy:
    """When inserts are due, for all tables of a worker: so seldom that they take half of the time of their places.

    Small inserts are what costs: 12 ms of ClickHouse's CPU for one row, 136 ms for 20,000, and the merges of what they
    write. When the machine is busy they take longer, so that they become fewer, larger, and cheaper by row; when it is
    not, rows are fresh. Rows of a backlog wait for as much longer as they are late: what they wait for are the rows
    before them, and larger inserts take these sooner.
    """

    def __init__(self) -> None:
        self._took: dict[str, float] = {}
        self._turns = Turns(_AT_ONCE)
        self._following: defaultdict[str, float] = defaultdict(float)  # when a source's next turn is

    @asynccontextmanager
    async def insert(self, source: str, table: str) -> AsyncIterator[None]:
        """Holds one of the places for an insert into a table of a source."""
        async with self._turns.place(source):
            began = time.monotonic()
            yield
            self.took(table, time.monotonic() - began)

    def turn(self, source: str, table: str, seconds: float) -> float:
        """The seconds until a table may insert what was gathered for so many.

        The tables of a source take turns, each for its share of the time. Else all of them, which began together, would
        insert together for ever, and between these bursts the machine would have less to do than it can.
        """
        if not (all_take := sum(self._took.values())):
            return 0.0
        clock = time.monotonic()
        begins = max(clock, self._following[source])
        self._following[source] = begins + seconds * self._took.get(table, 0.0) / all_take
        return begins - clock

    def took(self, table: str, seconds: float) -> None:
        """The last insert into a table took so long."""
        metrics.INSERT_SECONDS.observe(seconds)
        self._took[table] = seconds

    def seconds(self, age: float) -> float:
        """How long rows of a table are gathered.

        Args:
            age: seconds from when the oldest row of its last insert came in until that was done.
        """
        busy = min(max(sum(self._took.values()), _SHORTEST_SECONDS), _LONGEST_SECONDS)
        return max(busy, min(age - _LATE_SECONDS, _LONGEST_LATE_SECONDS))


class Store:
    """Writes the records of one topic into one table.

    Args:
        source: whose records they are.
        table: what the records are rows of, in the database of the source's name.
        clickhouse: open.
        producer: started; takes dead letters.
        policy: of all tables.
        forgotten: whose records are not kept; None where that was seen to before.
    """

    def __init__(
        self,
        source: str,
        table: Table,
        clickhouse: ClickHouse,
        producer: Producer,
        policy: InsertPolicy,
        forgotten: Forgotten | None = None,
    ) -> None:
        self._source = source
        self._forgotten = forgotten
        self._table = f"{identifier(source)}.{identifier(table.rows)}"
        self._clickhouse = clickhouse
        self._producer = producer
        self._policy = policy
        rows = _ROWS if forgotten is None else _UNPACKED_ROWS
        self._gathered = BatchPolicy(rows, _SHORTEST_SECONDS, quiet=_QUIET_SECONDS)
        self._refusals = Refusals()
        self._rows = metrics.ROWS.labels(source, table.name)

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Write what comes, then acknowledge it."""
        async for batch in batches(stream, self._gathered, self._turn):
            parts: list[Iterable[Any]] = [chunk.records for chunk in batch]
            if self._forgotten is not None:
                parts = [await self._forgotten.without(chain.from_iterable(parts))]
            await failpoints.reach("before-inserting")
            await self._write(batch[0].topic, parts)
            await failpoints.reach("after-inserting")
            for chunk in batch:
                chunk.acknowledge()

    def _turn(self) -> float:
        return self._policy.turn(self._source, self._table, self._gathered.seconds)

    async def _write(self, topic: str, parts: Sequence[Iterable[Any]]) -> None:
        """Insert rows; those that ClickHouse will never take are found by halving and become dead letters.

        Raises:
            Fatal: ClickHouse refuses so much that something else must be wrong.
        """
        load = _Load.of(parts)
        while load:
            await self._write_load(topic, load)
            load = load.following()

    async def _write_load(self, topic: str, load: "_Load") -> None:
        try:
            await persistently("inserting", partial(self._insert, load))
        except Reject as refusal:
            await self._write_halves(topic, load.rows(), refusal)
            return
        self._refusals.accepted(load.count)
        self._count(load)
        for letter in load.replayed():
            await publish(letter.now("replayed", now()), self._producer)

    async def _write_halves(self, topic: str, records: Sequence[Any], refusal: Reject) -> None:
        if len(records) == 1:
            self._refusals.refused(f"rows of {self._table}", str(refusal))
            await publish(self._letter(topic, records[0], str(refusal)), self._producer)
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            await self._write(topic, [half])

    async def _insert(self, load: "_Load") -> None:
        # The place is for one attempt: a table that has to be waited for holds up no other.
        async with self._policy.insert(self._source, self._table):
            await self._clickhouse.insert(self._table, load)

    def _count(self, load: "_Load") -> None:
        self._rows.inc(load.count)
        metrics.INSERT_ROWS.observe(load.count)
        if not load.oldest.headers and (received := received_seconds(load.oldest.value)):
            age = time.time() - received
            metrics.FRESHNESS_SECONDS.labels(self._source).observe(age)
            self._gathered.seconds = self._policy.seconds(age)

    def _letter(self, topic: str, record: Any, reason: str) -> DeadLetter:  # noqa: ANN401  aiokafka's
        log.warning("row refused by ClickHouse", topic=topic, offset=record.offset, reason=reason)
        if letter := replayed(record.headers, record.value):
            return letter.failed_again(reason, now())
        return DeadLetter(
            id=letter_id("store", topic, record.value),
            source=self._source,
            step="store",
            reason=reason,
            received_at=record.timestamp,
            payload=record.value,
            topic=topic,
        )


def received_seconds(line: bytes) -> float:
    """When the event of a row came in, in seconds since 1970; 0 where it does not say so as we do.

    Other producers may write rows, too: what ClickHouse takes need not be what we write.
    """
    try:
        return datetime.fromisoformat(f"{orjson.loads(line)['received_at']}+00:00").timestamp()
    except (ValueError, TypeError, KeyError):
        return 0.0


class _Load:
    """The rows of one insert. Records that are packed are unpacked while it is sent, by each attempt anew.

    Args:
        parts: that records come in.
        start: how many of them are written already.
        oldest: the first row.

    Attributes:
        count: rows that the last attempt sent.
    """

    def __init__(self, parts: Sequence[Iterable[Any]], start: int, oldest: Any) -> None:  # noqa: ANN401  aiokafka's
        self.oldest = oldest
        self.count = 0
        self._parts = parts
        self._start = start
        self._end = start
        self._is_last = False
        self._with_headers: list[Any] = []

    @classmethod
    def of(cls, parts: Sequence[Iterable[Any]], start: int = 0) -> Self | None:
        """The next insert of some records; None where no row is left."""
        rest = islice(chain.from_iterable(parts), start, None)
        oldest = next((record for record in rest if record.value), None)
        return cls(parts, start, oldest) if oldest else None

    def following(self) -> Self | None:
        """What comes after it."""
        return None if self._is_last else self.of(self._parts, self._end)

    def __iter__(self) -> Iterator[bytes]:
        """Its lines, in pieces that the processor's cache holds."""
        self.count, self._with_headers = 0, []
        for rows in self._pieces():
            self.count += len(rows)
            self._with_headers += [record for record in rows if record.headers]
            yield b"".join([record.value + b"\n" for record in rows])

    def rows(self) -> list[Any]:
        """All records that it takes."""
        return [record for rows in self._pieces() for record in rows]

    def replayed(self) -> Iterator[DeadLetter]:
        """The letters that it replays."""
        for record in self._with_headers:
            if letter := replayed(record.headers, record.value):
                yield letter

    def _pieces(self) -> Iterator[list[Any]]:
        self._end, self._is_last = self._start, False
        size = 0
        for records in pieces(islice(chain.from_iterable(self._parts), self._start, None), _PIECE_ROWS):
            # Other producers may write records without a value: these are no rows.
            rows = [record for record in records if record.value]
            if rows:
                yield rows
            self._end += len(records)
            size += sum([len(record.value) for record in rows])
            if size >= _BYTES:
                return
        self._is_last = True
