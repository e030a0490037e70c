"""The live page over many events: how long each panel takes, and counting ahead.

`python -m bench.dashboard --events 10000000` starts the engine alone and fills the event tables directly, 30 days of
mail that end now. With `--data DIR` they stay, and the next run uses them.
"""

import asyncio
import os
import statistics
import tempfile
import time
from argparse import ArgumentParser
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from unittest.mock import patch

import psutil
from rich.console import Console
from rich.table import Table as Shown

from bench.history import DAYS, fill
from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER
from streams import embedded, logs, schema
from streams.dashboard.panels import PANELS
from streams.dashboard.period import RANGES, period
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor
from tests.streams.dashboard.serving import Page, serving

_SOURCE = "sendgrid"
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_ROUNDS = 10
_RANGES = ("1h", "24h", "7d", "30d")
_VALUES = "domain=gmail.example&find=person123@gmail.example"


async def _count(page: Page, clickhouse: ClickHouse, events: int, console: Console) -> None:
    started = time.perf_counter()
    while (await page.get("/api/changes?since=-1"))[1]["counted"] < 1:  # noqa: ASYNC110  as a browser sees it
        await asyncio.sleep(_LOOK_SECONDS)
    seconds = time.perf_counter() - started
    (rows, size), *_ = (
        await clickhouse.query(
            "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts "
            "WHERE database = {database:String} AND table = 'hourly_rows' AND active",
            {"database": _SOURCE},
        )
    ).result_rows
    spent = f"{seconds:,.0f} s, {seconds / events * 1e6:.2f} µs an event"
    console.print(f"counted ahead in {spent}; {rows:,} rows, {size >> 20:,} MB")
    looks = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        await page.dashboard._counting[_SOURCE].step()  # noqa: SLF001  what it does twice a second
        looks.append(time.perf_counter() - started)
    console.print(f"a look for new rows takes {statistics.median(looks) * 1000:.0f} ms")


async def measure(events: int, folder: Path) -> None:
    """Print what was measured."""
    logs.configure("bench", to_terminal=True)
    console = Console(highlight=False, width=140)
    data = DataFolder(folder)
    data.prepare()
    settings = Settings(clickhouse={"embedded_port": embedded.free_port()})
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start(embedded.engine(settings, data))
        clickhouse = await stack.enter_async_context(ClickHouse(data.clickhouse_url(settings), _PATIENCE_SECONDS))
        await schema.apply({_SOURCE: FOREVER}, clickhouse)
        if not (await clickhouse.query(f"SELECT count() FROM {_SOURCE}.processed_rows")).result_rows[0][0]:
            await fill(clickhouse, _SOURCE, events)
        (stored, newest), *_ = (
            await clickhouse.query(
                f"SELECT (SELECT count() FROM {_SOURCE}.activity), "
                f"(SELECT toUnixTimestamp(max(timestamp)) FROM {_SOURCE}.processed)"
            )
        ).result_rows
        console.print(f"{stored:,} events in {DAYS} days")
        async with serving(settings, data.clickhouse_url(settings), _SOURCE) as page:
            await _count(page, clickhouse, stored, console)
            with patch("streams.dashboard.server.period", lambda query, _: period(query, newest)):  # as then
                await _ask(page, psutil.Process(supervisor.pids["ClickHouse"]), console)


async def _ask(page: Page, engine: psutil.Process, console: Console) -> None:
    shown = Shown("panel", title="milliseconds until a panel's answer is there: median, p95; the engine's CPU")
    for name in _RANGES:
        shown.add_column(RANGES[name][0], justify="right")
    every, spent = [], []
    for panel in PANELS:
        cells = []
        for name in _RANGES:
            took = []
            before = engine.cpu_times()
            for _ in range(_ROUNDS):
                page.dashboard._answers.clear()  # noqa: SLF001  who asks the same within a second gets the same
                started = time.perf_counter()
                status, answer = await page.get(f"/api/panels/{panel}?range={name}&{_VALUES}")
                took.append((time.perf_counter() - started) * 1000)
                assert status == HTTPStatus.OK, answer
            every += took
            after = engine.cpu_times()
            cpu = (after.user + after.system - before.user - before.system) * 1000 / _ROUNDS
            spent.append(cpu)
            cells.append(f"{statistics.median(took):.0f}, {statistics.quantiles(took, n=20)[-1]:.0f}; {cpu:.0f}")
        shown.add_row(panel, *cells)
    console.print(shown)
    whole = f"median {statistics.median(every):.0f} ms, p95 {statistics.quantiles(every, n=20)[-1]:.0f} ms"
    load = " ".join(f"{each:.0f}" for each in os.getloadavg())
    console.print(f"all panels: {whole}; CPU median {statistics.median(spent):.0f} ms. Load of the machine: {load}")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.dashboard", description="The live page over many events.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, help="keeps the tables there")
    arguments = parser.parse_args()
    if arguments.data:
        asyncio.run(measure(arguments.events, arguments.data))
    else:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(measure(arguments.events, Path(name)))
