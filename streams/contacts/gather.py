"""Gathering what cohort webhooks say: each record becomes wishes in ClickHouse, then it is acknowledged."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from connectors.kafka import Producer, Record
from schemas import topics
from schemas.cohorts import CohortBatch
from schemas.contacts import InvalidAddressError, Person, Rules, address, given_address
from schemas.dead_letters import DeadLetter, letter_id, replayed
from streams import failpoints
from streams.batching import BatchPolicy, batches
from streams.contacts.memberships import Memberships, Wish, now
from streams.delivery import persistently
from streams.transport import Chunk

log = structlog.get_logger()

_POLICY = BatchPolicy(rows=200, seconds=0.5)
"""A record holds up to some thousand people."""


class Gather:
    """Reads the topic of cohorts.

    Args:
        accounts: what each takes from people, and where its wishes go, by name.
        source: whose dead letters take what is for none of these.
        producer: started; takes dead letters.
        noticed: told the account and the cohort of whatever has come.
    """

    def __init__(
        self,
        accounts: Mapping[str, tuple[Rules, Memberships]],
        source: str,
        producer: Producer,
        noticed: Callable[[str, str], None],
    ) -> None:
        self._accounts = accounts
        self._source = source
        self._producer = producer
        self._noticed = noticed

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Write what comes, then acknowledge it."""
        async for gathered in batches(stream, _POLICY):
            said: dict[str, list[CohortBatch]] = {}
            for record in (record for chunk in gathered for record in chunk.records):
                try:
                    batch = self._read(record.value)
                except ValueError as error:
                    await self._put_aside(record, str(error))
                    continue
                said.setdefault(batch.account, []).append(batch)
                if letter := replayed(record.headers, record.value):
                    await self._publish(letter.now("replayed", now()))
            await failpoints.reach("before-inserting")
            for account, cohorts in said.items():
                await self._write(account, cohorts)
            await failpoints.reach("after-inserting")
            for chunk in gathered:
                chunk.acknowledge()

    def _read(self, value: bytes) -> CohortBatch:
        batch = CohortBatch.of_line(value)
        if batch.account not in self._accounts:
            raise ValueError(f"there is no [[contacts]] entry {batch.account}; configure it, then replay this")
        return batch

    async def _write(self, account: str, cohorts: Iterable[CohortBatch]) -> None:
        rules, memberships = self._accounts[account]
        wishes: list[Wish] = []
        refused: list[tuple[str, Person, str]] = []
        counts: list[tuple[CohortBatch, int]] = []
        for batch in cohorts:
            without = 0
            for user_id, traits in batch.users:
                given = given_address(user_id, traits, rules)
                if not given:
                    without += 1
                    continue
                try:
                    wishes.append(Wish(batch, Person(address(given), user_id, traits)))
                except InvalidAddressError as error:
                    if batch.action == "enter":
                        refused.append((batch.id, Person(given, user_id, traits), str(error)))
            counts.append((batch, without))
        await memberships.wish(wishes)
        await memberships.add_rejects(refused)
        await memberships.add_batches(counts)
        for batch, _ in counts:
            self._noticed(account, batch.id)

    async def _put_aside(self, record: Any, reason: str) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        log.warning("a record of cohorts cannot be read", offset=record.offset, reason=reason)
        if letter := replayed(record.headers, record.value):
            await self._publish(letter.failed_again(reason, now()))
            return
        await self._publish(
            DeadLetter(
                id=letter_id("contacts", record.partition, record.offset, record.timestamp),
                source=self._source,
                step="contacts",
                reason=reason,
                received_at=record.timestamp,
                payload=record.value or b"",
                topic=record.topic,
            )
        )

    async def _publish(self, letter: DeadLetter) -> None:
        record = Record(letter.id.encode(), letter.line())
        publish = partial(self._producer.publish, topics.dead_letters(self._source), record)
        await persistently("publishing a dead letter", publish)
