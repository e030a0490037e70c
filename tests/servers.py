"""Kafka and the engine of a run, on ports of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor


class Servers(NamedTuple):
    """Both, running.

    Attributes:
        settings: that name them.
        data: where they keep what they have.
        supervisor: of their processes.
    """

    settings: Settings
    data: DataFolder
    supervisor: Supervisor


@asynccontextmanager
async def embedded_servers(folder: Path) -> AsyncIterator[Servers]:
    """Start both, and stop them again."""
    data = DataFolder(folder)
    data.prepare()
    settings = Settings(
        kafka={"embedded_port": embedded.free_port()}, clickhouse={"embedded_port": embedded.free_port()}
    )
    async with Supervisor() as supervisor:
        await supervisor.start(await embedded.kafka(settings, data), embedded.engine(settings, data))
        yield Servers(settings, data, supervisor)
