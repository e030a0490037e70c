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
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table as Shown

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.tables import EVENT_TABLES
from streams import embedded, schema
from streams.dashboard.panels import PANELS
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor
from tests.streams.dashboard.serving import Page, serving

_SOURCE = "sendgrid"
_DAYS = 30
_AT_ONCE = 500_000
"""Messages of one INSERT."""
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_ROUNDS = 10
_STRETCHES = (("1 hour", 3_600), ("24 hours", 86_400), ("7 days", 604_800), ("30 days", 2_592_000))
_VALUES = "domain=gmail.example&find=person123@gmail.example"
_MESSAGE = """
    sipHash64(number) AS seed,
    {end:DateTime64(3)} - toIntervalMillisecond(toUInt64(({messages:UInt64} - number) * {apart:Float64})) AS accepted,
    concat(base64URLEncode(reinterpretAsString(seed)), 'aaaaaaaaaaa.recvd-67fdc7b4d6-wbpn9-1-',
        hex(toUInt32(toUnixTimestamp(accepted))), '-1A.0') AS message_sg_message_id,
    concat('person', toString(seed % 1000000)) AS local,
    ['gmail.example', 'gmail.example', 'gmail.example', 'outlook.example', 'yahoo.example', 'mail.example.org',
        concat('company', toString(seed % 20000), '.example')][seed % 7 + 1] AS domain,
    concat(local, '@', domain) AS address,
    [['receipt', 'shop'], ['password-reset'], ['newsletter'], [concat('topic-', toString(seed % 200))], []]
        [seed % 5 + 1] AS message_category,
    if(seed % 3 = 0, concat('Campaign ', toString(intDiv(number, 20000) % 1000)), '')
        AS message_marketing_campaign_name,
    seed % 10000 AS luck
"""
_LATER = "30000 + chance % 40000000"
_EVENTS = {
    "processed": (10_000, "0", {}),
    "deferred": (
        1_000,
        "2000 + chance % 60000",
        {
            "response": "concat('421 4.7.28 [198.51.100.', toString(chance % 250), '] Our system has detected an "
            "unusual rate of mail. ', lower(hex(chance)), ' - gsmtp')"
        },
    ),
    "delivered": (9_300, "1000 + if(luck < 900, 300000 + chance % 3000000, chance % 8000)", {}),
    "bounce": (
        400,
        "1000",
        {
            "type": "if(chance % 3 = 0, 'blocked', 'bounce')",
            "reason": "concat('550 5.1.1 <', address, '>: Recipient address rejected ', toString(chance % 12))",
            "bounce_classification": "['Invalid Address', 'Mailbox Unavailable', 'Reputation'][chance % 3 + 1]",
        },
    ),
    "dropped": (300, "500", {"reason": "['Bounced Address', 'Unsubscribed Address', 'Invalid'][chance % 3 + 1]"}),
    "open": (11_000, _LATER, {"sg_machine_open": "chance % 5 < 2", "useragent": "'Mozilla/5.0'"}),
    "click": (
        2_800,
        _LATER,
        {
            "useragent": "'Mozilla/5.0'",
            "url": "concat('https://shop.example.com/page/', toString(intDiv(chance, 10000) % 5000), "
            "'?utm_source=mail&m=', toString(number))",
        },
    ),
    "unsubscribe": (60, _LATER, {}),
    "group_unsubscribe": (60, _LATER, {}),
    "spamreport": (80, _LATER, {}),
}
"""By wire name: so many of 10,000 messages have one, so many milliseconds after SendGrid took it; its own columns."""
_PER_MESSAGE = sum(share for share, _, _ in _EVENTS.values()) / 10_000


