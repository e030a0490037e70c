"""The chunked transport: its ledger, and what it promises on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import Admin, Cluster
from streams import app as wiring
from streams import chunks, transport
from streams.chunks import Chunk
from streams.settings import Settings
from streams.transport import Ledger, drain
from tests.pipeline import fill

ONE = TP("topic", 1)
TWO = TP("topic", 2)


class FakeRecord:
    def __init__(self, offset: int) -> None:
        self.offset = offset


def chunk(first: int, last: int, size: int = 1) -> Chunk:
    return Chunk("topic", 1, [FakeRecord(offset) for offset in range(first, last + 1)], size, first, last, 0)


class TestLedger:
    def test_nothing_is_committed_before_it_is_acknowledged(self) -> None:
        ledger = Ledger(limit=100)
        ledger.take(ONE, chunk(0, 9))

        assert ledger.committable() == {}

    def test_an_acknowledged_chunk_is_committed_to_its_end(self) -> None:
        ledger = Ledger(limit=100)
        first = chunk(5, 9)
        ledger.take(ONE, first)
        first.acknowledge()

        assert ledger.committable() == {ONE: 10}

    def test_what_was_committed_is_not_committed_again(self) -> None:
        ledger = Ledger(limit=100)
        first = chunk(0, 9)
        ledger.take(ONE, first)
        first.acknowledge()
        ledger.committed(ledger.committable())

        assert ledger.committable() == {}

    def test_a_commit_that_failed_is_tried_again(self) -> None:
        ledger = Ledger(limit=100)
        first = chunk(0, 9)
        ledger.take(ONE, first)
        first.acknowledge()
        ledger.committable()

        assert ledger.committable() == {ONE: 10}

    def test_partitions_do_not_wait_for_each_other(self) -> None:
        ledger = Ledger(limit=100)
        slow, fast = chunk(0, 9), chunk(0, 3)
        ledger.take(ONE, slow)
        ledger.take(TWO, fast)
        fast.acknowledge()

        assert ledger.committable() == {TWO: 4}

    def test_after_a_rebalance_a_late_acknowledgement_means_nothing(self) -> None:
        ledger = Ledger(limit=100)
        late = chunk(0, 9)
        ledger.take(ONE, late)
        ledger.forget()
        late.acknowledge()

        assert ledger.committable() == {}

    def test_it_is_full_by_the_bytes_that_are_unacknowledged(self) -> None:
        ledger = Ledger(limit=100)
        first, second = chunk(0, 0, size=60), chunk(1, 1, size=40)
        ledger.take(ONE, first)
        assert not ledger.sated(["t"])
        ledger.take(ONE, second)
        assert ledger.sated(["t"])
        second.acknowledge()
        assert not ledger.sated(["t"])

    @given(st.permutations(range(8)), st.integers(0, 8))
    def test_in_whatever_order_chunks_are_acknowledged_only_a_whole_beginning_is_committed(
        self, order: list[int], acknowledged: int
    ) -> None:
        ledger = Ledger(limit=100)
        chunks = [chunk(10 * number, 10 * number + 9) for number in range(8)]
        for each in chunks:
            ledger.take(ONE, each)
        committed = 0
        for number in order[:acknowledged]:
            chunks[number].acknowledge()
            offsets = ledger.committable()
            ledger.committed(offsets)
            committed = offsets.get(ONE, committed)

        done = set(order[:acknowledged])
        beginning = next((number for number in range(8) if number not in done), 8)
        assert committed == 10 * beginning


Body = Callable[[Chunk], Awaitable[None]]


class Reader:
    """An agent that notes what it was given, and does with each chunk what a test wants."""

    def __init__(self, body: Body) -> None:
        self.seen: list[bytes] = []
        self.chunks: list[Chunk] = []
        self.in_rebalance: Callable[[], bool] = lambda: False
        self._body = body
        self._more = asyncio.Event()

    async def agent(self, stream: AsyncIterator[Chunk]) -> None:
        async for received in stream:
            self.chunks.append(received)
            self.seen += [record.value for record in received.records]
            self._more.set()
            await self._body(received)

    async def until(self, count: int) -> None:
        """Wait until so many records were seen."""
        while len(self.seen) < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 30)


async def acknowledge(received: Chunk) -> None:
    received.acknowledge()


async def keep(_: Chunk) -> None:
    """Neither acknowledge nor fail."""


class Broker:
    """A topic of a test's own on the real broker."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.packed = False
        self.servers = settings.kafka.servers
        self.topic = topic
        self.group = f"{topic}-group"

    async def create(self, partitions: int) -> None:
        async with Admin(Cluster(self.servers)) as admin:
            await admin.ensure_topics({self.topic: {}}, partitions, 1)

    async def fill(self, *values: bytes, partition: int = 0) -> None:
        await fill(self.servers, self.topic, *values, partition=partition)

    async def committed(self) -> dict[int, int]:
        async with Admin(Cluster(self.servers)) as admin:
            return {partition: offset for (_, partition), offset in (await admin.committed(self.group)).items()}

    @asynccontextmanager
    async def reading(self, body: Body, held_bytes: int = wiring.HELD_BYTES) -> AsyncIterator[Reader]:
        reader = Reader(body)
        app = wiring.faust_app(self.group, Cluster(self.servers), held_bytes=held_bytes, packed=self.packed)
        wiring.attach(app, self.topic, reader.agent)
        await app.start()
        begun = app.rebalancing_count
        reader.in_rebalance = lambda: bool(app.rebalancing_count > begun)
        try:
            yield reader
        finally:
            await drain(app, 0.2)
            await app.stop()


