"""The normalize role: raw bodies become one record per event, in the topic of its type, keyed by user id."""

import asyncio
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from connectors.kafka import NO_HEADERS, Headers, Outgoing, Producer, key_number
from schemas import topics
from schemas.columns import time_text
from schemas.dead_letters import HEADER, DeadLetter, letter_id
from schemas.events import EVENTS
from schemas.normalize import Normalizer
from schemas.privacy import Guard
from streams import failpoints, metrics
from streams.batching import BatchPolicy, batches
from streams.chunks import Chunk
from streams.clock import now
from streams.delivery import persistently
from streams.privacy.forgotten import Forgotten

_TOGETHER = BatchPolicy(rows=10_000, seconds=0.1, size=8 << 20)
"""Bodies. Each time writes batches for all event topics and partitions, which costs Kafka and the store as much as many
events: what comes in little by little is worked on ten times a second."""
_AT_ONCE = 2
"""While Kafka confirms what some chunks became the next are normalized."""
_REMEMBERED_KEYS = 100_000


class Normalize:
    """Normalizes the raw topic of one source.

    Args:
        source: its name.
        normalizer: of this source.
        producer: started; publishes to all topics of the source.
        partitions: how many each of these topics has.
        forgotten: who is.
        guard: what becomes of personal data.
    """

    def __init__(
        self,
        source: str,
        normalizer: Normalizer,
        producer: Producer,
        partitions: Mapping[str, int],
        forgotten: Forgotten,
        guard: Guard,
    ) -> None:
        self._source = source
        self._normalizer = normalizer
        self._forgotten = forgotten
        self._guard = guard
        self._producer = producer

        def target(topic: str) -> _Target:
            return _Target(topic, partitions[topic])

        self._events = {event.name: target(topics.events(source, event)) for event in EVENTS}
        self._deliveries = target(topics.deliveries(source))
        self._dead_letters = target(topics.dead_letters(source))
        self._keys = _Keys()
        self._counters = {self._events[event.name].topic: metrics.EVENTS.labels(source, event.name) for event in EVENTS}

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Publish what chunks become, then acknowledge them."""
        places = asyncio.Semaphore(_AT_ONCE)
        await places.acquire()
        try:
            async with asyncio.TaskGroup() as publishing:
                async for chunks in batches(stream, _TOGETHER):
                    publishing.create_task(self._settle(chunks)).add_done_callback(lambda _: places.release())
                    await places.acquire()  # before more is gathered: what comes meanwhile goes together, too
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _settle(self, chunks: Sequence[Chunk]) -> None:
        await self.publish(chunks)
        for chunk in chunks:
            chunk.acknowledge()

    async def publish(self, chunks: Sequence[Chunk], headers: Headers = NO_HEADERS) -> None:
        """Publish the records that chunks of the raw topic become; returns when Kafka has them.

        Args:
            chunks: of the raw topic.
            headers: of all records of events.
        """

        async def attempt() -> None:
            await self._forgotten.refresh()
            outgoing = self._producer.outgoing()
            for chunk in chunks:
                expired = chunk.skipped
                for raw in chunk.records:
                    self._add(outgoing, chunk, raw, headers, expired)
                    expired = 0
            await failpoints.reach("before-publishing")
            await self._producer.publish_all(outgoing)
            await failpoints.reach("after-publishing")
            self._count(sum(len(chunk.records) for chunk in chunks), outgoing)

        await persistently("publishing events", attempt)

    def _count(self, bodies: int, outgoing: Outgoing) -> None:
        metrics.BODIES.labels(self._source).inc(bodies)
        for topic, records in outgoing.counts().items():
            if topic in self._counters:
                self._counters[topic].inc(records)

    def _add(self, outgoing: Outgoing, chunk: Chunk, raw: Any, headers: Headers, expired: int) -> None:  # noqa: ANN401
        about = dict(raw.headers)
        body = raw.value or b""
        received_at = _milliseconds(about.get("received_at"), raw.timestamp)
        removed: list[int] = []
        if self._guard:
            (events, malformed), removed = self._normalizer.guarded(body, received_at, self._guard)
        else:
            events, malformed = self._normalizer(body, received_at)
        add, targets, keys = outgoing.add, self._events, self._keys
        for event, user_id, _, line in events:
            key, number = keys[user_id]
            topic, partitions = targets[event.name]
            add(topic, number % partitions, key, line, headers)
        letters = [
            DeadLetter(
                id=letter_id("normalize", chunk.partition, raw.offset, received_at, position),
                source=self._source,
                step="normalize",
                reason=element.reason,
                received_at=received_at,
                payload=element.payload,
                topic=chunk.topic,
            )
            for position, element in malformed.items()
        ]
        replayed = about.get(HEADER)
        if replayed:
            succeeded = bool(events or removed)
            letters = _after_replay(DeadLetter.of_header(replayed, body), letters, succeeded=succeeded)
        for letter in letters:
            key, number = self._keys[letter.id]
            topic, partitions = self._dead_letters
            add(topic, number % partitions, key, letter.line())
        if malformed and not replayed:
            metrics.DEAD_LETTERS.labels(self._source, "normalize").inc(len(malformed))
        # A replayed letter has been counted as one accepted and malformed element when it first came in.
        counted = 1 if replayed else 0
        delivery = {
            "partition": chunk.partition,
            "offset": raw.offset,
            "received_at": time_text(received_at),
            "verified": about.get("verified", b"").decode("utf-8", "replace"),
            "bytes": len(body),
            "events": len(events) + len(malformed) + len(removed) - counted,
            "malformed": len(malformed) - counted,
            "identities": [event.identity for event in events],
            "expired": expired,
        }
        if removed:
            delivery["removed"] = removed
        topic, partitions = self._deliveries
        add(topic, chunk.partition % partitions, None, orjson.dumps(delivery))


def _after_replay(letter: DeadLetter, failures: list[DeadLetter], *, succeeded: bool) -> list[DeadLetter]:
    """What is written after a letter was processed again: what became of it, and letters for what is new."""
    at = now()
    if not succeeded and len(failures) == 1:
        return [letter.failed_again(failures[0].reason, at)]
    return [letter.now("replayed", at), *failures]


class _Target(NamedTuple):
    """A topic and how many partitions it has."""

    topic: str
    partitions: int


class _Keys(dict[str, tuple[bytes | None, int]]):
    """A user id's record key and its number, which modulo the partitions is its partition."""

    def __missing__(self, user_id: str) -> tuple[bytes | None, int]:
        if len(self) >= _REMEMBERED_KEYS:
            self.clear()
        key = user_id.encode()
        entry = (key, key_number(key)) if key else (None, 0)
        self[user_id] = entry
        return entry


def _milliseconds(header: bytes | None, timestamp: int) -> int:
    """The receive time that the ingress wrote; Kafka's own for a record that somebody else put there."""
    return int(header) if header and header.isdigit() else timestamp
