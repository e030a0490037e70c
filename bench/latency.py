"""How soon after its POST an event can be queried, beside a load.

`python -m bench.latency --rates 10000 20000` puts a feed of so many events a second into the raw topic, and meanwhile
posts single events to the ingress and looks for their rows.
"""

import asyncio
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Sequence

import aiohttp
import orjson
from rich.console import Console

from bench.stage import Stage, stage
from bench.workload import A_BODY, feed, preload
from schemas import topics
from schemas.ddl import identifier
from schemas.events import EVENTS
from schemas.tables import EVENT_TABLES
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_TICK_SECONDS = 0.1
_WARM_SECONDS = 15
"""For Kafka's program to be compiled, too, as it is after the first minute of its life."""
_LOOK_SECONDS = 0.1
_LOST_SECONDS = 60
_KINDS = ("open", "group_unsubscribe")
"""One of a large and one of a small table."""


async def load(stage: Stage, source: str, contents: Sequence[bytes], rate: int, seconds: float) -> None:
    """Put bodies into the raw topic, so many events a second."""
    began = time.perf_counter()
    each = max(1, round(rate * _TICK_SECONDS / A_BODY))
    for tick in range(round(seconds / (each * A_BODY / rate))):
        await asyncio.sleep(max(0.0, began + tick * each * A_BODY / rate - time.perf_counter()))
        first = tick * each % (len(contents) - each)
        await preload(stage.producer, topics.raw(source), contents[first : first + each])


class Probes:
    """Single events that are posted, and looked for."""

    def __init__(self, stage: Stage, source: str, url: str) -> None:
        self._stage = stage
        self._source = source
        self._url = url
        self._sent: dict[str, float] = {}
        self._number = 0
        self.seconds: list[float] = []

    async def post(self, seconds: float) -> None:
        """One every tick."""
        began = time.perf_counter()
        async with aiohttp.ClientSession() as session:
            while time.perf_counter() < began + seconds:
                self._number += 1
                name = f"probe-{self._number}"
                event = {"event": _KINDS[self._number % 2], "sg_event_id": name, "timestamp": int(time.time())}
                self._sent[name] = time.perf_counter()
                async with session.post(self._url, data=orjson.dumps([event])) as answer:
                    answer.raise_for_status()
                await asyncio.sleep(_TICK_SECONDS)

    async def look(self, *, for_good: bool = False) -> None:
        """Until all are found, or for good."""
        since = int(time.time()) - 1
        names = [identifier(EVENT_TABLES[event.name].rows) for event in EVENTS if event.name in _KINDS]
        sql = " UNION ALL ".join(
            f"SELECT event_id FROM {identifier(self._source)}.{name} "
            f"WHERE timestamp >= fromUnixTimestamp({since}) AND startsWith(event_id, 'probe-')"
            for name in names
        )
        async with asyncio.timeout(None if for_good else _LOST_SECONDS):
            while for_good or len(self.seconds) < self._number or not self._number:
                found = (await self._stage.clickhouse.query(sql)).result_rows
                now = time.perf_counter()
                self.seconds += [now - self._sent.pop(name) for (name,) in found if name in self._sent]
                await asyncio.sleep(_LOOK_SECONDS)


async def measured(stage: Stage, source: str, contents: Sequence[bytes], rate: int, seconds: int) -> str:
    """Probes beside a load."""
    base, ingress = stage.ingress(source)
    async with (
        stage.source(source),
        stage.running(ingress, stage.worker(source, "normalize"), stage.worker(source, "store")),
    ):
        await stage.have_members(group("normalize"), group("store"))
        loading = asyncio.create_task(load(stage, source, contents, rate, _WARM_SECONDS + seconds))
        await asyncio.sleep(_WARM_SECONDS)
        before = stage.costs()
        probes = Probes(stage, source, f"{base}/sendgrid/{source}")
        looking = asyncio.create_task(probes.look())
        await probes.post(seconds)
        used = stage.run_since(before, rate * seconds, seconds)
        await looking
        await loading
    cuts = statistics.quantiles(probes.seconds, n=100)
    return (
        f"{rate:,} events/s: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, longest {max(probes.seconds):.2f} s "
        f"({len(probes.seconds)} probes); {used.line()}"
    )


async def main(rates: Sequence[int], seconds: int) -> None:
    """Measure, and print what was measured."""
    contents = list(feed(200_000))
    async with stage() as servers:
        for rate in rates:
            CONSOLE.print(await measured(servers, f"latency{rate}", contents, rate, seconds))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.latency", description="How soon an event can be queried.")
    parser.add_argument("--rates", type=int, nargs="+", default=[15_000, 30_000, 45_000])
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rates, arguments.seconds))
