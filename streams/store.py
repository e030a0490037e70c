"""The store role: chunks of a topic become few large inserts into its table."""

from collections.abc import AsyncIterable, Sequence
from functools import partial
from typing import Any

import structlog

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal, Reject
from connectors.kafka import Producer, Record
from schemas.ddl import identifier
from schemas.dead_letters import DeadLetter, letter_id
from schemas.tables import Table
from streams.batching import BatchPolicy, batches
from streams.delivery import persistently
from streams.transport import Chunk

log = structlog.get_logger()

_REFUSALS = 100
"""So many rows refused in a row are no longer the rows' fault."""


class Store:
    """Writes the records of one topic into one table.

    Args:
        source: whose records they are.
        table: what the records are rows of, in the database of the source's name.
        clickhouse: open.
        producer: started; takes dead letters.
        dead_letters: their topic.
        policy: when to write.
    """

    def __init__(
        self,
        source: str,
        table: Table,
        clickhouse: ClickHouse,
        producer: Producer,
        dead_letters: str,
        policy: BatchPolicy,
    ) -> None:
        self._source = source
        self._table = f"{identifier(source)}.{identifier(table.rows)}"
        self._clickhouse = clickhouse
        self._producer = producer
        self._dead_letters = dead_letters
        self._policy = policy
        self._refused = 0

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Write what comes, then acknowledge it."""
        async for batch in batches(stream, self._policy):
            await self._write([record for chunk in batch for record in chunk.records])
            for chunk in batch:
                chunk.acknowledge()

    async def _write(self, records: Sequence[Any]) -> None:
        """Insert records; those that ClickHouse will never take are found by halving and become dead letters.

        Raises:
            Fatal: ClickHouse refuses so much that something else must be wrong.
        """
        lines = b"\n".join([record.value for record in records])
        try:
            await persistently("inserting", partial(self._clickhouse.insert, self._table, lines))
            self._refused = 0
        except Reject as refusal:
            if len(records) > 1:
                middle = len(records) // 2
                await self._write(records[:middle])
                await self._write(records[middle:])
                return
            self._refused += 1
            if self._refused >= _REFUSALS:
                raise Fatal(
                    f"ClickHouse refused {self._refused} rows of {self._table} one after another; "
                    f"nothing more is put aside before somebody has looked. The last reason: {refusal}"
                ) from refusal
            await self._put_aside(records[0], str(refusal))

    async def _put_aside(self, record: Any, reason: str) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        letter = DeadLetter(
            id=letter_id("store", record.topic, record.value),
            source=self._source,
            step="store",
            reason=reason,
            received_at=record.timestamp,
            payload=record.value,
            topic=record.topic,
        )
        log.warning("row refused by ClickHouse", id=letter.id, topic=record.topic, offset=record.offset, reason=reason)
        publish = partial(self._producer.publish, self._dead_letters, Record(letter.id.encode(), letter.line()))
        await persistently("publishing a dead letter", publish)
