"""The store role: chunks of a topic become few large inserts into its table."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

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
from streams.clock import now
from streams.delivery import Refusals, persistently
from streams.fairness import Turns
from streams.pieces import pieces
from streams.privacy.forgotten import Forgotten
from streams.transport import Chunk

log = structlog.get_logger()


_ROWS = 50_000
_SHORTEST_SECONDS = 0.3
_LONGEST_SECONDS = 2.0
_AT_ONCE = 2
"""As many as keep a small machine busy, and take what one worker can read; more would only slow each other down."""
_PIECE_ROWS = 400


class InsertPolicy(BatchPolicy):
    """When inserts are due, for all tables of a worker: so seldom that they take half of the time of their places.

    Small inserts are what costs: 16 ms of ClickHouse's CPU for one row, 136 ms for 20,000. When the machine is busy
    they take longer, so that they become fewer, larger, and cheaper by row; when it is not, rows are fresh.
    """

    def __init__(self) -> None:
        super().__init__(_ROWS, _SHORTEST_SECONDS)
        self._took: dict[str, float] = {}
        self._turns = Turns(_AT_ONCE)

    @asynccontextmanager
    async def insert(self, source: str, table: str) -> AsyncIterator[None]:
        """Holds one of the places for an insert into a table of a source."""
        async with self._turns.place(source):
            began = time.monotonic()
            yield
            self.took(table, time.monotonic() - began)

    def took(self, table: str, seconds: float) -> None:
        """The last insert into a table took so long."""
        metrics.INSERT_SECONDS.observe(seconds)
        self._took[table] = seconds
        self.seconds = min(max(sum(self._took.values()), _SHORTEST_SECONDS), _LONGEST_SECONDS)


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
        self._refusals = Refusals()
        self._rows = metrics.ROWS.labels(source, table.name)

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Write what comes, then acknowledge it."""
        async for batch in batches(stream, self._policy):
            # Other producers may write records without a value: these are no rows.
            records = [record for chunk in batch for record in chunk.records if record.value]
            if self._forgotten is not None:
                records = await self._forgotten.without(records)
            await failpoints.reach("before-inserting")
            refused = await self._write(batch[0].topic, records) if records else set()
            await failpoints.reach("after-inserting")
            for record in [record for record in records if record.headers]:
                letter = replayed(record.headers, record.value)
                if letter and letter.id not in refused:
                    await publish(letter.now("replayed", now()), self._producer)
            for chunk in batch:
                chunk.acknowledge()

    async def _write(self, topic: str, records: Sequence[Any]) -> set[str]:
        """Insert records; those that ClickHouse will never take are found by halving and become dead letters.

        Returns:
            The ids of these letters.

        Raises:
            Fatal: ClickHouse refuses so much that something else must be wrong.
        """
        try:
            await persistently("inserting", partial(self._insert, _Lines(records)))
        except Reject as refusal:
            if len(records) > 1:
                middle = len(records) // 2
                return await self._write(topic, records[:middle]) | await self._write(topic, records[middle:])
            self._refusals.refused(f"rows of {self._table}", str(refusal))
            letter = self._letter(topic, records[0], str(refusal))
            await publish(letter, self._producer)
            return {letter.id}
        self._refusals.accepted(len(records))
        self._count(records)
        return set()

    async def _insert(self, lines: Iterable[bytes]) -> None:
        # The place is for one attempt: a table that has to be waited for holds up no other.
        async with self._policy.insert(self._source, self._table):
            await self._clickhouse.insert(self._table, lines)

    def _count(self, records: Sequence[Any]) -> None:
        self._rows.inc(len(records))
        metrics.INSERT_ROWS.observe(len(records))
        oldest = records[0]
        if not oldest.headers and (received := received_seconds(oldest.value)):
            metrics.FRESHNESS_SECONDS.labels(self._source).observe(time.time() - received)

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


class _Lines:
    """The lines of records, in pieces that the processor's cache holds."""

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __iter__(self) -> Iterator[bytes]:
        for some in pieces(self._records, _PIECE_ROWS):
            yield b"\n".join([record.value for record in some]) + b"\n"
