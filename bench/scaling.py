"""What more of a thing gives: one and two workers of a role, processes of an ingress, and what a change of them costs.

`python -m bench.scaling` takes less than five minutes and prints tables for docs/scaling.md. It needs wrk.
"""

import asyncio
import signal
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from rich.console import Console

from bench.ingress import ingress_alone
from bench.stage import Run, Stage, stage
from bench.workload import A_BODY, feed, preload
from connectors.event_webhook import Signer
from connectors.kafka import Record
from schemas import topics
from schemas.tables import EVENT_TABLES
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_ROLES = ("normalize", "store")
_COUNTS = (1, 2)
_FLOW_BODY = 10
"""Events in a body of the flow beside which workers come and go: small ones, so that each partition is never empty."""
_FLOW_RATE = 1_000
_QUIET_SECONDS = 8
"""Before a change, and after one that is over."""
_GONE_SECONDS = 20
"""After one that only the end of a session of 10 s shows."""
_ON_THE_WAY_MS = 3_000
"""What came in so shortly before a change may still have been with the worker that it is about."""
_LOOK_SECONDS = 0.1


class Change(NamedTuple):
    """What is done to the second worker of a role.

    Attributes:
        name: for people.
        began: when, in milliseconds since 1970,
        ended: and until when its consequences are looked at.
    """

    name: str
    began: int
    ended: int


def _now() -> int:
    return time.time_ns() // 1_000_000


async def workers(stage: Stage, role: str, count: int, source: str, events: int) -> Run:
    """What so many workers of a role do with all that its topics hold."""

    async def is_done() -> bool:
        seen = stage.rows if role == "store" else stage.published
        return await seen(source) >= events

    programs = [stage.worker(source, role, number) for number in range(1, count + 1)]
    return await stage.measured(events, is_done, {group(role): programs})


async def more_workers(stage: Stage, contents: Sequence[bytes]) -> None:
    """One and two workers of each role, each with the same events."""
    events = len(contents) * A_BODY
    CONSOLE.print(
        "\n| workers | normalize, events/s | store, events/s | CPU µs an event of all processes, normalize | store |"
    )
    CONSOLE.print("|--:|--:|--:|--:|--:|")
    for count in _COUNTS:
        async with stage.source(f"workers{count}") as source:
            await preload(stage.producer, topics.raw(source), contents)
            normalize, store = [await workers(stage, role, count, source, events) for role in _ROLES]
            CONSOLE.print(
                f"| {count} | {normalize.rate:,.0f} | {store.rate:,.0f} | {normalize.cpu:.1f} | {store.cpu:.1f} |"
            )
            if count == _COUNTS[-1]:
                await sizes(stage, source, events)


async def sizes(stage: Stage, source: str, events: int) -> None:
    """What an event takes on disks: as a row of its table, and in Kafka's log."""
    for table in EVENT_TABLES.values():
        await stage.clickhouse.query(f"OPTIMIZE TABLE {source}.{table.rows} FINAL")
    sql = (
        "SELECT table, sum(rows) AS stored, sum(bytes_on_disk) AS bytes FROM system.parts "
        "WHERE active AND database = {source:String} AND rows > 0 GROUP BY table ORDER BY bytes DESC"
    )
    CONSOLE.print("\n| where | rows or records | bytes each | bytes an event |\n|---|--:|--:|--:|")
    for table, rows, size in (await stage.clickhouse.query(sql, {"source": source})).result_rows:
        CONSOLE.print(f"| `{table}` | {rows:,} | {size / rows:.0f} | {size / events:.0f} |")
    for name, of in (
        ("raw topic", [topics.raw(source)]),
        ("event topics", [each for each, table in topics.stored(source).items() if table in EVENT_TABLES.values()]),
        ("deliveries", [topics.deliveries(source)]),
    ):
        size = sum(
            file.stat().st_size
            for topic in of
            for file in (stage.folder / "kafka" / "log").glob(f"{topic}-[0-9]*/*.log")
        )
        CONSOLE.print(f"| {name} | | | {size / events:.0f} |")


@asynccontextmanager
async def flow(stage: Stage, source: str) -> AsyncIterator[None]:
    """Events that come in evenly meanwhile, each body with the time of its receipt."""

    async def publish() -> None:
        began = time.perf_counter()
        for number, content in enumerate(feed(10**9, _FLOW_BODY)):
            due = began + number * _FLOW_BODY / _FLOW_RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            headers = [("received_at", str(_now()).encode()), ("verified", b"none")]
            await stage.producer.publish(topics.raw(source), Record(None, content, headers))

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()


async def rebalances(stage: Stage, role: str) -> None:
    """How long events wait when a second worker of a role joins, is stopped, and is killed for good."""
    second = stage.worker(source := f"changes{role}", role, 2)
    changes: list[Change] = []

    async def change(name: str, seconds: float, members: int) -> None:
        """Note what has just been begun, and wait until it is over."""
        began = _now()
        async with asyncio.timeout(60):
            while await stage.members(group(role)) != members:  # noqa: ASYNC110  another process
                await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(seconds)
        changes.append(Change(name, began, _now()))

    async with (
        stage.source(source),
        stage.running(stage.worker(source, "normalize"), stage.worker(source, "store")),
        flow(stage, source),
    ):
        await stage.have_members(*map(group, _ROLES))
        await asyncio.sleep(_QUIET_SECONDS)
        await change("nothing changes", _QUIET_SECONDS, 1)
        await stage.start(second)
        await change("joins", _QUIET_SECONDS, 2)
        await stage.stop(second.name)
        await change("is stopped", _QUIET_SECONDS, 1)
        await stage.start(second)
        await change("joins again", _QUIET_SECONDS, 2)
        await stage.stop(second.name, signal.SIGKILL)
        await change("is killed", _GONE_SECONDS, 1)
        await asyncio.sleep(_QUIET_SECONDS)
        tables = "|".join(table.rows for table in EVENT_TABLES.values())
        sql = (
            "SELECT max(dateDiff('millisecond', received_at, stored_at)) / 1000 "
            f"FROM merge({{source:String}}, '^({tables})$') "
            "WHERE received_at >= fromUnixTimestamp64Milli({began:Int64}) "
            "AND received_at < fromUnixTimestamp64Milli({ended:Int64})"
        )
        for each in changes:
            about = {"source": source, "began": each.began - _ON_THE_WAY_MS, "ended": each.ended - _ON_THE_WAY_MS}
            ((longest,),) = (await stage.clickhouse.query(sql, about)).result_rows
            CONSOLE.print(f"| {role} | {each.name} | {longest:.1f} |")


async def main(events: int, seconds: int) -> None:
    """Measure, and print what was measured."""
    contents = list(feed(events))
    async with stage() as servers:
        await more_workers(servers, contents)
        CONSOLE.print("\n| role | its second worker | longest from receipt to row, s |\n|---|---|--:|")
        for role in _ROLES:
            await rebalances(servers, role)
        CONSOLE.print("\nProcesses of an ingress, signed POSTs of 20 events:")
        signer = Signer.generate()
        for count in _COUNTS:
            CONSOLE.print(f"{count}: {await ingress_alone(servers, f'ingress{count}', seconds, signer, count)}")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.scaling", description="What more workers and processes give.")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--seconds", type=int, default=10, help="of POSTs")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.seconds))
