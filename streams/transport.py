"""Faust's Kafka transport with the chunk as its unit: what one fetch returned of one partition.

Plain Faust spends four asyncio tasks and an `asyncio.wait` on every record. Here a Faust event is a Chunk, and agents
stay ordinary Faust agents: `async for chunk in stream`.

The transport also replaces Faust's book-keeping of acknowledgements. Faust acknowledges a message whose agent raised,
whose batch was cut short by a stop, or which a rebalance skipped; such an acknowledgement means nothing here. Only
`Chunk.acknowledge()` does, and offsets are committed up to the first chunk that has not been acknowledged.

This file and `chunks` are all that touches Faust's and aiokafka's internals. They are written against faust-streaming
0.15.3 and aiokafka 0.14; the transport is chosen by a broker URL that begins with `chunked://` (the entry point
`faust.transports`).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import aiokafka
import faust
import structlog
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import Message

from schemas.topics import SHARED, owner
from streams import failpoints
from streams.chunks import Chunk, Fetched, packed, unpacked
from streams.fairness import has_enough

log = structlog.get_logger()

_FETCH_SECONDS = 0.1
"""How long a fetch waits for data. A partition that was read to its end is asked for again only with the next fetch, so
this bounds how long a busy partition waits for idle ones."""
_FETCH_LEAST_BYTES = 256 << 10
"""Of packed records, before a fetch ends early. What comes in little by little is worked on ten times a second."""
_FETCH_WAIT_SECONDS = 1.0
"""After so long without data it is looked whether something else is to be done."""
_FETCH_BYTES = 16 << 20
"""At which enough is fetched at once: of unpacked records, and of packed ones in Kafka's answer."""
_POLL_INTERVAL_MS = 2**31 - 1
"""A worker that waits for ClickHouse fetches nothing, for hours if need be, and must stay in its group."""
_HANDOVER_SECONDS = 3.0
"""How long a rebalance waits for what is being worked on: what is not acknowledged by then, another worker repeats."""
_SETTLE_STEP_SECONDS = 0.02
_COMMIT_SECONDS = 10.0
"""A commit that takes longer is left to the next one: the broker is away, and stopping must not wait for it."""


@dataclass(slots=True)
class Ledger:
    """Which chunks are being worked on, and up to where each partition is done.

    Args:
        limit: bytes of unacknowledged records at which nothing more is fetched: the memory that a worker may hold.
    """

    limit: int
    _open: dict[TP, deque[Chunk]] = field(default_factory=dict)
    _done: dict[TP, int] = field(default_factory=dict)

    def take(self, tp: TP, chunk: Chunk) -> None:
        """A chunk goes to its agent."""
        self._open.setdefault(tp, deque()).append(chunk)

    def committable(self) -> dict[TP, int]:
        """The offsets to commit: of each partition where something was acknowledged, the first that is not done."""
        for tp, chunks in self._open.items():
            while chunks and chunks[0].acknowledged:
                self._done[tp] = chunks.popleft().last + 1
        return dict(self._done)

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """These offsets need not be committed again."""
        for tp, offset in offsets.items():
            if self._done.get(tp) == offset:
                del self._done[tp]

    def forget(self) -> None:
        """The partitions were taken away: whoever gets them begins where the last commit ended."""
        self._open.clear()
        self._done.clear()

    def unacknowledged(self) -> list[Chunk]:
        """What is being worked on."""
        return [chunk for chunks in self._open.values() for chunk in chunks if not chunk.acknowledged]

    def held(self) -> int:
        """Bytes of unacknowledged records."""
        return sum(chunk.size for chunk in self.unacknowledged())

    def sated(self, owners: Collection[str]) -> set[str]:
        """Those of some owners of topics for whom fetching must wait for acknowledgements.

        Where there are several sources, none may take the room of the others.
        """
        held = self.held()
        if held >= self.limit:
            return set(owners)
        if len(set(owners) - {SHARED}) <= 1:
            return set()
        shares: Counter[str] = Counter()
        for chunk in self.unacknowledged():
            shares[owner(chunk.topic)] += chunk.size
        return {each for each in owners if has_enough(shares[each], self.limit - held)}

    def oldest(self, tp: TP) -> Chunk | None:
        """The oldest chunk of a partition that is being worked on; None where there is none."""
        return next((chunk for chunk in self._open.get(tp, ()) if not chunk.acknowledged), None)


@dataclass(slots=True)
class Positions:
    """Where each partition goes on, to notice what Kafka took away before it was read."""

    _next: dict[TP, int] = field(default_factory=dict)
    _ends: dict[TP, int] = field(default_factory=dict)

    def start(self, committed: Mapping[TP, int | None]) -> None:
        """Partitions were assigned: they go on where they were committed, new ones at 0."""
        self._next = {tp: offset or 0 for tp, offset in committed.items()}
        self._ends = {}

    def following(self, tp: TP) -> int:
        """The offset that is read next."""
        return self._next.get(tp, 0)

    def skipped(self, tp: TP, first: int, last: int, end: int) -> int:
        """How many records were lost before a chunk, by its first and last offset and the partition's end.

        Offsets that start again are those of a topic that was made anew: lost is what the old one still had.
        """
        expected = self._next.get(tp, first)
        lost = first - expected if first >= expected else max(0, self._ends.get(tp, expected) - expected)
        self._next[tp] = last + 1
        self._ends[tp] = end
        return lost


