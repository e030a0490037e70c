"""The embedded servers as programs: a real Kafka and a real ClickHouse engine, on this machine."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aiohttp

from connectors.embedded import jars
from connectors.embedded.kafka import Broker, prepare
from connectors.errors import GridstreamError
from connectors.kafka import Admin, Cluster
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Program


async def kafka(
    settings: Settings, data: DataFolder, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Program:
    """Apache Kafka, on kafka.embedded_port.

    Args:
        settings: read.
        data: where it keeps its log.
        progress: of the download, the first time: jars that are there, jars there are to be.

    Raises:
        Fatal: its jars cannot be had or its folder not be used.
    """
    files = await asyncio.to_thread(jars.jars, cache() / "jars", progress)
    broker = Broker(data.kafka, settings.kafka.embedded_port, (free_port(),))
    return Program(
        "Apache Kafka",
        await asyncio.to_thread(prepare, broker, files),
        is_ready=partial(kafka_answers, settings.kafka.cluster),
        log=data.logs / "kafka.log",
    )


_ENGINE_ENVIRONMENT = {"JE_MALLOC_CONF": "dirty_decay_ms:1000"}
"""Its allocator gives memory that is free back after a second, not after five: while a backlog is drained it holds at
most 702 MB instead of 777, at the same rate."""


def engine(settings: Settings, data: DataFolder) -> Program:
    """The ClickHouse engine, its HTTP interface on clickhouse.embedded_port."""
    port = settings.clickhouse.embedded_port
    return Program(
        "ClickHouse",
        [
            *(sys.executable, "-m", "connectors.embedded.engine"),
            *("--path", str(data.clickhouse)),
            *("--port", str(port)),
            *("--password-file", str(data.engine_password)),
        ],
        is_ready=partial(answers, f"http://127.0.0.1:{port}/ping"),
        environment=_ENGINE_ENVIRONMENT,
        log=data.logs / "clickhouse.log",
    )


async def kafka_answers(cluster: Cluster) -> bool:
    """Whether a broker answers."""
    try:
        async with Admin(cluster):
            return True
    except GridstreamError:
        return False


async def answers(url: str, trust: ssl.SSLContext | None = None) -> bool:
    """Whether a server answers a GET with success.

    Args:
        url: asked.
        trust: what its certificate is checked with; None: the authorities of the system.
    """
    try:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=trust or True) as response:
            return response.ok
    except aiohttp.ClientError:
        return False


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cache() -> Path:
    """Where downloads are kept, for all data folders of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridstream"
