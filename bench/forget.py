"""Forgetting people among many events: how long it takes, and how fresh the rows of new events are meanwhile.

`python -m bench.forget --events 10000000 --people 1000` fills the tables as bench.dashboard does, counts ahead, and
runs `gridstream forget` beside a pipeline into which single events are posted and whose rows are looked for.
"""

import asyncio
import os
import statistics
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

from rich.console import Console

from bench.history import fill
from bench.latency import Probes
from bench.stage import Stage, stage
from schemas.ddl import identifier
from streams.dashboard.counting import Counting
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_SOURCE = "sendgrid"
_PROBING_SECONDS = 20.0
_A_DELIVERY = 100
"""Events that are recorded as having come with one POST."""


async def _prepare(stage: Stage, events: int) -> None:
    await fill(stage.clickhouse, _SOURCE, events)
    deliveries = f"{identifier(_SOURCE)}.deliveries_rows"
    await stage.clickhouse.query(
        f"INSERT INTO {deliveries} (partition, offset, received_at, events, identities)\n"
        f"SELECT 0, number, now64(3), {_A_DELIVERY}, arrayMap(each -> sipHash64(number, each), range({_A_DELIVERY}))\n"
        f"FROM numbers({events // _A_DELIVERY})"
    )
    counting = Counting(_SOURCE, stage.clickhouse)
    while counting.progress < 1:
        await counting.step()


async def _people(stage: Stage, count: int) -> list[str]:
    sql = f"SELECT DISTINCT email FROM {identifier(_SOURCE)}.processed_rows ORDER BY sipHash64(email) LIMIT {count:d}"
    return [email for (email,) in (await stage.clickhouse.query(sql)).result_rows]


async def _forget(stage: Stage, people: list[str]) -> str:
    """Forget them; what the command printed."""
    file = Path(stage.folder) / "people"
    file.write_text("\n".join(people))
    command = [sys.executable, "-m", "streams.cli", "forget", "--file", str(file)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **stage.environment(_SOURCE)}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


def _line(when: str, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    p50, p99 = cuts[49], cuts[98]
    return f"freshness {when}: p50 {p50:.2f} s, p99 {p99:.2f} s, longest {max(seconds):.2f} s ({len(seconds)} probes)"


async def measure(events: int, people: int) -> None:
    """Print what was measured."""
    async with stage() as servers, servers.source(_SOURCE):
        await _prepare(servers, events)
        names = await _people(servers, people)
        base, ingress = servers.ingress(_SOURCE)
        workers = [servers.worker(_SOURCE, role) for role in ("normalize", "store")]
        async with servers.running(ingress, *workers):
            await servers.have_members(group("normalize"), group("store"))
            probes = Probes(servers, _SOURCE, f"{base}/sendgrid/{_SOURCE}")
            looking = asyncio.create_task(probes.look(for_good=True))
            await probes.post(_PROBING_SECONDS)
            before = len(probes.seconds)
            began = time.perf_counter()
            forgetting = asyncio.create_task(_forget(servers, names))
            while not forgetting.done():
                await probes.post(1.0)
            took = time.perf_counter() - began
            during = len(probes.seconds)
            looking.cancel()
            CONSOLE.print(forgetting.result())
            CONSOLE.print(f"{people:,} people among {events:,} events: {took:.0f} s")
            CONSOLE.print(_line("before", probes.seconds[:before]))
            CONSOLE.print(_line("meanwhile", probes.seconds[before:during]))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.forget", description="Forgetting people among many events.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--people", type=int, default=1_000)
    arguments = parser.parse_args()
    os.environ["GRIDSTREAM_PRIVACY__KEY"] = "the key of a bench"
    asyncio.run(measure(arguments.events, arguments.people))
