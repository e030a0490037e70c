"""The machine that a bench of the pipeline runs on: Kafka, the engine, contenders as processes, and what they cost."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient

from bench.processes import Cost, cost, held_mb
from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal, Retry
from connectors.kafka import Admin, Producer
from schemas import topics
from schemas.ddl import FOREVER, identifier
from schemas.tables import EVENT_TABLES
from streams import embedded, logs, schema
from streams.datafolder import DataFolder
from streams.sections import Source
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.servers import embedded_servers

_LOOK_SECONDS = 0.2
_JOINED_SECONDS = 0.02
"""Whoever has joined begins at once: what is done until that is seen is not measured."""
_PATIENCE_SECONDS = 600
_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured of one run.

    Attributes:
        events: that went through,
        seconds: and how long that took.
        costs: by the name of a process.
    """

    events: int
    seconds: float
    costs: Mapping[str, Cost]

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu(self) -> float:
        """CPU µs per event, of all processes."""
        return sum(cost.seconds for cost in self.costs.values()) / self.events * 1e6

    def line(self) -> str:
        """For people."""
        parts = ", ".join(
            f"{name} {cost.seconds / self.events * 1e6:.1f} µs {cost.peak_mb} MB" for name, cost in self.costs.items()
        )
        return f"{self.rate:,.0f} events/s, {self.cpu:.1f} µs CPU an event ({parts})"


