"""A whole gridstream for a test: its own source, ingress and workers as real processes, on the run's servers."""

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin, Cluster, Producer, Record
from connectors.tls import trusting_only
from schemas.ddl import FOREVER, identifier
from streams import embedded
from streams.accounting import SourceAccount, Status, collect
from streams.datafolder import DataFolder
from streams.schema import apply
from streams.sections import Source
from streams.settings import Settings
from streams.supervisor import Program, Supervisor

GRIDSTREAM = (sys.executable, "-m", "streams.cli")
NO_ENVIRONMENT: Mapping[str, str] = {}
PRIVACY_KEY = "the key of all tests"
"""One for all: who is forgotten stands in a topic that they share."""
_PATIENCE_SECONDS = 60


class Pipeline:
    """What a test does with it.

    Attributes:
        source: its name, and its database.
        settings: of its source and servers.
        url: of its webhook.
        supervisor: of its processes.
        clickhouse: connected, with the right to write.
    """

    def __init__(
        self,
        source: str,
        environment: Mapping[str, str],
        folder: Path,
        supervisor: Supervisor,
        clickhouse: ClickHouse,
        launcher: Sequence[str],
        settings: Settings,
    ) -> None:
        self.source = source
        self.settings = settings
        self._trust = trusting_only(environment.get("GRIDSTREAM_INGRESS__CERTIFICATE", ""))
        self.base = f"{'https' if self._trust else 'http'}://127.0.0.1:{environment['GRIDSTREAM_INGRESS__PORT']}"
        self.url = f"{self.base}/sendgrid/{source}"
        self.supervisor = supervisor
        self.clickhouse = clickhouse
        self.servers = environment["GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS"]
        self._environment = environment
        self._folder = folder
        self._launcher = launcher

    def plans(self, name: str) -> Path:
        """The folder of a process's fail points."""
        folder = self._folder / "plans" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> str:
        """What a process has printed."""
        file = self._log(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def ingress(self) -> Program:
        """Its ingress."""

        async def is_ready() -> bool:
            return await embedded.answers(f"{self.base}/ready", self._trust)

        return self.process("ingress", ["ingress"], is_ready)

    def worker(self, role: str, number: int = 1) -> Program:
        """One of its workers; the first is named like its role."""
        return self.process(role if number == 1 else f"{role}-{number}", ["worker", role])

    def process(
        self, name: str, arguments: Sequence[str], is_ready: Callable[[], Awaitable[bool]] | None = None
    ) -> Program:
        """One that runs any command."""
        environment = {**self._environment, "FAILPOINTS": str(self.plans(name))}
        return Program(name, [*self._launcher, *arguments], is_ready, environment, self._log(name))

    async def command(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run `gridstream` on it, with further variables: exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            *(*GRIDSTREAM, *arguments),
            env={**os.environ, **self._environment, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def publish(self, topic: str, *records: Record) -> None:
        """Put records into a topic."""
        async with Producer(self.settings.kafka.cluster) as producer:
            for record in records:
                await producer.publish(topic, record)

    async def records(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything that is in a topic."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[ConsumerRecord[bytes, bytes]] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def post(self, body: bytes, *, to: str = "", **headers: str) -> int:
        """POST a body to the webhook, or to that of another source; returns the answer's status."""
        url = f"{self.base}/sendgrid/{to}" if to else self.url
        content = io.BytesIO(body)  # aiohttp warns of large ones as bytes
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=content, headers=headers, ssl=self._trust or True) as response,
        ):
            return response.status

    async def status(self) -> Status:
        """What `gridstream status` says."""
        async with Admin(self.settings.kafka.cluster) as admin:
            return await collect(self.settings, admin, self.clickhouse)

    async def settled(self) -> SourceAccount:
        """The account, once nothing is in flight."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (account := (await self.status()).sources[self.source]).in_flight:
                await asyncio.sleep(0.1)
        return account

    async def rows(self, table: str, columns: str = "*", *, of: str = "") -> list[dict[str, Any]]:
        """What a reader of a table sees, of its source or of another."""
        sql = f"SELECT {columns} FROM {identifier(of or self.source)}.{identifier(table)}"
        result = await self.clickhouse.query(sql)
        return list(result.named_results())

    async def count(self, table: str) -> int:
        """How many rows a reader of a table sees."""
        return int((await self.rows(table, "count() AS rows"))[0]["rows"])


async def fill(servers: str, topic: str, *values: bytes, partition: int = 0) -> None:
    """Put records without keys into a partition."""
    async with Producer(Cluster(servers)) as producer:
        outgoing = producer.outgoing()
        for value in values:
            outgoing.add(topic, partition, None, value)
        await producer.publish_all(outgoing)


@asynccontextmanager
async def running(
    servers: Settings,
    data: DataFolder,
    source: str,
    folder: Path,
    *,
    clickhouse_url: str = "",
    environment: Mapping[str, str] = NO_ENVIRONMENT,
    launcher: Sequence[str] = GRIDSTREAM,
    **of_source: object,
) -> AsyncIterator[Pipeline]:
    """Start a pipeline and stop it again.

    Args:
        servers: that it runs on.
        data: their folder.
        source: its only source, unless the environment names more.
        folder: for its logs and plans.
        clickhouse_url: where its processes find ClickHouse, if not where it is.
        environment: further variables of its processes.
        launcher: the command of which `ingress` and `worker` are the arguments.
        of_source: further settings of the source.
    """
    variables = {
        "GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.servers,
        "GRIDSTREAM_CLICKHOUSE__URL": clickhouse_url or data.clickhouse_url(servers),
        "GRIDSTREAM_INGRESS__PORT": str(embedded.free_port()),
        "GRIDSTREAM_WORKER__METRICS_PORT": "0",
        "GRIDSTREAM_SOURCES": json.dumps([{"name": source, **of_source}]),
        "GRIDSTREAM_PRIVACY__KEY": PRIVACY_KEY,
        **environment,
    }
    names = [each["name"] for each in json.loads(variables["GRIDSTREAM_SOURCES"])]
    async with ClickHouse(data.clickhouse_url(servers)) as clickhouse:
        await apply(dict.fromkeys(names, FOREVER), clickhouse)
        async with Supervisor() as supervisor:
            used = servers.model_copy(update={"sources": tuple(Source(name=name) for name in names)})
            pipeline = Pipeline(source, variables, folder, supervisor, clickhouse, launcher, used)
            await supervisor.start(pipeline.ingress(), pipeline.worker("normalize"), pipeline.worker("store"))
            yield pipeline
