"""Gathering chunks until there are enough of them, or until the first has waited long enough."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass
from math import inf

from streams.chunks import Chunk

_TOGETHER = 0.25
"""Of the time between batches: how long what is late may wait for what comes with it."""


@dataclass
class BatchPolicy:
    """When what was gathered goes on. It may change while batches are made.

    Attributes:
        rows: at so many records,
        seconds: or so long after the batch before it. Where that is over, soon after the first of them, so that what
            comes together stays together.
        size: or at so many bytes,
        quiet: or when nothing more has come for so many seconds.
    """

    rows: int
    seconds: float
    size: int = sys.maxsize
    quiet: float = inf


def _at_once() -> float:
    return 0.0


async def batches(
    chunks: AsyncIterable[Chunk], policy: BatchPolicy, turn: Callable[[], float] = _at_once
) -> AsyncGenerator[list[Chunk], None]:
    """Chunks in batches, none of them empty. While a batch is being worked on, nothing more is taken.

    Args:
        chunks: that come.
        policy: when they go on.
        turn: asked once when a batch's time is over: the seconds until it may go on. What comes meanwhile belongs to
            it.
    """
    clock = asyncio.get_running_loop().time
    iterator = aiter(chunks)
    coming: asyncio.Future[Chunk | None] | None = None
    due = clock()
    try:
        while True:
            batch: list[Chunk] = []
            rows = size = 0
            deadline = 0.0
            has_turn = False
            while rows < policy.rows and size < policy.size:
                coming = coming or asyncio.ensure_future(anext(iterator, None))
                patience = min(max(0.0, deadline - clock()), policy.quiet) if batch else None
                await asyncio.wait({coming}, timeout=patience)
                if coming.done():
                    chunk, coming = coming.result(), None
                    if chunk is None:
                        break
                    if not batch:
                        deadline = max(due, clock() + policy.seconds * _TOGETHER)
                    batch.append(chunk)
                    rows += len(chunk.records)
                    size += chunk.size
                elif has_turn or clock() < deadline:  # its turn has come, or nothing else comes
                    break
                else:
                    has_turn = True
                    deadline = clock() + turn()
            if not batch:
                return
            due = clock() + policy.seconds
            yield batch
    finally:
        if coming:
            coming.cancel()
