"""A pipeline under load that faults happen to, and the one accounting that all of them end in."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import orjson

from connectors.errors import GridstreamError
from connectors.kafka import Admin
from schemas.events import EVENTS
from streams.accounting import Status
from streams.groups import group
from streams.supervisor import Supervisor
from tests.faults.catalogue import Measured
from tests.faults.load import Identity, Load, Sent
from tests.faults.proxy import FaultProxy, passing
from tests.pipeline import Pipeline

KAFKA, CLICKHOUSE = "Apache Kafka", "ClickHouse"
PATIENCE_SECONDS = 120
"""For what takes seconds: machines of continuous integration are slow."""
_STEP_SECONDS = 0.05


class Rig:
    """What a fault is provoked with.

    Args:
        pipeline: that runs.
        servers: of its Kafka and its ClickHouse.
        clickhouse: what the store takes for ClickHouse.
        record: takes the figures.
    """

    def __init__(
        self, pipeline: Pipeline, servers: Supervisor, clickhouse: FaultProxy, record: Callable[[Measured], None]
    ) -> None:
        self.pipeline = pipeline
        self.servers = servers
        self.clickhouse = clickhouse
        self._record = record
        self._since = 0.0

    @asynccontextmanager
    async def load(
        self, rate: float = 300, sizes: tuple[int, int] = (1, 40), seconds: float = 0
    ) -> AsyncIterator[Load]:
        """Load, during which a fault is provoked, for so many seconds if it takes long; then the accounting."""
        async with self.posting(rate, sizes, seconds) as load:
            yield load
        await self.account(load)

    @asynccontextmanager
    async def posting(
        self, rate: float = 300, sizes: tuple[int, int] = (1, 40), seconds: float = 0, url: str = ""
    ) -> AsyncIterator[Load]:
        """Load without the accounting: something has to be repaired first, or it is not the only load."""
        load = Load(rate, sizes)
        async with asyncio.timeout(2 * seconds + PATIENCE_SECONDS), load.posting(url or self.pipeline.url):
            self.recovering()
            yield load

    def recovering(self) -> None:
        """From now on nothing is wrong any more, but that it was: the time of recovery begins."""
        self._since = time.monotonic()

    async def account(self, sent: Sent) -> None:
        """What was sent is exactly one row or dead letter, and `status` says so."""
        status = await self.settled()
        measured = Measured(
            len(sent.events - await self._rows()) + len(sent.scraps - await self._dead_letters()),
            await self._repeats(),
            time.monotonic() - self._since,
        )
        self._record(measured)
        assert (measured.lost, measured.twice) == (0, 0), status
        assert status.balanced, status

    async def settled(self) -> Status:
        """What `gridstream status` says, once nothing is in flight; patient with servers that are away."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(GridstreamError):
                    status = await self.pipeline.status()
                    if not status.sources[self.pipeline.source].in_flight:
                        return status
                await asyncio.sleep(_STEP_SECONDS)

    async def _rows(self) -> set[Identity]:
        rows = await self.pipeline.rows("activity", "event_id, toUnixTimestamp64Milli(timestamp) DIV 1000 AS time")
        return {(row["event_id"], row["time"]) for row in rows}

    async def _dead_letters(self) -> set[str]:
        return {orjson.loads(row["payload"]) for row in await self.pipeline.rows("dead_letters", "payload")}

    async def _repeats(self) -> int:
        """By how much the tables, and activity, say more than there is."""
        counts = "count() AS rows, uniqExact(event, event_id, timestamp) AS distinct"
        (activity,) = await self.pipeline.rows("activity", counts)
        stored = sum([await self.pipeline.count(event.table) for event in EVENTS])
        assert stored == activity["rows"]
        return int(activity["rows"] - activity["distinct"])

    def plan(self, process: str, *plans: str) -> None:
        """Have something happen when a process next reaches a point: `after-inserting.kill`."""
        for plan in plans:
            (self.pipeline.plans(process) / plan).touch()

    async def reached(self, process: str, point: str) -> None:
        """Wait until a process waits at a point, as was planned."""
        await self.until((self.pipeline.plans(process) / f"{point}.reached").exists)

    def go(self, process: str, point: str) -> None:
        """Let a process go on that waits at a point."""
        (self.pipeline.plans(process) / f"{point}.go").touch()

    async def dies(self, process: str, point: str) -> None:
        """Have a process die when it next reaches a point, and wait until it has."""
        before = self.pid(process)
        self.plan(process, f"{point}.kill")
        await self.gone(process, before)

    async def kill(self, process: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process of the pipeline, or a server, and wait until it is gone."""
        before = self.pid(process)
        os.kill(before, number)
        await self.gone(process, before)

    async def restart(self, process: str, sign: str) -> None:
        """Have a process of the pipeline end in good order, and wait until the next one says that it is there."""
        before = self.pipeline.log(process).count(sign)
        await self.kill(process, signal.SIGTERM)
        await self.until(lambda: self.pipeline.log(process).count(sign) > before)

    async def gone(self, process: str, pid: int) -> None:
        """Wait until a process is gone, as it was told to; its supervisor starts it again."""
        await self.until(lambda: (self.servers.pids | self.pipeline.supervisor.pids).get(process) != pid)
        self.recovering()

    @property
    def mortal(self) -> list[str]:
        """Every process that runs: of the pipeline, and the servers."""
        return [*self.pipeline.supervisor.pids, *self.servers.pids]

    def pid(self, process: str) -> int:
        """The id of a process of the pipeline, or a server, that runs."""
        return (self.servers.pids | self.pipeline.supervisor.pids)[process]

    @asynccontextmanager
    async def joined(self, role: str, number: int = 2) -> AsyncIterator[str]:
        """One more worker of a role meanwhile: its name."""
        program = self.pipeline.worker(role, number)
        await self.pipeline.supervisor.start(program)
        try:
            yield program.name
        finally:
            await self.pipeline.supervisor.stop(program.name)

    @asynccontextmanager
    async def without(self, role: str) -> AsyncIterator[None]:
        """No worker of a role meanwhile."""
        await self.pipeline.supervisor.stop(role)
        yield
        await self.pipeline.supervisor.start(self.pipeline.worker(role))
        self.recovering()

    async def says(self, process: str, text: str, times: int = 1) -> None:
        """Wait until a process has written a text into its log, from now on."""
        before = self.pipeline.log(process).count(text)
        await self.until(lambda: self.pipeline.log(process).count(text) - before >= times)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                await asyncio.sleep(_STEP_SECONDS)

    async def members(self, role: str, number: int) -> None:
        """Wait until a role has so many workers, in Kafka's eyes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(GridstreamError):
                    async with Admin(self.pipeline.servers) as admin:
                        if await admin.members(group(role)) == number:
                            return
                await asyncio.sleep(_STEP_SECONDS)

    async def restore(self) -> None:
        """Undo what a fault has left, for the next one."""
        self.clickhouse.behaviour = passing
        for process, pid in self.pipeline.supervisor.pids.items():
            os.kill(pid, signal.SIGCONT)
            for file in self.pipeline.plans(process).iterdir():
                file.unlink()
