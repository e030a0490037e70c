"""A long backlog: whether the pipeline keeps its rate to the end, and its memory flat.

`python -m bench.backlog` preloads ten million events and prints, for each tenth of them, rate and memory.
"""

import asyncio
import time
from argparse import ArgumentParser

from rich.console import Console

from bench.stage import Stage, stage
from bench.workload import A_BODY, feed, preload
from connectors.errors import Fatal
from schemas import topics
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_PARTS = 10
_ROLES = ("normalize", "store")


async def fill(stage: Stage, source: str, events: int) -> None:
    """Put events into the raw topic, a part at a time: all together they may be more than the memory."""
    for part in range(_PARTS):
        await preload(stage.producer, topics.raw(source), list(feed(events // _PARTS, seed=part + 1)))


class Watch:
    """Says whenever another tenth is stored, and whether all are."""

    def __init__(self, stage: Stage, source: str, events: int) -> None:
        self._stage = stage
        self._source = source
        self._events = events
        self._said = 0
        self._at = time.perf_counter()

    async def is_done(self) -> bool:
        """Whether all are stored."""
        rows = await self._stage.rows(self._source)
        if rows < (self._said * _PARTS // self._events + 1) * self._events // _PARTS:
            return False
        now = time.perf_counter()
        memory = ", ".join(f"{name} {size} MB" for name, size in self._stage.memory().items())
        CONSOLE.print(f"{rows:>12,} rows, {(rows - self._said) / (now - self._at):,.0f} events/s; {memory}")
        self._said, self._at = rows, now
        return rows >= self._events


async def main(events: int) -> None:
    """Measure, and print what was measured.

    Raises:
        Fatal: an event is missing, or is there twice.
    """
    async with stage() as servers, servers.source("backlog") as source:
        await fill(servers, source, events)
        workers = {group(role): [servers.worker(source, role)] for role in _ROLES}
        run = await servers.measured(events, Watch(servers, source, events).is_done, workers)
        CONSOLE.print(f"all: {run.line()}")
        if (distinct := await servers.distinct(source)) != events:
            raise Fatal(f"{distinct} distinct rows of {events} events")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.backlog", description="A long backlog.")
    parser.add_argument("--events", type=int, default=10_000_000, help=f"a multiple of {_PARTS * A_BODY}")
    asyncio.run(main(parser.parse_args().events))
