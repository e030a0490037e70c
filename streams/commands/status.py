"""`gridstream status`: is it working. What is wrong comes first, then the numbers; once, or kept up to date."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from connectors.errors import GridstreamError
from streams import accounting
from streams.accounting import Status
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import harmless
from streams.groups import group
from streams.process import stop_event

_PAUSE_SECONDS = 2.0
_REST = 4
"""Status is asked for again after so many times as long as the answer took: the account of many events is work."""
_LATE_SECONDS = 60.0
"""As long as a destination may be behind before it is named."""


class Look(NamedTuple):
    """What was seen, and when by a clock that only goes forward, in seconds."""

    status: Status
    at: float


class Problem(NamedTuple):
    """What is wrong, and what to do about it."""

    what: str
    remedy: str


def status(
    config: Config = None,
    data: Data = DATA,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep it on the screen, up to date, until Ctrl-C.")] = False,
) -> None:
    """Is it working: what is wrong, what came in, what became of it, what waits, and whether the sum is right."""
    console = Console(highlight=False)
    if watch and (as_json or not console.is_terminal):
        raise typer.BadParameter("it needs a terminal; programs ask again and again with --json", param_hint="--watch")
    installation = Installation.of(config, data)
    if watch:
        asyncio.run(_watch(installation, console))
        return
    found = asyncio.run(_status(installation))
    if as_json:
        typer.echo(orjson.dumps(found.as_json()).decode())
    else:
        console.print(screen(found))


async def _status(installation: Installation) -> Status:
    async with installation.admin() as admin, installation.clickhouse() as clickhouse:
        return await accounting.collect(installation.settings, admin, clickhouse)


async def _watch(installation: Installation, console: Console) -> None:
    stopped = stop_event()
    last: Look | None = None
    with Live(Text("Asking Kafka and ClickHouse …"), console=console, screen=True, auto_refresh=False) as live:
        while not stopped.is_set():
            began = time.monotonic()
            try:
                look = Look(await _status(installation), time.monotonic())
                shown = screen(look.status, changes(last, look))
                last = look
            except GridstreamError as error:
                trouble = Problem(str(error), "gridstream doctor says more; it is asked again and again")
                shown = screen(last.status if last else Status(), trouble=trouble)
            live.update(shown, refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), max(_PAUSE_SECONDS, _REST * (time.monotonic() - began)))


def problems(found: Status) -> Iterator[Problem]:
    """What a person should do something about, the worst first."""
    for name, account in found.sources.items():
        if not account.balanced and not account.in_flight:
            yield Problem(
                f"{name}: what came in is not what became of it",
                "gridstream replay --since 1d fills gaps; docs/operations.md, GridstreamAccountOff",
            )
    for role, state in found.roles.items():
        if state != "running":
            yield Problem(f"no worker does {role}", f"gridstream worker {role}; its log says why it ended")
    for name, account in found.sources.items():
        if account.expired:
            yield Problem(
                f"{name}: {account.expired:,} raw records were gone before they were read",
                "they are lost; docs/operations.md, GridstreamExpired",
            )
        if account.dead_letters:
            yield Problem(f"{name}: {account.dead_letters:,} dead letters wait", "gridstream dead-letters list")
    yield from _of_destinations(found)


def _of_destinations(found: Status) -> Iterator[Problem]:
    for name, each in found.destinations.items():
        if each.delayed and each.oldest_waiting_seconds > _LATE_SECONDS:
            waits = f"{each.delayed:,} wait, the oldest for {each.oldest_waiting_seconds:,.0f} s"
            yield Problem(f"{name}: {waits}", "its worker's log says what it waits for")
        if refused := sum(each.refused.values()):
            yield Problem(f"{name}: {refused:,} refused, for the reasons below", "gridstream dead-letters list")


def changes(before: Look | None, now: Look) -> dict[str, float]:
    """By how much a second the lag of each group, and what each source accepted, has changed since the last look."""
    if before is None or now.at <= before.at:
        return {}
    numbers = [
        {**look.status.lag, **{name: account.accepted for name, account in look.status.sources.items()}}
        for look in (before, now)
    ]
    return {name: (numbers[1][name] - numbers[0].get(name, 0)) / (now.at - before.at) for name in numbers[1]}


def screen(found: Status, changed: dict[str, float] | None = None, *, trouble: Problem | None = None) -> RenderableType:
    """Everything on one screen.

    Args:
        found: to be shown.
        changed: by how much a second its numbers change, if that is known.
        trouble: why it is not up to date.
    """
    wrong = [*([trouble] if trouble else []), *problems(found)]
    well = Text.from_markup("[green]✓[/green] nothing is wrong")
    tables = [_accounts(found, changed), _roles(found, changed)]
    shown: list[RenderableType] = [_problems(wrong) if wrong else well, Columns(tables)]
    if found.destinations:
        shown.append(_destinations(found))
    return Group(*shown)


def _problems(wrong: list[Problem]) -> Text:
    lines = [
        line
        for problem in wrong
        for line in (
            Text.assemble(("✗ ", "red"), harmless(problem.what)),
            Text.assemble("   → ", harmless(problem.remedy)),
        )
    ]
    return Text("\n").join(lines)


def _accounts(found: Status, changed: dict[str, float] | None) -> Table:
    table = Table("", box=SIMPLE_HEAD)
    for source in found.sources:
        table.add_column(source, justify="right")
    for name in accounting.COLUMNS:
        sums = (getattr(account, name) for account in found.sources.values())
        table.add_row(name.replace("_", " "), *(f"{number:,}" for number in sums))
    if changed:
        table.add_row("accepted a second", *(f"{changed.get(name, 0):,.0f}" for name in found.sources))
    table.add_row("balanced", *map(_verdict, found.sources.values()))
    return table


def _roles(found: Status, changed: dict[str, float] | None) -> Table:
    table = Table("role", "state", box=SIMPLE_HEAD)
    table.add_column("lag", justify="right")
    if changed:
        table.add_column("a second", justify="right")
    for role, state in found.roles.items():
        mine = [name for name in found.lag if f"{name}.".startswith(f"{group(role)}.")]
        shown = state if state == "running" else f"[red]{state}[/red]"
        change = [f"{sum(changed.get(name, 0) for name in mine):+,.0f}"] if changed else []
        table.add_row(role, shown, f"{sum(found.lag[name] for name in mine):,}", *change)
    return table


def _destinations(found: Status) -> Table:
    table = Table("destination", box=SIMPLE_HEAD)
    for column in ("done", "delayed", "oldest waits for", "refused"):
        table.add_column(column, justify="right")
    table.add_column("why")
    for name, each in found.destinations.items():
        reasons = "; ".join(f"{count:,} × {harmless(reason)}" for reason, count in each.refused.items())
        waits = f"{each.oldest_waiting_seconds:,.0f} s" if each.delayed else ""
        refused = sum(each.refused.values())
        table.add_row(name, f"{each.done:,}", f"{each.delayed:,}", waits, f"{refused:,}", Text(reasons))
    return table


def _verdict(account: accounting.SourceAccount) -> str:
    if account.balanced:
        return "[green]yes[/green]"
    return "not yet" if account.in_flight else "[red]NO[/red]"
