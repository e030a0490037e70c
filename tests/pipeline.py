"""A whole gridstream for a test: its own source, ingress and workers as real processes, on the run's servers."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin, Producer, Record
from schemas.ddl import identifier
from streams import embedded
from streams.accounting import SourceAccount, Status, collect
from streams.datafolder import DataFolder
from streams.schema import apply
from streams.settings import Settings, Source
from streams.supervisor import Program, Supervisor

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
        supervisor: Supervisor,
        clickhouse: ClickHouse,
        settings: Settings,
    ) -> None:
        self.source = source
        self.settings = settings
        self.base = f"http://127.0.0.1:{environment['GRIDSTREAM_INGRESS__PORT']}"
        self.url = f"{self.base}/sendgrid/{source}"
        self.supervisor = supervisor
        self.clickhouse = clickhouse
        self.servers = environment["GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS"]
        self._environment = environment

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `gridstream` on it: exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli", *arguments),
            env={**os.environ, **self._environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def publish(self, topic: str, *records: Record) -> None:
        """Put records into a topic."""
        producer = Producer(self.servers)
        await producer.start()
        for record in records:
            await producer.publish(topic, record)
        await producer.stop()

    async def records(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything that is in a topic."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[ConsumerRecord[bytes, bytes]] = []
            while len(found) < sum(ends.values()):
                found.append(await consumer.getone())
            return found
        finally:
            await consumer.stop()

    async def post(self, body: bytes, **headers: str) -> int:
        """POST a body to the webhook; returns the answer's status."""
        async with aiohttp.ClientSession() as session, session.post(self.url, data=body, headers=headers) as response:
            return response.status

    async def status(self) -> Status:
        """What `gridstream status` says."""
        async with Admin(self.servers) as admin:
            return await collect(self.settings, admin, self.clickhouse)

    async def settled(self) -> SourceAccount:
        """The account, once nothing is in flight."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (account := (await self.status()).sources[self.source]).in_flight:
                await asyncio.sleep(0.1)
        return account

    async def rows(self, table: str, columns: str = "*") -> list[dict[str, Any]]:
        """What a reader of a table sees."""
        sql = f"SELECT {columns} FROM {identifier(self.source)}.{identifier(table)}"
        result = await self.clickhouse.query(sql)
        return list(result.named_results())

    async def count(self, table: str) -> int:
        """How many rows a reader of a table sees."""
        return int((await self.rows(table, "count() AS rows"))[0]["rows"])


@asynccontextmanager
async def running(
    servers: Settings, data: DataFolder, source: str, folder: Path, **of_source: object
) -> AsyncIterator[Pipeline]:
    """Start a pipeline and stop it again.

    Args:
        servers: that it runs on.
        data: their folder.
        source: its only source.
        folder: for its configuration.
        of_source: further settings of the source.
    """
    port = embedded.free_port()
    sources: list[Mapping[str, object]] = [{"name": source, **of_source}]
    environment = {
        "GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.servers,
        "GRIDSTREAM_CLICKHOUSE__URL": data.clickhouse_url(servers),
        "GRIDSTREAM_INGRESS__PORT": str(port),
        "GRIDSTREAM_WORKER__METRICS_PORT": "0",
        "GRIDSTREAM_SOURCES": json.dumps(sources),
    }
    clickhouse = ClickHouse(data.clickhouse_url(servers))
    await clickhouse.connect()
    await apply([source], clickhouse)

    def program(name: str, *arguments: str, url: str = "") -> Program:
        async def is_ready() -> bool:
            return not url or await embedded.answers(url)

        command = [sys.executable, "-m", "streams.cli", *arguments]
        return Program(name, command, is_ready, environment, folder / f"{name}.log")

    async with Supervisor() as supervisor:
        await supervisor.start(
            program("ingress", "ingress", url=f"http://127.0.0.1:{port}/ready"),
            program("normalize", "worker", "normalize"),
            program("store", "worker", "store"),
        )
        settings = servers.model_copy(update={"sources": (Source(name=source),)})
        yield Pipeline(source, environment, supervisor, clickhouse, settings)
    await clickhouse.close()