@pytest.fixture
async def broker(servers: Settings, source: str) -> Broker:
    broker = Broker(servers, source)
    await broker.create(partitions=1)
    return broker


def numbered(first: int, last: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, last + 1)]


class TestOnARealBroker:
    async def test_a_chunk_has_the_records_in_order_and_is_committed_when_acknowledged(self, broker: Broker) -> None:
        await broker.fill(*numbered(0, 99))
        async with broker.reading(acknowledge) as reader:
            await reader.until(100)

        assert reader.seen == numbered(0, 99)
        assert len(reader.chunks) < 100
        assert await broker.committed() == {0: 100}

    async def test_nothing_is_written_where_a_worker_runs(
        self, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        await broker.fill(b"1")
        async with broker.reading(acknowledge) as reader:
            await reader.until(1)

        assert not list(tmp_path.iterdir())  # noqa: ASYNC240  of an empty folder

    async def test_what_was_acknowledged_does_not_come_again(self, broker: Broker) -> None:
        await broker.fill(*numbered(0, 9))
        async with broker.reading(acknowledge) as reader:
            await reader.until(10)
        await broker.fill(*numbered(10, 19))
        async with broker.reading(acknowledge) as reader:
            await reader.until(10)

        assert reader.seen == numbered(10, 19)

    @pytest.mark.parametrize("packed", [False, True])
    async def test_what_was_not_acknowledged_comes_again(self, broker: Broker, *, packed: bool) -> None:
        broker.packed = packed
        await broker.fill(*numbered(0, 9))
        async with broker.reading(keep) as reader:
            await reader.until(10)
        assert await broker.committed() == {}
        async with broker.reading(acknowledge) as reader:
            await reader.until(10)

        assert reader.seen == numbered(0, 9)

    async def test_a_later_chunk_that_is_done_first_is_not_committed(self, broker: Broker) -> None:
        async def second_only(received: Chunk) -> None:
            if received.first > 0:
                received.acknowledge()

        await broker.fill(*numbered(0, 4))
        async with broker.reading(second_only) as reader:
            await reader.until(5)
            await broker.fill(*numbered(5, 9))
            await reader.until(10)

        assert await broker.committed() == {}

    async def test_all_partitions_are_read(self, servers: Settings, source: str) -> None:
        broker = Broker(servers, source)
        await broker.create(partitions=3)
        for partition in range(3):
            await broker.fill(*numbered(partition * 10, partition * 10 + 9), partition=partition)
        async with broker.reading(acknowledge) as reader:
            await reader.until(30)

        assert sorted(reader.seen) == sorted(numbered(0, 29))
        assert await broker.committed() == {0: 10, 1: 10, 2: 10}

    async def test_two_workers_share_the_partitions_and_nothing_is_lost(self, servers: Settings, source: str) -> None:
        broker = Broker(servers, source)
        await broker.create(partitions=4)
        async with broker.reading(acknowledge) as first:
            for partition in range(4):
                await broker.fill(*numbered(partition * 10, partition * 10 + 9), partition=partition)
            await first.until(40)
            async with broker.reading(acknowledge) as second:
                for partition in range(4):
                    await broker.fill(*numbered(100 + partition * 10, 109 + partition * 10), partition=partition)
                await second.until(1)
                while len({*first.seen, *second.seen}) < 80:
                    await asyncio.sleep(0.05)

        assert {*first.seen, *second.seen} == {*numbered(0, 39), *numbered(100, 139)}
        assert await broker.committed() == dict.fromkeys(range(4), 20)

    async def test_a_worker_that_joins_repeats_nothing_that_was_finished_in_time(
        self, servers: Settings, source: str
    ) -> None:
        broker = Broker(servers, source)
        await broker.create(partitions=2)
        readers: list[Reader] = []

        async def only_when_a_rebalance_has_begun(received: Chunk) -> None:
            while not readers[0].in_rebalance():
                await asyncio.sleep(0.01)
            received.acknowledge()

        async with broker.reading(only_when_a_rebalance_has_begun) as first:
            readers.append(first)
            await broker.fill(*numbered(0, 9), partition=0)
            await first.until(10)
            async with broker.reading(acknowledge) as second:
                await broker.fill(*numbered(10, 19), partition=0)
                await broker.fill(*numbered(20, 29), partition=1)
                while len(first.seen) + len(second.seen) < 30:
                    await asyncio.sleep(0.05)

        assert sorted(first.seen + second.seen) == sorted(numbered(0, 29))

    async def test_no_more_is_fetched_than_may_be_held(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chunks, "_CHUNK_BYTES", 1000)
        for _ in range(10):  # each is a batch of its own
            await broker.fill(*[b"x" * 100] * 10)
        async with broker.reading(keep, held_bytes=1000) as reader:
            await reader.until(10)
            await broker.fill(b"more")
            assert len(reader.seen) == 10
            for received in reader.chunks:
                received.acknowledge()
            await reader.until(20)

    async def test_a_source_whose_work_stands_still_leaves_room_for_the_others(
        self, servers: Settings, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chunks, "_CHUNK_BYTES", 1000)
        monkeypatch.setattr(transport, "_FETCH_BYTES", 1000)
        flood, calm = Broker(servers, f"{source}_flood.raw"), Broker(servers, f"{source}_calm.raw")
        for broker in (flood, calm):
            await broker.create(partitions=1)
        for _ in range(12):  # each is a batch of its own
            await flood.fill(*[b"x" * 100] * 10)
        app = wiring.faust_app(source, Cluster(flood.servers), held_bytes=10_000)
        stuck, working = Reader(keep), Reader(acknowledge)
        wiring.attach(app, flood.topic, stuck.agent)
        wiring.attach(app, calm.topic, working.agent)
        await app.start()
        try:
            await stuck.until(80)
            await calm.fill(b"more")
            await working.until(1)
        finally:
            await drain(app, 0.2)
            await app.stop()

        assert len(stuck.seen) == 80

    async def test_work_that_takes_longer_than_the_poll_interval_is_done_once(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with an outage of hours: the interval is set to 25 days. Here it is, and the work takes, far less."""
        monkeypatch.setattr(transport, "_POLL_INTERVAL_MS", 1000)

        async def slowly(received: Chunk) -> None:
            await asyncio.sleep(5)
            received.acknowledge()

        await broker.fill(*numbered(0, 9))
        async with broker.reading(slowly) as reader:
            await reader.until(10)
            while await broker.committed() != {0: 10}:
                await asyncio.sleep(0.1)

        assert set(reader.seen) == set(numbered(0, 9))

    @pytest.mark.parametrize("packed", [False, True])
    async def test_an_empty_record_is_a_record(self, broker: Broker, *, packed: bool) -> None:
        broker.packed = packed
        await broker.fill(b"")
        async with broker.reading(acknowledge) as reader:
            await reader.until(1)

        assert await broker.committed() == {0: 1}
