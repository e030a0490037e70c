"""A topic that Kafka compacts as a small table: the last value of each key, the same for every process."""

import asyncio
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer

from connectors.kafka import Cluster, translated

_READ_SECONDS = 10.0


class KafkaTable:
    """The last value of each key of one topic. An asynchronous context manager: it connects, and reads what is there.

    Attributes:
        values: by key. An empty value is none.

    Args:
        cluster: where it is.
        topic: compacted.

    Raises:
        Retry: on entry, where Kafka cannot be reached or does not know the topic.
    """

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.values: dict[bytes, bytes] = {}
        self._cluster = cluster
        self._topic = topic
        self._reading = asyncio.Lock()

    async def __aenter__(self) -> Self:
        with translated(self._cluster.servers):
            self._consumer = AIOKafkaConsumer(
                self._topic, **self._cluster.arguments, auto_offset_reset="earliest", enable_auto_commit=False
            )
            # A connection of its own: a broker answers in turn, and a fetch waits half a second for records.
            self._asking = AIOKafkaConsumer(**self._cluster.arguments)
            try:
                await self._consumer.start()
                await self._asking.start()
                await self._read_all()
            except BaseException:
                await self.__aexit__(None, None, None)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asking.stop()
        await self._consumer.stop()

    async def changed(self) -> None:
        """Return when there is something new, which is then among the values.

        Raises:
            Retry, Fatal: Kafka would not say.
        """
        with translated(self._cluster.servers):
            record = await self._consumer.getone()
            self._take(record.key, record.value)

    async def refresh(self) -> bool:
        """Read what is there by now; returns whether there was anything new. It costs a round trip.

        Raises:
            Retry, Fatal: Kafka would not say.
        """
        async with self._reading:
            with translated(self._cluster.servers):
                return await self._read_all()

    async def _read_all(self) -> bool:
        is_new = False
        async with asyncio.timeout(_READ_SECONDS):
            ends = await self._asking.end_offsets(self._consumer.assignment())
            for partition, end in ends.items():
                while await self._consumer.position(partition) < end:
                    for records in (await self._consumer.getmany(timeout_ms=100)).values():
                        for record in records:
                            self._take(record.key, record.value)
                            is_new = True
        return is_new

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if key and value:
            self.values[key] = value
        elif key:
            self.values.pop(key, None)
