"""All contacts of an account in one sync: how fast, and how much memory whatever their number.

`python -m bench.objects` starts the engine, and SendGrid as a fake in a process of its own, whose exports take no time:
what is measured is gridstream's part. Each number of contacts is pulled twice: first all of them are new, then none has
changed. Besides everybody's export there is one of a list that has them all.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.processes import peak_mb
from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER, identifier
from streams import embedded, schema
from streams.commands.printing import print_table
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor

_SOURCE = "bench"
_LOOK_SECONDS = 0.05


class Measured(NamedTuple):
    """One sync."""

    contacts: int
    what: str
    seconds: float
    peak_mb: int
    engine_mb: int

    @property
    def row(self) -> tuple[str, ...]:
        """For people."""
        rate = f"{self.contacts / self.seconds:,.0f}"
        return (f"{self.contacts:,}", self.what, f"{self.seconds:.1f}", rate, str(self.peak_mb), str(self.engine_mb))


async def measure(sizes: Sequence[int]) -> None:
    """Print what was measured."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            found += await _measured(size, DataFolder(Path(name) / "data"))
    print_table(
        ("contacts", "sync", "seconds", "contacts/s", "peak MB", "engine's peak MB"), [each.row for each in found]
    )


async def _measured(size: int, data: DataFolder) -> list[Measured]:
    data.prepare()
    settings = Settings(clickhouse={"embedded_port": embedded.free_port()})
    fake = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.sendgrid", "--contacts", str(size)), stdout=asyncio.subprocess.PIPE
    )
    assert fake.stdout
    account = json.loads(await fake.stdout.readline())
    try:
        async with AsyncExitStack() as stack:
            supervisor = await stack.enter_async_context(Supervisor())
            await supervisor.start(embedded.engine(settings, data))
            clickhouse = await stack.enter_async_context(ClickHouse(data.clickhouse_url(settings)))
            await schema.apply({_SOURCE: FOREVER}, clickhouse)
            environment = os.environ | {
                "GRIDSTREAM_CLICKHOUSE__URL": data.clickhouse_url(settings),
                "GRIDSTREAM_SOURCES": json.dumps(
                    [{"name": _SOURCE, "api_key": account["key"], "api_url": account["url"]}]
                ),
            }
            found = [await _sync(size, what, environment) for what in ("all new", "unchanged")]
            sql = f"SELECT count(), sum(length(list_ids)) FROM {identifier(_SOURCE)}.recipients WHERE NOT is_deleted"
            ((people, memberships),) = (await clickhouse.query(sql)).result_rows
            assert (people, memberships) == (size, size)
    finally:
        fake.terminate()
        await fake.wait()
    return found


async def _sync(size: int, what: str, environment: dict[str, str]) -> Measured:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", "sync", "recipients"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    ended = asyncio.ensure_future(process.wait())
    peak = 0
    while not ended.done():
        with suppress(FileNotFoundError, ProcessLookupError):
            peak = max(peak, peak_mb(process.pid))
        await asyncio.wait({ended}, timeout=_LOOK_SECONDS)
    assert ended.result() == 0
    engine = next(each for each in psutil.Process().children() if "connectors.embedded.engine" in each.cmdline())
    return Measured(size, what, time.perf_counter() - started, peak, peak_mb(engine.pid))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.objects", description="All contacts of an account in one sync.")
    parser.add_argument("contacts", type=int, nargs="*", default=[5_000, 1_000_000], help="how many, each by itself")
    asyncio.run(measure(parser.parse_args().contacts))
