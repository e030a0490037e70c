"""Chunks, unpacked and packed, of what Kafka really sends."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streams import chunks as module
from streams.chunks import Chunk, packed, unpacked

TP = TopicPartition("topic", 3)
ZSTD = 4
Way = Callable[[TopicPartition, Any], Iterator[Chunk]]
WAYS = pytest.mark.parametrize("way", [unpacked, packed])


def batch(base: int, *values: bytes) -> bytes:
    """As a broker keeps it: the builder leaves the base offset to it, which the checksum does not cover."""
    builder = DefaultRecordBatchBuilder(2, ZSTD, 0, -1, -1, -1, 1 << 20)
    for number, value in enumerate(values):
        builder.append(number, 1_000 + base + number, b"key", value, [("header", b"1")])
    built = bytes(builder.build())
    return base.to_bytes(8, "big") + built[8:]


def control(base: int) -> bytes:
    """A batch that a transaction leaves, with the checksum of its contents."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, 7, 0, 0, 1 << 20)
    builder.append(0, 1_000, b"\0\0\0\1", b"\0\0\0\0\0\0", [])
    content = bytearray(builder.build())
    content[0:8] = base.to_bytes(8, "big")
    content[22] |= 0x20
    content[17:21] = calc_crc32c(bytes(content[21:])).to_bytes(4, "big")
    return bytes(content)


def chunks(way: Way, data: bytes, start: int = 0) -> tuple[list[Chunk], int]:
    """The chunks of what was fetched from an offset on, and where the next fetch begins."""
    fetched = SimpleNamespace(_records=fetcher.MemoryRecords(data), next_fetch_offset=start)
    return list(way(TP, fetched)), fetched.next_fetch_offset


def values(found: Chunk) -> list[bytes]:
    return [record.value for record in found.records]


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    gaps=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    skipped=st.integers(0, 4),
    cut=st.integers(0, 60),
)
def test_packed_or_not_they_are_the_same(sizes: list[int], gaps: list[int], skipped: int, cut: int) -> None:
    base, data = 10, b""
    for size, gap in zip(sizes, gaps, strict=False):
        data += batch(base + gap, *(f"{base + gap + number}".encode() for number in range(size)))
        base += gap + size
    data += batch(base, b"cut off")[:cut]
    start = 10 + gaps[0] + min(skipped, sizes[0] - 1)

    ((one,), following), ((other,), following_too) = chunks(unpacked, data, start), chunks(packed, data, start)

    assert values(one) == values(other)
    assert values(other) == values(other), "they can be gone through again"
    assert (one.first, one.last, len(one.records)) == (other.first, other.last, len(other.records))
    assert following == following_too == base


def test_a_packed_chunk_is_as_large_as_what_it_holds() -> None:
    data = batch(0, b"x" * 10_000)
    ((found,), _) = chunks(packed, data)

    assert found.size == len(data) < 1_000
    assert found.since == 1_000


def test_packed_chunks_are_no_larger_than_they_have_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = batch(0, b"a", b"b"), batch(2, b"c"), batch(3, b"d")
    monkeypatch.setattr(module, "_PACKED_BYTES", len(first) + 1)
    found, following = chunks(packed, first + second + third, 1)

    assert [(each.first, each.last, values(each), len(each.records)) for each in found] == [
        (1, 2, [b"b", b"c"], 2),
        (3, 3, [b"d"], 1),
    ]
    assert following == 4


@WAYS
def test_what_is_damaged_is_an_error_after_what_came_before(way: Way) -> None:
    damaged = bytearray(batch(2, b"c"))
    damaged[-1] ^= 1
    fetched = SimpleNamespace(
        _records=fetcher.MemoryRecords(batch(0, b"a", b"b") + bytes(damaged)), next_fetch_offset=0
    )

    found = way(TP, fetched)

    assert values(next(found)) == [b"a", b"b"]
    assert fetched.next_fetch_offset == 2
    with pytest.raises(CorruptRecordException):
        next(found)


@WAYS
def test_what_a_transaction_leaves_is_no_record(way: Way) -> None:
    (found,), following = chunks(way, batch(0, b"a") + control(1) + batch(2, b"b"))
    assert values(found) == [b"a", b"b"]
    assert following == 3
    assert chunks(way, control(0)) == ([], 1)


@WAYS
def test_an_acknowledged_chunk_holds_nothing(way: Way) -> None:
    ((found,), _) = chunks(way, batch(5, b"a", b"b"))
    found.acknowledge()

    assert values(found) == []
    assert (found.first, found.last) == (5, 6)
