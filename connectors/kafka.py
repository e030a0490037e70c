"""Kafka: publishing that is safe, topics that are made, positions that can be asked for."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    SaslAuthenticationFailed,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from connectors.errors import Fatal, GridstreamError, Reject, Retry
from connectors.tls import trusting

T = TypeVar("T")
Headers = list[tuple[str, bytes]]

NO_HEADERS: Headers = []

_REFUSED = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
_BATCH_BYTES = 1 << 20
_REQUEST_BYTES = 24 << 20
"""Above the largest record of any topic."""
_CLOSE_SECONDS = 5
_COORDINATOR_SECONDS = 10.0
_COORDINATOR_STEP_SECONDS = 0.1


Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is, and how its clients get in.

    Attributes:
        servers: of it, comma-separated host:port.
        protocol: what they speak, as Kafka's `security.protocol`.
        mechanism: how clients with SASL say who they are,
        username: and who that is,
        password: with what proof.
        ca_certificate: certificates of the authorities that may have signed the servers'; empty: those of the system.
    """

    servers: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "PLAIN"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_certificate: str = ""

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """What checks the servers' certificates, where they have some.

        Raises:
            Fatal: the file of the authorities cannot be used.
        """
        return trusting(self.ca_certificate, "kafka") if "SSL" in self.protocol else None

    @cached_property
    def arguments(self) -> Mapping[str, Any]:
        """Of aiokafka's clients.

        Raises:
            Fatal: the file of the authorities cannot be used.
        """
        found: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "security_protocol": self.protocol,
            "ssl_context": self.tls,
        }
        if self.protocol.startswith("SASL"):
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return found


class Record(NamedTuple):
    """What is published: a key (none: any partition), a value, headers."""

    key: bytes | None
    value: bytes
    headers: Headers = NO_HEADERS


class Copies(NamedTuple):
    """Of a partition: how many brokers are to have it, and how many have all of it."""

    replicas: int
    in_sync: int


@contextmanager
def translated(servers: str) -> Iterator[None]:
    """Raise Kafka's errors as Retry, Reject or Fatal."""
    try:
        yield
    except KafkaConnectionError as error:
        raise Retry(f"Kafka at {servers} cannot be reached") from error
    except (KafkaError, TimeoutError) as error:
        raise _meaning(error, servers) from error


def _meaning(error: Exception, servers: str) -> GridstreamError:
    text = f"Kafka at {servers}: {str(error) or type(error).__name__}"
    if isinstance(error, MessageSizeTooLargeError):
        return Reject(f"{text}: the record is larger than its topic takes")
    if isinstance(error, _REFUSED):
        return Fatal(f"{text}. Check the credentials and what they may do")
    return Retry(text)


class Producer:
    """Publishes with `acks=all` and idempotence: what is confirmed survives, its own retries do not repeat it.

    An async context manager, that starts and stops.

    Args:
        cluster: where to.
        linger: milliseconds that single records are gathered.
    """

    def __init__(self, cluster: Cluster, linger: int = 0) -> None:
        self._cluster = cluster
        self._servers = cluster.servers
        self._linger = linger
        self._producer = self._new()
        self._replacing = asyncio.Lock()

    def _new(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._cluster.arguments,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",  # 107 B an event in 1 µs; aiokafka's lz4, always at its highest level, 150 B in 6
            linger_ms=self._linger,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect.

        Raises:
            Retry: Kafka cannot be reached.
        """
        with translated(self._servers):
            await self._producer.start()

    async def stop(self) -> None:
        """Send what is buffered, if Kafka takes it soon, and disconnect."""
        await _close(self._producer)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            Retry: Kafka cannot be reached or does not know the topic.
        """
        with translated(self._servers):
            return len(await self._producer.partitions_for(topic))

    async def ping(self) -> None:
        """Ask for the cluster's state.

        Raises:
            Retry: no broker answers.
        """
        with translated(self._servers):
            await self._producer.client.fetch_all_metadata()

    async def publish(self, topic: str, record: Record) -> None:
        """Publish one record; returns when all replicas in sync have it.

        Raises:
            Retry: it was not confirmed. It may still arrive later.
            Reject: it is larger than the topic takes.
        """
        producer = self._producer
        with translated(self._servers):
            try:
                await producer.send_and_wait(topic, record.value, key=record.key, headers=record.headers)
            except (MessageSizeTooLargeError, OutOfOrderSequenceNumber):
                await self._replace(producer)
                raise

    def outgoing(self) -> "Outgoing":
        """Where many records are gathered for publish_all."""
        return Outgoing(self._producer.create_batch)

    async def publish_all(self, outgoing: "Outgoing") -> None:
        """Publish what was gathered; returns when all replicas in sync have all of it.

        Raises:
            Retry: some were not confirmed. All of them are to be gathered and published again.
            Reject: one is larger than its topic takes.
        """
        producer = self._producer
        with translated(self._servers):
            try:
                sent = [
                    await producer.send_batch(batch, topic, partition=partition)
                    for topic, partition, batch in outgoing.batches()
                ]
                await asyncio.gather(*sent)
            except (MessageSizeTooLargeError, OutOfOrderSequenceNumber):
                await self._replace(producer)
                raise

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        """Begin anew: after a refused batch Kafka refuses everything that follows it from the same producer."""
        async with self._replacing:
            if broken is self._producer:
                fresh = self._new()
                await fresh.start()
                self._producer = fresh
                await _close(broken)


def key_number(key: bytes) -> int:
    """What modulo the partitions is a key's partition: as Kafka's default partitioner has it, and so all clients."""
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return key_number(key) % partitions


class Outgoing:
    """Records in Kafka's batches, by topic and partition: to be published once.

    Records are written into their batch at once, so that none of them has to be kept.
    """

    def __init__(self, new_batch: Callable[[], BatchBuilder]) -> None:
        self._new_batch = new_batch
        self._open: dict[tuple[str, int], BatchBuilder] = {}
        self._full: list[tuple[str, int, BatchBuilder]] = []

    def add(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = NO_HEADERS) -> None:
        """One more record."""
        place = topic, partition
        batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = self._new_batch()
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            self._full.append((topic, partition, batch))
            batch = self._open[place] = self._new_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)

    def counts(self) -> Counter[str]:
        """How many records there are, by topic."""
        found: Counter[str] = Counter()
        for topic, _, batch in self.batches():
            found[topic] += batch.record_count()
        return found

    def batches(self) -> Iterator[tuple[str, int, BatchBuilder]]:
        """All batches with their topics and partitions, in the order of their records."""
        for batches in (self._full, ((*place, batch) for place, batch in self._open.items())):
            for topic, partition, batch in batches:
                batch.close()
                yield topic, partition, batch