class Stage:
    """Servers that run, and what a contender needs of them.

    Attributes:
        servers: of Kafka.
        clickhouse: connected, with the right to write.
        clickhouse_url: for a contender.
        folder: for logs.
        producer: started.
    """

    def __init__(
        self,
        settings: Settings,
        data: DataFolder,
        supervisor: Supervisor,
        clickhouse: ClickHouse,
        producer: Producer,
        admin: Admin,
    ) -> None:
        self.servers = settings.kafka.servers
        self.clickhouse = clickhouse
        self.clickhouse_url = data.clickhouse_url(settings)
        self.folder = data.path
        self.producer = producer
        self._settings = settings
        self._supervisor = supervisor
        self._admin = admin

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator[str]:
        """A source of its own: topics and database, which are gone afterwards."""
        settings = self._settings.model_copy(update={"sources": (Source(name=name),)})
        await schema.ensure_topics(settings)
        await schema.apply({name: FOREVER}, self.clickhouse)
        try:
            yield name
        finally:
            await self.clickhouse.query(f"DROP DATABASE {identifier(name)} SYNC")
            admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
            await admin.start()
            await admin.delete_topics([topic.name for topic in topics.of_source(name)])
            await admin.close()

    def environment(self, source: str) -> dict[str, str]:
        """Of gridstream's processes."""
        return {
            "GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "GRIDSTREAM_CLICKHOUSE__URL": self.clickhouse_url,
            "GRIDSTREAM_WORKER__METRICS_PORT": "0",
            "GRIDSTREAM_SOURCES": orjson.dumps([{"name": source}]).decode(),
        }

    def worker(self, source: str, role: str, number: int = 1) -> Program:
        """A worker of gridstream's."""
        name = f"{role}-{number}" if number > 1 else role
        command = [sys.executable, "-m", "streams.cli", "worker", role]
        return Program(name, command, environment=self.environment(source), log=self.folder / f"{name}.log")

    def ingress(self, source: str, environment: Mapping[str, str] | None = None) -> tuple[str, Program]:
        """An ingress on a port of its own: where it is reached, and what runs it.

        Args:
            source: its only one.
            environment: further variables of it.
        """
        port = embedded.free_port()
        base = f"http://127.0.0.1:{port}"

        async def is_ready() -> bool:
            return await embedded.answers(f"{base}/ready")

        variables = self.environment(source) | {"GRIDSTREAM_INGRESS__PORT": str(port)} | dict(environment or {})
        command = [sys.executable, "-m", "streams.cli", "ingress"]
        return base, Program("ingress", command, is_ready, variables, self.folder / "ingress.log")

    async def measured(
        self,
        events: int,
        is_done: Callable[[], Coroutine[Any, Any, bool]],
        workers: Mapping[str, Sequence[Program]],
    ) -> Run:
        """Run programs from the moment they read until all events are through.

        Those that read last are started first: they wait for work. The clock runs from when the first one of those that
        have work from the start has joined its group.

        Args:
            events: that have to go through.
            is_done: whether they have.
            workers: by consumer group, in the order data flows.

        Raises:
            Fatal: one ended in between, or all took too long.
        """
        programs = [program for of_group in workers.values() for program in of_group]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), AsyncExitStack() as stack:
                first = next(iter(workers))
                for group, of_group in reversed(list(workers.items())):
                    await stack.enter_async_context(self.running(*of_group))
                    pids = self._supervisor.pids
                    while await self._admin.members(group) < (1 if group == first else len(of_group)):
                        await self._look_again(_JOINED_SECONDS, pids, programs)
                before = self.costs()
                began = time.perf_counter()
                while not await _answered(is_done):
                    await self._look_again(_LOOK_SECONDS, pids, programs)
                return self.run_since(before, events, time.perf_counter() - began)
        except TimeoutError:
            raise Fatal(f"not done after {_PATIENCE_SECONDS} s{_last_lines(programs)}") from None

    async def _look_again(self, seconds: float, pids: Mapping[str, int], programs: Sequence[Program]) -> None:
        await asyncio.sleep(seconds)
        if self._supervisor.pids != pids:
            raise Fatal(f"a process ended{_last_lines(programs)}")

    async def have_members(self, *groups: str) -> None:
        """Wait until consumer groups have members, with their partitions."""
        for group in groups:
            while not await self._admin.members(group):  # noqa: ASYNC110  another process
                await asyncio.sleep(_LOOK_SECONDS)

    async def through(self, source: str, events: int, before: Mapping[str, Cost], began: float) -> Run:
        """Wait until so many rows are in its tables.

        Args:
            source: whose.
            events: that came in.
            before: what processes had used,
            began: by perf_counter, when they began.

        Raises:
            Fatal: they took too long.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while await self.rows(source) < events:  # noqa: ASYNC110  other processes
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise Fatal(f"{await self.rows(source)} of {events} rows after {_PATIENCE_SECONDS} s") from None
        return self.run_since(before, events, time.perf_counter() - began)

    def run_since(self, before: Mapping[str, Cost], events: int, seconds: float) -> Run:
        """What processes have used since they had used so much."""
        unused = Cost(0.0, 0)
        costs = {
            name: Cost(cost.seconds - before.get(name, unused).seconds, cost.peak_mb)
            for name, cost in self.costs().items()
        }
        return Run(events, seconds, costs)

    async def members(self, group: str) -> int:
        """How many workers a consumer group has."""
        return await self._admin.members(group)

    async def start(self, program: Program) -> None:
        """Run a program until it is stopped or killed."""
        await self._supervisor.start(program)

    async def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a program for good, by a signal."""
        os.kill(self._supervisor.pids[name], number)
        await self._supervisor.stop(name)

    @asynccontextmanager
    async def running(self, *programs: Program) -> AsyncIterator[None]:
        """Run programs."""
        await self._supervisor.start(*programs)
        try:
            yield
        finally:
            for program in programs:
                await self._supervisor.stop(program.name)

    def costs(self) -> dict[str, Cost]:
        """What each process has used so far, by its name."""
        return {name: cost(pid) for name, pid in self._supervisor.pids.items()}

    def memory(self) -> dict[str, int]:
        """What each process holds just now, in MB, by its name."""
        return {name: held_mb(pid) for name, pid in self._supervisor.pids.items()}

    async def rows(self, source: str) -> int:
        """How many rows its event tables hold, repeats that are not merged yet included."""
        tables = ", ".join(f"'{table.rows}'" for table in EVENT_TABLES.values())
        sql = f"SELECT sum(total_rows) FROM system.tables WHERE database = {{source:String}} AND name IN ({tables})"
        return int((await self.clickhouse.query(sql, {"source": source})).result_rows[0][0] or 0)

    async def distinct(self, source: str) -> int:
        """How many rows a reader sees."""
        return int(
            (await self.clickhouse.query(f"SELECT count() FROM {identifier(source)}.activity")).result_rows[0][0]
        )

    async def taken(self, source: str) -> int:
        """How many records its raw topic holds."""
        return await self._records(topics.raw(source))

    async def published(self, source: str) -> int:
        """How many records its event topics hold."""
        stored = topics.stored(source).items()
        return await self._records(*(topic for topic, table in stored if table in EVENT_TABLES.values()))

    async def _records(self, *names: str) -> int:
        return sum(following for _, following in (await self._admin.offsets(names)).values())


async def _answered(is_done: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    """Whether servers say so; one that is too busy to answer is asked again."""
    try:
        return await is_done()
    except Retry:
        return False


def _last_lines(programs: Sequence[Program]) -> str:
    files = [program.log for program in programs if program.log and program.log.exists()]
    return "".join(f"\n{log.name}: {log.read_text(errors='replace')[-_SHOWN:].strip()}" for log in files)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start the servers; they are gone afterwards. Logs go where those of commands go."""
    logs.configure("bench", to_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(embedded_servers(Path(folder) / "data"))
            settings, data, supervisor = servers
            clickhouse = await stack.enter_async_context(ClickHouse(data.clickhouse_url(settings)))
            producer = await stack.enter_async_context(Producer(settings.kafka.cluster))
            admin = await stack.enter_async_context(Admin(settings.kafka.cluster))
            yield Stage(settings, data, supervisor, clickhouse, producer, admin)
