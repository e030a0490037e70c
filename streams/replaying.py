"""`gridstream replay`: what is in the raw topic is normalized again, beside the live traffic.

Nothing counts twice, as the same raw record gives the same identities; what is missing is filled, and columns that were
added since then get their values. The events are marked with the header `replay`, so that nothing is sent out again.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.kafka import Admin, Headers, Producer, translated
from schemas import topics
from schemas.normalize import Normalizer
from streams.chunks import Chunk
from streams.datafolder import DataFolder
from streams.groups import group, lags_of
from streams.normalize import Normalize
from streams.privacy.forgotten import Forgotten, forgotten
from streams.sections import Source
from streams.settings import Settings

_MARKED: Headers = [(topics.REPLAY_HEADER, b"1")]
_FORWARDED: Headers = [*_MARKED, (topics.FORWARD_HEADER, b"1")]
_RECORDS = 500
"""Raw records that are normalized at once."""
_MOST_WAITING = 50_000
"""So many events may wait for the store before a replay waits too: live traffic stays fresh."""
_WAIT_SECONDS = 0.5
_FETCH_MS = 1000


class Progress(NamedTuple):
    """How far a replay is.

    Attributes:
        done: raw records normalized again,
        total: of so many.
    """

    done: int
    total: int


class Replay:
    """A replay of one source. One that was interrupted goes on where it was when it is started again.

    Args:
        settings: read.
        data: where the key of marks is.
        source: whose raw topic.
        since: received from then on, in milliseconds since 1970,
        until: and before then; 0: until now.
        forward: also to Amplitude.
    """

    def __init__(
        self, settings: Settings, data: DataFolder, source: Source, since: int, until: int, *, forward: bool = False
    ) -> None:
        self._settings = settings
        self._data = data
        self._source = source
        self._since = since
        self._until = until
        self._headers = _FORWARDED if forward else _MARKED
        self._cluster = settings.kafka.cluster
        self._consumer: AIOKafkaConsumer[bytes, bytes]
        self._producer: Producer

    async def run(self, on_progress: Callable[[Progress], None]) -> Progress:
        """Normalize again; returns when all of it is published.

        Raises:
            Retry: Kafka went away. Start the replay again.
        """
        self._consumer = AIOKafkaConsumer(
            **self._cluster.arguments,
            group_id=f"gridstream.replay.{self._source.name}.{self._since}-{self._until}",
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 << 20,
        )
        self._producer = Producer(self._cluster)
        async with AsyncExitStack() as stack:
            known = await forgotten(self._settings, self._data, stack)
            with translated(self._cluster.servers):
                await self._consumer.start()
                stack.push_async_callback(self._consumer.stop)
                await stack.enter_async_context(self._producer)
                return await self._run(known, on_progress)

    async def _run(self, known: Forgotten, on_progress: Callable[[Progress], None]) -> Progress:
        topic_partitions = [topic.name for topic in topics.of_source(self._source.name)]
        partitions = {name: await self._producer.partitions(name) for name in topic_partitions}
        normalizer = Normalizer(self._source.user_id_key)
        guard = known.guard(self._source)
        normalize = Normalize(self._source.name, normalizer, self._producer, partitions, known, guard)
        firsts, lasts = await self._span()
        waiting = await self._resume(firsts, lasts)
        total = sum(lasts[tp] - firsts[tp] for tp in firsts)
        while True:
            done = total - sum(lasts[tp] - offset for tp, offset in waiting.items())
            on_progress(Progress(done, total))
            if not waiting:
                break
            await self._live_traffic_first()
            fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS, max_records=_RECORDS)
            for tp, records in fetched.items():
                wanted = [record for record in records if record.offset < lasts[tp]]
                if wanted:
                    await normalize.publish([Chunk.of(tp.topic, tp.partition, wanted, 0)], self._headers)
                waiting[tp] = records[-1].offset + 1
                await self._consumer.commit({tp: waiting[tp]})
                if waiting[tp] >= lasts[tp]:
                    del waiting[tp]
                    self._consumer.pause(tp)
        await self._consumer.commit(firsts)  # the same replay may be wanted once more
        return Progress(total, total)

    async def _span(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Of each partition the first offset, and the one after the last."""
        raw = topics.raw(self._source.name)
        found = [TopicPartition(raw, number) for number in range(await self._producer.partitions(raw))]
        ends = await self._consumer.end_offsets(found)
        since = await self._consumer.offsets_for_times(dict.fromkeys(found, self._since))
        until = await self._consumer.offsets_for_times(dict.fromkeys(found, self._until)) if self._until else {}
        firsts = {tp: position.offset if (position := since[tp]) else ends[tp] for tp in found}
        lasts = {tp: position.offset if (position := until.get(tp)) else ends[tp] for tp in found}
        return firsts, {tp: max(last, firsts[tp]) for tp, last in lasts.items()}

    async def _resume(
        self, firsts: dict[TopicPartition, int], lasts: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Where each partition that is not done goes on."""
        self._consumer.assign(list(firsts))
        waiting = {}
        for tp, first in firsts.items():
            offset = max(first, await self._consumer.committed(tp) or 0)
            if offset < lasts[tp]:
                waiting[tp] = offset
                self._consumer.seek(tp, offset)
            else:
                self._consumer.pause(tp)
        return waiting

    async def _live_traffic_first(self) -> None:
        """Wait while the store has much to do."""
        while await self._behind() > _MOST_WAITING:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(_WAIT_SECONDS)

    async def _behind(self) -> int:
        read = list(topics.stored(self._source.name))
        async with Admin(self._cluster) as admin:
            return sum(lags_of(await admin.offsets(read), await admin.committed(group("store")), read).values())
