import asyncio
from collections.abc import AsyncIterator

import pytest

from streams.batching import BatchPolicy, batches
from streams.chunks import Chunk


class Clock:
    """The event loop's, which stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    async def brings(self, moment: float, coming: asyncio.Future[list[Chunk]]) -> bool:
        """Whether a batch is there by then."""
        self.now = moment
        for _ in range(20):
            await asyncio.sleep(0)
        return coming.done()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    return clock


def chunk(records: int) -> Chunk:
    return Chunk("topic", 0, [object()] * records, records, 0, records - 1, 0)


async def all_of(*sizes: int) -> AsyncIterator[Chunk]:
    for size in sizes:
        yield chunk(size)


async def gathered(policy: BatchPolicy, *sizes: int) -> list[list[int]]:
    return [[len(chunk.records) for chunk in batch] async for batch in batches(all_of(*sizes), policy)]


async def test_a_batch_ends_when_there_is_enough() -> None:
    assert await gathered(BatchPolicy(rows=10, seconds=60), 4, 5, 3, 20, 1) == [[4, 5, 3], [20], [1]]


async def test_a_batch_ends_when_it_has_enough_bytes() -> None:
    """A chunk of these tests has as many bytes as records."""
    policy = BatchPolicy(rows=100, seconds=60, size=10)
    assert await gathered(policy, 4, 5, 3, 20, 1) == [[4, 5, 3], [20], [1]]


async def test_nothing_makes_no_batch() -> None:
    assert await gathered(BatchPolicy(rows=10, seconds=60)) == []


@pytest.mark.parametrize(
    "policy",
    [BatchPolicy(rows=100, seconds=0.01), BatchPolicy(rows=100, seconds=3600, quiet=0.01)],
    ids=["its first chunk has waited long enough", "nothing more comes"],
)
async def test_a_batch_that_has_not_enough_ends_when(policy: BatchPolicy) -> None:
    never = asyncio.Event()

    async def two_and_then_silence() -> AsyncIterator[Chunk]:
        yield chunk(1)
        yield chunk(2)
        await never.wait()

    stream = batches(two_and_then_silence(), policy)

    async with asyncio.timeout(60):
        assert sum([len(batch) for batch in [await anext(stream)]]) >= 1
    await stream.aclose()


async def test_batches_come_in_a_beat_and_late_ones_soon(clock: Clock) -> None:
    silence = asyncio.Event()

    async def each_by_itself() -> AsyncIterator[Chunk]:
        for size in (1, 2, 3):
            yield chunk(size)
            await silence.wait()
            silence.clear()

    stream = batches(each_by_itself(), BatchPolicy(rows=100, seconds=100))
    coming = asyncio.ensure_future(anext(stream))
    assert not await clock.brings(1_000, coming)
    assert not await clock.brings(1_024, coming)
    assert await clock.brings(1_025, coming)

    silence.set()
    coming = asyncio.ensure_future(anext(stream))
    assert not await clock.brings(1_090, coming)
    assert not await clock.brings(1_124, coming)
    assert await clock.brings(1_125, coming)

    silence.set()
    coming = asyncio.ensure_future(anext(stream))
    assert not await clock.brings(2_000, coming)
    assert not await clock.brings(2_024, coming)
    assert await clock.brings(2_025, coming)
    await stream.aclose()


async def test_a_batch_that_is_due_waits_for_its_turn_and_takes_what_comes_meanwhile(clock: Clock) -> None:
    more, asked = asyncio.Event(), []

    async def two() -> AsyncIterator[Chunk]:
        yield chunk(1)
        await more.wait()
        yield chunk(2)
        await asyncio.Event().wait()

    def turn() -> float:
        asked.append(clock.now)
        return 50.0

    stream = batches(two(), BatchPolicy(rows=100, seconds=100), turn)
    coming = asyncio.ensure_future(anext(stream))
    assert not await clock.brings(1_000, coming)
    assert not await clock.brings(1_025, coming)
    more.set()
    assert not await clock.brings(1_074, coming)
    assert await clock.brings(1_075, coming)

    assert [len(each.records) for each in await coming] == [1, 2]
    assert asked == [1_025]
    await stream.aclose()


@pytest.mark.parametrize(
    "policy",
    [BatchPolicy(rows=1, seconds=3600), BatchPolicy(rows=100, seconds=3600, quiet=0.01)],
    ids=["full", "quiet"],
)
async def test_only_a_batch_that_is_due_asks_for_its_turn(policy: BatchPolicy) -> None:
    async def one_and_then_silence() -> AsyncIterator[Chunk]:
        yield chunk(1)
        await asyncio.Event().wait()

    def turn() -> float:
        raise AssertionError

    stream = batches(one_and_then_silence(), policy, turn)

    async with asyncio.timeout(60):
        assert len(await anext(stream)) == 1
    await stream.aclose()


async def test_what_arrives_while_a_batch_is_worked_on_is_not_lost() -> None:
    stream = batches(all_of(*[1] * 50), BatchPolicy(rows=3, seconds=0))
    seen = 0
    async for batch in stream:
        seen += len(batch)
        await asyncio.sleep(0)

    assert seen == 50
