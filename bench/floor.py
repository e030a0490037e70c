"""The least that this work costs in Python: bodies in, rows in ClickHouse out, in one process, without Kafka.

Run it with `python -m bench.floor`. This process and the engine share one core, and nothing else is started: what the
pipeline costs above it is Kafka, delivery and exactness.
"""

import asyncio
import os
import tempfile
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench.processes import cost
from bench.workload import feed
from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER, identifier
from schemas.normalize import Normalizer
from schemas.tables import EVENT_TABLES
from streams import embedded, schema
from streams.datafolder import DataFolder
from streams.pieces import pieces
from streams.settings import Settings
from streams.supervisor import Supervisor

_ROWS = 100_000
"""Of an insert; the last of each table has what is left."""
_PIECE_ROWS = 400
"""Of what is sent at once: as much as the processor's cache holds."""

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)


class Floor(NamedTuple):
    """CPU seconds, and how long it took.

    Attributes:
        normalizing: parse, rename, write as lines,
        inserting: send them; both in this process.
        engine: of ClickHouse, merges meanwhile included.
        seconds: from the first body to the last row.
    """

    normalizing: float
    inserting: float
    engine: float
    seconds: float

    def line(self, events: int) -> str:
        """For people."""
        parts = [seconds / events * 1e6 for seconds in (self.normalizing, self.inserting, self.engine)]
        named = "normalizing {:.1f}, inserting {:.1f}, ClickHouse {:.1f}".format(*parts)
        return f"{events / self.seconds:,.0f} events/s on one core, {sum(parts):.1f} µs CPU an event ({named})"


async def floor(clickhouse: ClickHouse, engine: int, source: str, contents: Sequence[bytes], events: int) -> Floor:
    """Normalize bodies and insert the rows.

    Args:
        clickhouse: connected, with the right to write.
        engine: its process.
        source: the name of a database, which is made and dropped.
        contents: the bodies,
        events: and how many events are in them.
    """
    await schema.apply({source: FOREVER}, clickhouse)
    waiting: dict[str, list[bytes]] = defaultdict(list)
    inserting = 0.0

    async def insert(name: str) -> None:
        nonlocal inserting
        began = time.process_time()
        table = f"{identifier(source)}.{identifier(EVENT_TABLES[name].rows)}"
        await clickhouse.insert(table, _pieces(waiting.pop(name)))
        inserting += time.process_time() - began

    normalizer = Normalizer()
    received_at = int(time.time() * 1000)
    engine_before, before, began = cost(engine).seconds, time.process_time(), time.perf_counter()
    for content in contents:
        for event in normalizer(content, received_at).events:
            lines = waiting[event.type.name]
            lines.append(event.line)
            if len(lines) == _ROWS:
                await insert(event.type.name)
    for name in list(waiting):
        await insert(name)
    seconds, spent = time.perf_counter() - began, time.process_time() - before
    result = Floor(spent - inserting, inserting, cost(engine).seconds - engine_before, seconds)
    rows = (await clickhouse.query(f"SELECT count() FROM {identifier(source)}.activity")).result_rows[0][0]
    assert rows == events, f"{rows} distinct rows of {events} events"
    await clickhouse.query(f"DROP DATABASE {identifier(source)} SYNC")
    return result


def _pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    for some in pieces(lines, _PIECE_ROWS):
        yield b"\n".join(some) + b"\n"


@asynccontextmanager
async def running() -> AsyncIterator[tuple[ClickHouse, int]]:
    """An engine that is gone afterwards: a connection, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        data = DataFolder(Path(folder) / "data")
        data.prepare()
        settings = Settings(clickhouse={"embedded_port": embedded.free_port()})
        async with Supervisor() as supervisor:
            await supervisor.start(embedded.engine(settings, data))
            async with ClickHouse(data.clickhouse_url(settings)) as clickhouse:
                [engine] = supervisor.pids.values()
                yield clickhouse, engine


async def main(events: int, runs: int) -> None:
    """Measure, and print what was measured."""
    contents = list(feed(events))
    CONSOLE.print(f"{events:,} events of {sum(map(len, contents)) // events} B")
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # children have it from their parent
    async with running() as (clickhouse, engine):
        for number in range(runs):
            CONSOLE.print((await floor(clickhouse, engine, f"floor{number}", contents, events)).line(events))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.floor", description="The least that this work costs in Python.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.runs))
