"""What other sources notice of one: of its flood, and of a reload that adds one.

`python -m bench.fairness` has a pipeline run, fills the raw topic of one source with a backlog, and until that is
worked off posts single events to others and looks for their rows. Then, with the backlog gone, it does the same during
a reload.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import orjson
from rich.console import Console

from bench.stage import Stage, stage
from bench.workload import feed, preload
from schemas import topics
from schemas.ddl import identifier
from streams import embedded
from streams.supervisor import Program

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_FLOOD = "flood"
_GRIDSTREAM = (sys.executable, "-m", "streams.cli")
_TICK_SECONDS = 0.2
_LOST_SECONDS = 120


class Probes:
    """Single events that are posted to some sources in turn, and looked for."""

    def __init__(self, stage: Stage, base: str, sources: Sequence[str]) -> None:
        self._stage = stage
        self._base = base
        self._sources = sources
        self._sent: dict[str, float] = {}
        self.seconds: list[float] = []
        self.refused = 0

    async def post(self, enough: asyncio.Event) -> None:
        """One every tick, until it is enough."""
        number = 0
        async with aiohttp.ClientSession() as session:
            while not enough.is_set():
                number += 1
                name = f"probe-{number}"
                event = {"event": "open", "sg_event_id": name, "timestamp": int(time.time())}
                url = f"{self._base}/sendgrid/{self._sources[number % len(self._sources)]}"
                sent = time.perf_counter()
                async with session.post(url, data=orjson.dumps([event])) as answer:
                    if answer.ok:
                        self._sent[name] = sent
                    else:
                        self.refused += 1
                await asyncio.sleep(_TICK_SECONDS)

    async def look(self, posting: asyncio.Future[None]) -> None:
        """Until all are found."""
        since = int(time.time()) - 1
        sql = " UNION ALL ".join(
            f"SELECT DISTINCT event_id FROM {identifier(source)}.open_rows "
            f"WHERE timestamp >= fromUnixTimestamp({since}) AND startsWith(event_id, 'probe-')"
            for source in self._sources
        )
        async with asyncio.timeout(_LOST_SECONDS):
            while self._sent or not posting.done():
                found = (await self._stage.clickhouse.query(sql)).result_rows
                now = time.perf_counter()
                self.seconds += [now - self._sent.pop(name) for (name,) in found if name in self._sent]
                await asyncio.sleep(_TICK_SECONDS)

    def line(self) -> str:
        """For people."""
        cuts = statistics.quantiles(self.seconds, n=100)
        return (
            f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, longest {max(self.seconds):.2f} s "
            f"({len(self.seconds)} probes, {self.refused} refused)"
        )


@asynccontextmanager
async def probing(stage: Stage, base: str, sources: Sequence[str]) -> AsyncIterator[Probes]:
    """Post and look meanwhile."""
    probes, enough = Probes(stage, base, sources), asyncio.Event()
    posting = asyncio.ensure_future(probes.post(enough))
    looking = asyncio.ensure_future(probes.look(posting))
    yield probes
    enough.set()
    await posting
    await looking


class Installation:
    """A `gridstream up` on the stage's servers.

    Args:
        stage: runs it.
        folder: of its settings and data.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.base = f"http://127.0.0.1:{embedded.free_port()}"
        self._config = folder / "gridstream.toml"
        self._arguments = ("--config", str(self._config), "--data", str(folder / "data"))
        self._environment = {name: value for name, value in stage.environment("").items() if "SOURCES" not in name}
        self._environment |= {
            "GRIDSTREAM_INGRESS__PORT": self.base.rpartition(":")[2],
            "GRIDSTREAM_DASHBOARD__PORT": str(embedded.free_port()),
        }
        self._log = folder / "up.log"

    def configure(self, *sources: str) -> None:
        """Have it run with these."""
        self._config.write_text("".join(f'[[sources]]\nname = "{source}"\n' for source in sources))

    def program(self) -> Program:
        """What runs it."""
        ready = partial(embedded.answers, f"{self.base}/ready")
        return Program("gridstream up", [*_GRIDSTREAM, "up", *self._arguments], ready, self._environment, log=self._log)

    async def reload(self) -> None:
        """Have it read its settings again, and wait until it runs with them."""
        process = await asyncio.create_subprocess_exec(*_GRIDSTREAM, "reload", *self._arguments)
        if await process.wait():
            raise SystemExit("not reloaded")


async def measured(stage: Stage, others: int, events: int, folder: Path) -> None:
    """A flood, then a reload."""
    names = [f"calm{number}" for number in range(others)]
    installation = Installation(stage, folder)
    installation.configure(_FLOOD, *names)
    async with AsyncExitStack() as stack:
        for name in (_FLOOD, *names):
            await stack.enter_async_context(stage.source(name))
        contents = list(feed(events))
        async with stage.running(installation.program()):
            async with probing(stage, installation.base, names) as probes:
                while len(probes.seconds) < others:  # noqa: ASYNC110  all roles are at work
                    await asyncio.sleep(_TICK_SECONDS)
            async with probing(stage, installation.base, names) as probes:
                began = time.perf_counter()
                await preload(stage.producer, topics.raw(_FLOOD), contents)
                while await stage.rows(_FLOOD) < events:  # noqa: ASYNC110  other processes
                    await asyncio.sleep(_TICK_SECONDS)
                rate = events / (time.perf_counter() - began)
            CONSOLE.print(f"{others} sources beside a flood worked off at {rate:,.0f} events/s: {probes.line()}")
            async with probing(stage, installation.base, names) as probes:
                installation.configure(_FLOOD, *names, "added")
                began = time.perf_counter()
                await installation.reload()
                seconds = time.perf_counter() - began
            CONSOLE.print(f"{others} sources during a reload, which took {seconds:.1f} s: {probes.line()}")


async def main(others: int, events: int) -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        async with stage() as servers:
            await measured(servers, others, events, Path(folder))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.fairness", description="What other sources notice of one.")
    parser.add_argument("--others", type=int, default=9)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.others, arguments.events))