def _fillings() -> Iterator[str]:
    for name, (share, delay, own) in _EVENTS.items():
        columns = {
            "event_id": f"concat(toString(number), '-{name}-', toString(copy))",
            "user_id": "address",
            "email": "address",
            "event": f"'{name}'",
            "timestamp": "at",
            "received_at": "at + toIntervalSecond(1)",
            "sg_event_id": f"concat(toString(number), '-{name}-', toString(copy))",
            "sg_message_id": "message_sg_message_id",
            "category": "message_category",
            "marketing_campaign_name": "message_marketing_campaign_name",
            **own,
        }
        yield (
            f"INSERT INTO {identifier(_SOURCE)}.{identifier(EVENT_TABLES[name].rows)} ({', '.join(columns)})\n"
            f"SELECT {', '.join(f'{value} AS `{name}`' for name, value in columns.items())}\n"
            f"FROM (SELECT number, arrayJoin([0, 1]) AS copy, sipHash64(number, copy, '{name}') AS chance,\n"
            f"{_MESSAGE},\n"
            f"    accepted + toIntervalMillisecond({delay}) AS at FROM numbers({{first:UInt64}}, {{rows:UInt64}}))\n"
            f"WHERE chance % 10000 < {share} - copy * 10000 AND at < {{end:DateTime64(3)}}\n"
            "SETTINGS optimize_on_insert = 0"
        )


async def fill(clickhouse: ClickHouse, events: int, console: Console) -> None:
    """Fill the event tables of the source `sendgrid`."""
    messages = int(events / _PER_MESSAGE)
    parameters = {
        "end": datetime.now(UTC).replace(tzinfo=None),
        "messages": messages,
        "apart": _DAYS * 86_400_000 / messages,
    }
    for first in range(0, messages, _AT_ONCE):
        rows = min(_AT_ONCE, messages - first)
        for statement in _fillings():
            await clickhouse.query(statement, {**parameters, "first": first, "rows": rows})
        console.print(f"filled {first + rows:,} of {messages:,} messages", end="\r")


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
    console = Console(highlight=False, width=140)
    data = DataFolder(folder)
    data.prepare()
    settings = Settings(clickhouse={"embedded_port": embedded.free_port()})
    async with Supervisor() as supervisor:
        await supervisor.start(embedded.engine(settings, data))
        clickhouse = ClickHouse(data.clickhouse_url(settings), _PATIENCE_SECONDS)
        await clickhouse.connect()
        await schema.apply([_SOURCE], clickhouse)
        if not (await clickhouse.query(f"SELECT count() FROM {_SOURCE}.processed_rows")).result_rows[0][0]:
            await fill(clickhouse, events, console)
        (stored, newest), *_ = (
            await clickhouse.query(
                f"SELECT (SELECT count() FROM {_SOURCE}.activity), "
                f"(SELECT toUnixTimestamp(max(timestamp)) FROM {_SOURCE}.processed)"
            )
        ).result_rows
        console.print(f"{stored:,} events in {_DAYS} days")
        async with serving(settings, data.clickhouse_url(settings), _SOURCE) as page:
            await _count(page, clickhouse, stored, console)
            await _ask(page, psutil.Process(supervisor.pids["ClickHouse"]), newest, console)
        await clickhouse.close()


async def _ask(page: Page, engine: psutil.Process, newest: int, console: Console) -> None:
    shown = Shown("panel", title="milliseconds until a panel's answer is there: median, p95; the engine's CPU")
    for name, _ in _STRETCHES:
        shown.add_column(name, justify="right")
    every, spent = [], []
    for panel in PANELS:
        cells = []
        for _, seconds in _STRETCHES:
            took = []
            before = engine.cpu_times()
            for _ in range(_ROUNDS):
                page.dashboard._answers.clear()  # noqa: SLF001  who asks the same within a second gets the same
                start, end = (datetime.fromtimestamp(newest + 1 - ago, UTC) for ago in (seconds, 0))
                stretch = f"from={start:%Y-%m-%dT%H:00:00}&to={end:%Y-%m-%dT%H:%M:%S}"
                started = time.perf_counter()
                status, answer = await page.get(f"/api/panels/{panel}?{stretch}&{_VALUES}")
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
