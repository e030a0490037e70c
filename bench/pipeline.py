"""How fast the pipeline is: from a topic of raw bodies to rows that a reader counts.

`python -m bench.pipeline` runs it on Kafka and the engine, all on this machine. `--peers quixstreams,bento` compares it
with others, in turns.
"""

import asyncio
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence

from rich.console import Console

from bench.peers.comparison import compare
from bench.peers.contenders import PEERS
from bench.stage import Run, Stage, stage
from bench.workload import feed, preload
from schemas import topics
from streams import logs
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)


async def whole(stage: Stage, source: str, contents: Sequence[bytes], events: int, normalizers: int = 1) -> Run:
    """Raw topic to tables."""
    async with stage.source(source):
        await preload(stage.producer, topics.raw(source), contents)

        async def is_done() -> bool:
            return await stage.rows(source) >= events

        run = await stage.measured(
            events,
            is_done,
            {
                group("normalize"): [stage.worker(source, "normalize", number + 1) for number in range(normalizers)],
                group("store"): [stage.worker(source, "store")],
            },
        )
        assert await stage.distinct(source) == events
    return run


async def halves(stage: Stage, source: str, contents: Sequence[bytes], events: int) -> tuple[Run, Run]:
    """Raw topic to event topics, and these to tables."""
    async with stage.source(source):
        await preload(stage.producer, topics.raw(source), contents)

        async def is_published() -> bool:
            return await stage.published(source) >= events

        async def is_stored() -> bool:
            return await stage.rows(source) >= events

        first = await stage.measured(events, is_published, {group("normalize"): [stage.worker(source, "normalize")]})
        second = await stage.measured(events, is_stored, {group("store"): [stage.worker(source, "store")]})
        assert await stage.distinct(source) == events
    return first, second


async def main(events: int, runs: int, peers: Sequence[str]) -> None:
    """Measure, and print what was measured; with peers, what they and gridstream did in turns."""
    logs.configure("bench", to_terminal=True)
    contents = list(feed(events))
    CONSOLE.print(f"{events:,} events of {sum(map(len, contents)) // events} B")
    async with stage() as servers:
        if peers:
            await compare(servers, peers, contents, runs)
            return
        for number in range(runs):
            CONSOLE.print("whole    ", (await whole(servers, f"whole{number}", contents, events)).line())
            first, second = await halves(servers, f"halves{number}", contents, events)
            CONSOLE.print("normalize", first.line())
            CONSOLE.print("store    ", second.line())


def peer_names(text: str) -> list[str]:
    """Names of peers, with commas between them.

    Raises:
        ArgumentTypeError: one is unknown.
    """
    names = text.split(",")
    if unknown := set(names) - set(PEERS):
        raise ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.pipeline", description="How fast the pipeline is.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=peer_names, default=[], help=f"of {', '.join(PEERS)}")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.runs, arguments.peers))
