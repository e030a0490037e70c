"""Whether what is stored slows the pipeline down.

`python -m bench.growth` fills event tables with ever more rows, and measures the whole pipeline on each.
"""

import asyncio
from argparse import ArgumentParser
from collections.abc import Sequence
from statistics import median

from rich.console import Console

from bench.history import fill
from bench.stage import Run, Stage, stage
from bench.workload import A_BODY, feed, preload
from connectors.errors import Fatal
from schemas import topics
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)


async def measure(stage: Stage, source: str, contents: Sequence[bytes]) -> Run:
    """The whole pipeline, over what the source has.

    Raises:
        Fatal: an event is missing, or is there twice.
    """
    events = len(contents) * A_BODY
    stored, seen = await stage.rows(source), await stage.distinct(source)
    await preload(stage.producer, topics.raw(source), contents)

    async def is_done() -> bool:
        return await stage.rows(source) >= stored + events

    workers = {group(role): [stage.worker(source, role)] for role in ("normalize", "store")}
    run = await stage.measured(events, is_done, workers)
    if (distinct := await stage.distinct(source)) != seen + events:
        raise Fatal(f"{distinct} distinct rows, {seen + events} expected")
    return run


async def main(stored: Sequence[int], events: int, runs: int) -> None:
    """Measure, and print what was measured."""
    async with stage() as servers:
        rates = []
        for rows in stored:
            async with servers.source(f"growth{rows}") as source:
                await fill(servers.clickhouse, source, rows)
                found: list[Run] = []
                for number in range(runs):
                    contents = list(feed(events, seed=number + 1))
                    found.append(await measure(servers, source, contents))
                    CONSOLE.print(f"{rows + number * events:,} rows: {found[-1].line()}")
            rates.append(median(run.rate for run in found))
            CONSOLE.print(f"{rows:,} rows: median {rates[-1]:,.0f} events/s, {rates[-1] / rates[0]:.2f} of the first")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.growth", description="The pipeline over ever more rows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rows, arguments.events, arguments.runs))
