import asyncio
from collections.abc import AsyncIterator

from streams.batching import BatchPolicy, batches
from streams.transport import Chunk


def chunk(records: int) -> Chunk:
    return Chunk("topic", 0, [object()] * records, records)


async def all_of(*sizes: int) -> AsyncIterator[Chunk]:
    for size in sizes:
        yield chunk(size)


async def gathered(policy: BatchPolicy, *sizes: int) -> list[list[int]]:
    return [[len(chunk.records) for chunk in batch] async for batch in batches(all_of(*sizes), policy)]


async def test_a_batch_ends_when_there_is_enough() -> None:
    assert await gathered(BatchPolicy(rows=10, seconds=60), 4, 5, 3, 20, 1) == [[4, 5, 3], [20], [1]]


async def test_nothing_makes_no_batch() -> None:
    assert await gathered(BatchPolicy(rows=10, seconds=60)) == []


async def test_a_batch_ends_when_its_first_chunk_has_waited_long_enough() -> None:
    never = asyncio.Event()

    async def two_and_then_silence() -> AsyncIterator[Chunk]:
        yield chunk(1)
        yield chunk(2)
        await never.wait()

    stream = batches(two_and_then_silence(), BatchPolicy(rows=100, seconds=0.01))

    assert sum([len(batch) for batch in [await anext(stream)]]) >= 1
    await stream.aclose()


async def test_what_arrives_while_a_batch_is_worked_on_is_not_lost() -> None:
    stream = batches(all_of(*[1] * 50), BatchPolicy(rows=3, seconds=0))
    seen = 0
    async for batch in stream:
        seen += len(batch)
        await asyncio.sleep(0)

    assert seen == 50
