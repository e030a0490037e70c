"""Commands that look: status, doctor, sql, and the schema."""

import asyncio
import json
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from schemas import ddl
from streams import accounting
from streams import schema as databases
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import plain, print_findings, print_table
from streams.doctor import examine
from streams.groups import group


def status(
    config: Config = None,
    data: Data = DATA,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Is it working: what came in, what became of it, what waits, and whether the sum is right."""
    installation = Installation.of(config, data)
    found = asyncio.run(_status(installation))
    if as_json:
        typer.echo(json.dumps(found.as_json()))  # in ASCII: a reason may have what a terminal obeys
    else:
        _print_status(found)


async def _status(installation: Installation) -> accounting.Status:
    async with installation.admin() as admin, installation.clickhouse() as clickhouse:
        return await accounting.collect(installation.settings, admin, clickhouse)


def _print_status(found: accounting.Status) -> None:
    console = Console(highlight=False)
    accounts = Table("", box=SIMPLE_HEAD)
    for source in found.sources:
        accounts.add_column(source, justify="right")
    for name in accounting.COLUMNS:
        sums = (getattr(account, name) for account in found.sources.values())
        accounts.add_row(name.replace("_", " "), *(f"{number:,}" for number in sums))
    accounts.add_row("balanced", *map(_verdict, found.sources.values()))
    console.print(accounts)
    roles = Table("role", "state", box=SIMPLE_HEAD)
    roles.add_column("lag", justify="right")
    for role, state in found.roles.items():
        shown = state if state == "running" else f"[red]{state}[/red]"
        lag = sum(lag for name, lag in found.lag.items() if f"{name}.".startswith(f"{group(role)}."))
        roles.add_row(role, shown, f"{lag:,}")
    console.print(roles)
    if found.destinations:
        console.print(_destinations(found))


def _destinations(found: accounting.Status) -> Table:
    table = Table("destination", box=SIMPLE_HEAD)
    for column in ("done", "delayed", "oldest waits for", "refused"):
        table.add_column(column, justify="right")
    table.add_column("why")
    for name, each in found.destinations.items():
        reasons = plain("; ".join(f"{count:,} × {reason}" for reason, count in each.refused.items()))
        waits = f"{each.oldest_waiting_seconds:,.0f} s" if each.delayed else ""
        refused = sum(each.refused.values())
        table.add_row(name, f"{each.done:,}", f"{each.delayed:,}", waits, f"{refused:,}", reasons)
    return table


def _verdict(account: accounting.SourceAccount) -> str:
    if account.balanced:
        return "[green]yes[/green]"
    return "not yet" if account.in_flight else "[red]NO[/red]"


def doctor(config: Config = None, data: Data = DATA) -> None:
    """Check everything that is configured, and say what to do about each thing that is wrong."""
    installation = Installation.of(config, data)
    if not asyncio.run(_doctor(installation)):
        raise typer.Exit(1)


async def _doctor(installation: Installation) -> bool:
    return await print_findings(examine(installation.settings, installation.data))


def sql(
    query: Annotated[str, typer.Argument(help="One statement.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Run a query on the configured ClickHouse and print a table."""
    installation = Installation.of(config, data)
    columns, rows = asyncio.run(_sql(installation, query))
    print_table(columns, rows)


async def _sql(installation: Installation, query: str) -> tuple[list[str], list[tuple[object, ...]]]:
    async with installation.clickhouse() as clickhouse:
        result = await clickhouse.query(query)
        return list(result.column_names), [tuple(row) for row in result.result_rows]


schema = typer.Typer(help="The statements that make the databases.", no_args_is_help=True)


@schema.command("show")
def schema_show(config: Config = None, data: Data = DATA) -> None:
    """Print the statements for all sources."""
    for source in Installation.of(config, data).settings.sources:
        for statement in ddl.statements(source.name):
            typer.echo(f"{statement};\n")


@schema.command("apply")
def schema_apply(config: Config = None, data: Data = DATA) -> None:
    """Make the databases of all sources what they should be; also upgrades those of an older version."""
    installation = Installation.of(config, data)
    asyncio.run(_apply(installation))


async def _apply(installation: Installation) -> None:
    names = [source.name for source in installation.settings.sources]
    async with installation.clickhouse() as clickhouse:
        await databases.apply(names, clickhouse)
    typer.echo(f"The schema is in place: {', '.join(names)}")