class Consumer(driver.Consumer):
    """Faust's consumer, with chunks instead of messages."""

    _thread: "ConsumerThread"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger(limit=cast("App", self.app).held_bytes)
        self._fetching = True
        self._positions = Positions()
        self._owners: frozenset[str] = frozenset()
        self.joined = asyncio.Event()

    def _new_consumer_thread(self) -> "ConsumerThread":
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's fetching loop: give each fetched chunk to its agent's queue."""
        while not (self.should_stop or fetcher.should_stop):
            await self._until_flowing(fetcher)
            if not self._fetching or not (partitions := self._wanted()):
                await asyncio.sleep(_FETCH_SECONDS)
                continue
            assignment, chunks = await self._thread.fetch(partitions)
            # A rebalance in between has given the partitions new positions, from where these records come again.
            # Nothing else may be dropped here: the fetcher's position is already behind these records.
            await self._until_flowing(fetcher)
            for tp, chunk in chunks:
                if self.flow_active and assignment is self._thread.current_assignment():
                    self._note_skipped(tp, chunk)
                    self.ledger.take(tp, chunk)
                    await self.callback(self._message(tp, chunk))

    def _wanted(self) -> set[TP]:
        """The partitions of which more is fetched just now."""
        partitions: set[TP] = self._get_active_partitions()
        sated = self.ledger.sated(self._owners)
        return {tp for tp in partitions if owner(tp.topic) not in sated} if sated else partitions

    def _note_skipped(self, tp: TP, chunk: Chunk) -> None:
        end = self.highwater(tp) or chunk.last + 1
        chunk.skipped = self._positions.skipped(tp, chunk.first, chunk.last, end)
        if chunk.skipped:
            log.error("records expired unread", topic=tp.topic, partition=tp.partition, records=chunk.skipped)

    def lag(self, topic: str) -> tuple[int, float]:
        """How many records of a topic's assigned partitions are not processed, and when the oldest was published.

        The time is in seconds since 1970, and now where no record has been fetched.
        """
        records, since = 0, time.time()
        for tp in [tp for tp in self.assignment() if tp.topic == topic]:
            oldest = self.ledger.oldest(tp)
            following = oldest.first if oldest else self._positions.following(tp)
            records += max(0, (self.highwater(tp) or following) - following)
            since = min(since, oldest.since / 1000) if oldest else since
        return records, since

    async def _until_flowing(self, fetcher: Any) -> None:
        if not self.flow_active:
            await self.wait_first(self.can_resume_flow.wait(), fetcher._stopped.wait())

    def _message(self, tp: TP, chunk: Chunk) -> Message:
        return Message(
            *(tp.topic, tp.partition, chunk.last, chunk.since / 1000, 0, None, None),
            cast("bytes", chunk),  # Faust passes on whatever it is
            None,
            *(0, 0),
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        """Faust's own acknowledgement: it says that a message went through, not that it was processed."""
        self._unacked_messages.discard(message)
        return False

    async def settle(self, seconds: float, *, for_good: bool = False) -> None:
        """Let what was fetched be finished, if it is within so many seconds, and commit it.

        Args:
            seconds: to wait at most.
            for_good: and fetch nothing more.
        """
        if for_good:
            self._fetching = False
        deadline = self.loop.time() + seconds
        while self.ledger.unacknowledged() and self.loop.time() < deadline:  # noqa: ASYNC110  polled for seconds at most
            await asyncio.sleep(_SETTLE_STEP_SECONDS)
        await self.force_commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Called while a rebalance takes all partitions away."""
        self.stop_flow()
        await failpoints.reach("rebalancing")
        await self.settle(_HANDOVER_SECONDS)
        self.ledger.forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called when a rebalance has given partitions."""
        self._positions.start(await self._thread.committed(assigned))
        self._owners = frozenset(owner(tp.topic) for tp in assigned)
        await super().on_partitions_assigned(assigned, generation_id)
        self.joined.set()

    async def perform_seek(self) -> None:
        """Nothing: a new assignment begins at the committed offsets by itself, and no other moment needs it."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Commit what was acknowledged. Returns False where there was nothing or the broker did not take it."""
        offsets = self.ledger.committable()
        if not offsets or not await self._thread.commit(offsets):
            return False
        self.ledger.committed(offsets)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's slow-processing warnings look at messages that do not exist here."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=_POLL_INTERVAL_MS,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_min_bytes=_FETCH_LEAST_BYTES,
            fetch_max_wait_ms=int(_FETCH_SECONDS * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def on_thread_stop(self) -> None:
        """Leave the group at once: only a member that dies keeps its name, and with it its partitions."""
        if self._consumer is not None and (coordinator := self._consumer._coordinator) is not None:
            coordinator._group_instance_id = None
        await super().on_thread_stop()

    def current_assignment(self) -> object:
        """An object that each rebalance replaces."""
        subscription = self._ensure_consumer()._subscription.subscription
        return subscription and subscription.assignment

    async def fetch(self, partitions: Iterable[TP]) -> tuple[object, list[tuple[TP, Chunk]]]:
        """The next chunks, at most one a partition, and the assignment they were fetched under."""
        return await self.call_thread(self._fetch, set(partitions))  # type: ignore[no-any-return]

    async def _fetch(self, partitions: set[TP]) -> tuple[object, list[tuple[TP, Chunk]]]:
        fetcher = self._ensure_consumer()._fetcher
        if not isinstance(fetcher._records, Fetched):
            fetcher._records = Fetched(fetcher._records, packed if cast("App", self.app).packed else unpacked)
        taken = fetcher._records.taken
        taken.clear()
        chunks: dict[TP, Chunk] = {}
        wait = _FETCH_WAIT_SECONDS
        with fetcher._subscriptions.fetch_context():
            while (waiting := partitions - chunks.keys()) and sum(each.size for each in chunks.values()) < _FETCH_BYTES:
                try:
                    fetched = await fetcher.fetched_records(waiting, wait, max_records=1)
                except KafkaError:
                    if not chunks:
                        raise
                    break  # it comes again with the next fetch; these records do not
                for tp, (chunk,) in fetched.items():
                    chunks[TP(*tp)] = chunk
                    taken[owner(tp.topic)] += chunk.size
                # No await from here: the assignment is the one whose positions have just moved. Without a time to wait
                # and without a rebalance, fetched_records does not await either.
                if not fetched or fetcher._subscriptions.reassignment_in_progress:
                    break
                wait = 0
        return self.current_assignment(), list(chunks.items())

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """The group's committed offsets; None where there is none."""
        return await self.call_thread(self._committed, list(partitions))  # type: ignore[no-any-return]

    async def _committed(self, partitions: list[TP]) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        offsets = await asyncio.gather(*(consumer.committed(TopicPartition(*tp)) for tp in partitions))
        return dict(zip(partitions, offsets, strict=True))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        await failpoints.reach("before-committing")
        try:
            await asyncio.wait_for(
                consumer.commit({TopicPartition(*tp): offset for tp, offset in offsets.items() if tp in assigned}),
                _COMMIT_SECONDS,
            )
        except (CommitFailedError, IllegalStateError) as error:
            log.info("commit refused after a rebalance; the records come again", reason=str(error))
            return False
        except (KafkaError, TimeoutError) as error:
            log.warning("commit failed; the next one covers it", reason=repr(error))
            return False
        await failpoints.reach("after-committing")
        return True


class App(faust.App):
    """A Faust app over chunks.

    Args:
        group: the consumer group.
        held_bytes: of records that its agents may hold without having acknowledged them: as they are, or packed.
        packed: its agents get records packed.
        options: Faust's.
    """

    def __init__(self, group: str, *, held_bytes: int, packed: bool = False, **options: Any) -> None:
        super().__init__(group, **options)
        self.held_bytes = held_bytes
        self.packed = packed

    def _create_directories(self) -> None:
        """Nothing: they would hold tables, of which there are none, and the working directory may be read-only."""


def assigned(app: faust.App) -> set[tuple[str, int]]:
    """The partitions that an app reads at the moment."""
    consumer = cast("Consumer", app.consumer)
    return {(tp.topic, tp.partition) for tp in consumer.assignment()}


def lag_records(app: faust.App, topic: str) -> int:
    """How many records of a topic an app has not processed, of the partitions that it reads."""
    consumer = cast("Consumer | None", app.consumer)
    return consumer.lag(topic)[0] if consumer else 0


def lag_seconds(app: faust.App, topic: str) -> float:
    """How long ago the oldest record of a topic that an app holds was published."""
    consumer = cast("Consumer | None", app.consumer)
    return time.time() - consumer.lag(topic)[1] if consumer else 0.0


def held(app: faust.App) -> int:
    """Bytes of records that an app has fetched and not processed."""
    consumer = cast("Consumer | None", app.consumer)
    return consumer.ledger.held() if consumer else 0


async def joined(app: faust.App) -> None:
    """Return when an app has been given its partitions for the first time."""
    await cast("Consumer", app.consumer).joined.wait()


async def drain(app: faust.App, seconds: float) -> None:
    """Before an app stops: fetch nothing more, and finish what was fetched, if it is within so many seconds."""
    consumer = cast("Consumer", app.consumer)
    await consumer.settle(seconds, for_good=True)


class Transport(driver.Transport):
    """What Faust finds under the URL scheme `chunked`."""

    Consumer: ClassVar[type[Consumer]] = Consumer


class ChunkSchema(Schema[None, Chunk]):
    """Leaves decoding to the agents: an event's value is its Chunk."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:
        """Records have keys, chunks have none."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Chunk:  # noqa: ARG002
        """The chunk itself."""
        chunk: Chunk = message.value
        return chunk
