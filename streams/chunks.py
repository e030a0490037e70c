"""The chunk: what one fetch returned of one partition, unpacked into records or as Kafka's batches hold them."""

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, dropwhile
from typing import Any, Protocol, Self

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from schemas.topics import owner

_CHUNK_BYTES = 8 << 20
_PACKED_BYTES = 1 << 20
"""At which a chunk is large enough: each costs a turn through Faust and a commit."""
_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Of a batch: base offset, length of what follows these two, leader's epoch, magic, CRC, attributes, last offset less
the base, first and last timestamp, producer's id and epoch, base sequence, number of records
(https://kafka.apache.org/documentation/#recordbatch)."""
_BEFORE_LENGTH_ENDS = 12
_MAGIC = 2
_CONTROL = 0x20


class Records(Protocol):
    """aiokafka's DefaultRecords: `offset`, `timestamp`, `key`, `value`, `headers`. They can be gone through again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class Packed:
    """Records in Kafka's batches, as they came: unpacked anew whenever they are gone through, one batch at a time.

    A sixth of the memory, and no objects for Python's garbage collector to look through.

    Args:
        batches: compressed, of the second format (magic 2).
        count: of their records from the first on.
        first: offset of the first record; a fetch begins with a whole batch.
    """

    __slots__ = ("_batches", "_count", "_first")

    def __init__(self, batches: Sequence[memoryview], count: int, first: int) -> None:
        self._batches = batches
        self._count = count
        self._first = first

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        records = chain.from_iterable(map(DefaultRecordBatch, self._batches))
        return dropwhile(lambda record: record.offset < self._first, records)


@dataclass(eq=False, slots=True)
class Chunk:
    """Consecutive records of one partition, processed and acknowledged as one.

    Attributes:
        records: never empty before it is acknowledged.
        size: bytes of their values, or of what holds these packed.
        first: offset of the first.
        last: offset of the last.
        since: when the first was published, in milliseconds since 1970.
        skipped: records before it that nobody has read and Kafka no longer has.
        acknowledged: everything in it is written, published or dead-lettered.
    """

    topic: str
    partition: int
    records: Records
    size: int
    first: int
    last: int
    since: int
    skipped: int = 0
    acknowledged: bool = False

    @classmethod
    def of(cls, topic: str, partition: int, records: Sequence[Any], size: int) -> Self:
        """A chunk of unpacked records."""
        return cls(topic, partition, records, size, records[0].offset, records[-1].offset, records[0].timestamp)

    def acknowledge(self) -> None:
        """Say that the chunk needs no more work: after a restart it will not come again."""
        self.acknowledged = True
        self.records = ()  # it may have to wait for another one before it is committed


class _Kept(MemoryRecords):  # type: ignore[misc]  # final only for type checkers
    """What a fetch returned of a partition: aiokafka's way through it, and the bytes themselves."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = memoryview(data)


fetcher.MemoryRecords = _Kept  # aiokafka has no other place for it


class Fetched(dict[TopicPartition, Any]):
    """Where aiokafka keeps what it has fetched. Here it gives chunks instead of one record after the other.

    aiokafka makes an object of ten attributes for each record: with the rest of its loop 1.2 µs, where reading a whole
    batch takes 0.5 µs a record.

    Attributes:
        taken: bytes of this fetch, by the owner of their topic.
    """

    def __init__(
        self, fetched: Mapping[TopicPartition, Any], chunks: Callable[[TopicPartition, Any], Iterator[Chunk]]
    ) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self._chunks = chunks
        for tp, result in fetched.items():
            self[tp] = result

    def __setitem__(self, tp: TopicPartition, result: Any) -> None:
        if isinstance(result, FetchResult):
            records = result._partition_records
            records._records_iterator = self._chunks(tp, records)
        super().__setitem__(tp, result)

    def keys(self) -> Any:
        """In the order in which aiokafka looks for records: those whose owner has had the least of this fetch first."""
        return sorted(super().keys(), key=lambda tp: self.taken[owner(tp.topic)])


def unpacked(tp: TopicPartition, fetched: Any) -> Iterator[Chunk]:
    """What aiokafka's PartitionRecords holds, in chunks of unpacked records."""
    records: list[Any] = []
    size = 0
    while fetched._records.has_next():
        batch = fetched._records.next_batch()
        if not batch.validate_crc():
            if records:
                yield Chunk.of(tp.topic, tp.partition, records, size)
            raise CorruptRecordException(f"Invalid CRC - {tp}")
        if not batch.is_control_batch:
            some = list(batch)
            if batch.base_offset < fetched.next_fetch_offset:  # a fetch begins with a whole batch
                some = [record for record in some if record.offset >= fetched.next_fetch_offset]
            records += some
            size += sum([len(record.value or b"") for record in some])
        fetched.next_fetch_offset = batch.next_offset
        if size >= _CHUNK_BYTES:
            yield Chunk.of(tp.topic, tp.partition, records, size)
            records, size = [], 0
    if records:
        yield Chunk.of(tp.topic, tp.partition, records, size)


def packed(tp: TopicPartition, fetched: Any) -> Iterator[Chunk]:
    """What aiokafka's PartitionRecords holds, in chunks of packed records."""
    data: memoryview = fetched._records.data
    batches: list[memoryview] = []
    position = size = count = first = last = since = 0

    def chunk() -> Chunk:
        return Chunk(tp.topic, tp.partition, Packed(batches, max(1, count), first), size, first, last, since)

    while len(data) - position >= _HEAD.size:
        base, length, _, magic, _, attributes, delta, published, _, _, _, _, records = _HEAD.unpack_from(data, position)
        batch = data[position : position + _BEFORE_LENGTH_ENDS + length]
        if len(batch) < _BEFORE_LENGTH_ENDS + length:
            break  # cut off: the rest comes with the next fetch
        if magic != _MAGIC or not DefaultRecordBatch(batch).validate_crc():
            if batches:
                yield chunk()
            raise CorruptRecordException(f"Invalid CRC - {tp}")
        position += len(batch)
        if records and not attributes & _CONTROL:
            if not batches:
                first, since = max(base, fetched.next_fetch_offset), published
                count = base - first  # a fetch begins with a whole batch
            batches.append(batch)
            size += len(batch)
            count += records
            last = base + delta
        fetched.next_fetch_offset = base + delta + 1
        if size >= _PACKED_BYTES:
            yield chunk()
            batches, size = [], 0
    if batches:
        yield chunk()