async def _close(producer: AIOKafkaProducer) -> None:
    with suppress(TimeoutError, KafkaError):
        await asyncio.wait_for(producer.stop(), _CLOSE_SECONDS)


class Admin:
    """What is asked of a cluster besides records: topics, offsets, groups. An async context manager.

    Raises:
        Retry: on entry, where Kafka cannot be reached.
    """

    COPIES: ClassVar = 3
    """Of each partition, where there are so many brokers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._servers = cluster.servers
        self._admin = AIOKafkaAdminClient(**cluster.arguments)
        self._consumer = AIOKafkaConsumer(**cluster.arguments)

    async def __aenter__(self) -> Self:
        with translated(self._servers):
            try:
                await self._admin.start()
                await self._consumer.start()
                await asyncio.sleep(0)  # stopped before its background task has begun, it would raise CancelledError
            except BaseException:
                await self.__aexit__()
                raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def ensure_topics(self, topics: Mapping[str, Mapping[str, str]], partitions: int, copies: int) -> list[str]:
        """Make the topics that are not there, with their settings.

        Args:
            topics: settings by name.
            partitions: of each.
            copies: of each partition; 0: three, or as many as there are brokers.

        Returns:
            The names of those it made.

        Raises:
            Retry, Fatal: Kafka would not.
        """
        with translated(self._servers):
            existing = set(await self._admin.list_topics())
            replicas = copies or min(self.COPIES, await self.brokers())
            # Kafka's own default is 1: a leader that is alone would confirm what dies with it.
            safe = {"min.insync.replicas": str(replicas - 1)} if replicas >= self.COPIES else {}
            new = [
                NewTopic(name, partitions, replicas, topic_configs={**safe, **settings})
                for name, settings in topics.items()
                if name not in existing
            ]
            if new:
                answer = await self._admin.create_topics(new)
                for _, code, message in answer.topic_errors:
                    if code and not issubclass(for_code(code), TopicAlreadyExistsError):
                        raise for_code(code)(message)
        return [topic.name for topic in new]

    async def configure_topics(self, topics: Mapping[str, Mapping[str, str]]) -> None:
        """Have topics that are there these settings and no others; the cluster's defaults serve for the rest.

        Args:
            topics: settings by name.

        Raises:
            Retry, Fatal: Kafka would not.
        """
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict(each)) for name, each in topics.items()]
        with translated(self._servers):
            for answer in await self._admin.alter_configs(resources):
                for code, message, *_ in answer.resources:
                    if code:
                        raise for_code(code)(message)

    async def offsets(self, topics: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
        """The first and the next offset of each partition, by topic and partition. A missing topic has none.

        Raises:
            Retry: Kafka would not say.
        """
        with translated(self._servers):
            partitions = [
                TopicPartition(topic["topic"], partition["partition"])
                for topic in await self._admin.describe_topics(list(topics))
                if not issubclass(for_code(topic["error_code"]), UnknownTopicOrPartitionError)
                for partition in topic["partitions"]
            ]
            # Otherwise the consumer asks for the leaders of one topic after the other, 0.1 s each.
            self._consumer.assign(partitions)
            self._consumer.pause(*partitions)
            first = await self._consumer.beginning_offsets(partitions)
            following = await self._consumer.end_offsets(partitions)
        return {(tp.topic, tp.partition): (first[tp], following[tp]) for tp in partitions}

    async def brokers(self) -> int:
        """How many brokers there are.

        Raises:
            Retry: Kafka would not say.
        """
        with translated(self._servers):
            return len((await self._admin.describe_cluster())["brokers"])

    async def copies(self, topics: Iterable[str]) -> dict[tuple[str, int], Copies]:
        """The replicas of each partition, by topic and partition. A missing topic has none.

        Raises:
            Retry: Kafka would not say.
        """
        with translated(self._servers):
            return {
                (topic["topic"], partition["partition"]): Copies(len(partition["replicas"]), len(partition["isr"]))
                for topic in await self._admin.describe_topics(list(topics))
                for partition in topic["partitions"]
            }

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """A consumer group's committed offsets, by topic and partition.

        Raises:
            Retry: Kafka would not say.
        """
        with translated(self._servers):
            offsets = await self._coordinated(partial(self._admin.list_consumer_group_offsets, group))
        return {(tp.topic, tp.partition): position.offset for tp, position in offsets.items()}

    async def settings(self, topics: Iterable[str], names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Some settings of some topics, as they are in force.

        Raises:
            Retry, Fatal: Kafka would not say.
        """
        wanted = dict.fromkeys(names, "")
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, wanted) for topic in topics]
        found: dict[str, dict[str, str]] = {}
        with translated(self._servers):
            for answer in await self._admin.describe_configs(asked):
                for code, message, _, topic, entries, *_ in answer.resources:
                    if code:
                        raise for_code(code)(message)
                    found[topic] = {entry[0]: entry[1] for entry in entries}
        return found

    async def delete_before(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Delete all records of partitions that are before an offset: nobody can read them any more.

        Args:
            positions: the offset of each partition.

        Raises:
            Retry, Fatal: Kafka would not.
        """
        before = {TopicPartition(*partition): RecordsToDelete(offset) for partition, offset in positions.items()}
        with translated(self._servers):
            await self._admin.delete_records(before)

    async def begin_at_end(self, group: str, topics: Iterable[str]) -> None:
        """Have a consumer group without members skip what is in partitions that it has never read.

        Raises:
            Retry: Kafka would not.
        """
        known = await self.committed(group)
        ends = {
            TopicPartition(*partition): following
            for partition, (_, following) in (await self.offsets(topics)).items()
            if partition not in known
        }
        if not ends or await self.members(group):
            return
        consumer = AIOKafkaConsumer(**self._cluster.arguments, group_id=group, enable_auto_commit=False)
        with translated(self._servers):
            await consumer.start()
            try:
                consumer.assign(list(ends))
                await consumer.commit(ends)
            finally:
                await consumer.stop()

    async def oldest(self, positions: Mapping[tuple[str, int], int]) -> int | None:
        """When the oldest of some records was written, in milliseconds since 1970; None where there is none.

        Args:
            positions: of each partition the offset of a record that is there.

        Raises:
            Retry: Kafka would not say.
        """
        if not positions:
            return None
        # Kafka gives at least one batch of records, however little is asked for.
        consumer = AIOKafkaConsumer(**self._cluster.arguments, max_partition_fetch_bytes=1)
        waiting = {TopicPartition(*partition) for partition in positions}
        times: list[int] = []
        with translated(self._servers):
            await consumer.start()
            try:
                consumer.assign(list(waiting))
                for (topic, number), offset in positions.items():
                    consumer.seek(TopicPartition(topic, number), offset)
                async with asyncio.timeout(_COORDINATOR_SECONDS):
                    while waiting:
                        for partition, records in (await consumer.getmany(*waiting, timeout_ms=100)).items():
                            times.append(records[0].timestamp)
                            waiting.discard(partition)
            finally:
                await consumer.stop()
        return min(times)

    async def members(self, group: str) -> int:
        """How many workers a consumer group has at the moment."""
        with translated(self._servers):
            described = await self._coordinated(partial(self._admin.describe_consumer_groups, [group]))
        return sum(len(entry[5]) for answer in described for entry in answer.groups)

    async def _coordinated(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask a group's coordinator, which a cluster that has just started first has to elect."""
        async with asyncio.timeout(_COORDINATOR_SECONDS):
            while True:
                try:
                    return await ask()
                except GroupCoordinatorNotAvailableError:
                    await asyncio.sleep(_COORDINATOR_STEP_SECONDS)
