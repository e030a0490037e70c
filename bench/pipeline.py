"""How fast the pipeline is: from a topic of raw bodies to rows that a reader counts.

`python -m bench.pipeline` runs it on Kafka and the engine, all on this machine. `--peers quixstreams,bento` compares it
with others, in turns.
"""

import asyncio
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence

from rich.console import Console

from bench.peers.comparison import compare, show
from bench.peers.contenders import GRIDSTREAM, PARTS, PEERS
from bench.stage import stage
from bench.workload import feed

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)


async def main(events: int, runs: int, peers: Sequence[str]) -> None:
    """Measure, and print what was measured; with peers, what they and gridstream did in turns."""
    contents = list(feed(events))
    CONSOLE.print(f"{events:,} events of {sum(map(len, contents)) // events} B")
    async with stage() as servers:
        if peers:
            await compare(servers, peers, contents, runs)
            return
        for _ in range(runs):
            for part in PARTS:
                await show(servers, GRIDSTREAM, part, contents)


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
