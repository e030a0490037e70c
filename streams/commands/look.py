"""Commands that look: status, doctor, sql, and the schema."""

import asyncio
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from schemas import ddl
from streams import accounting
from streams import schema as databases
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import harmless
from streams.worker import group


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
        typer.echo(orjson.dumps(found.as_json()).decode())
    else:
        _print_status(found)


async def _status(installation: Installation) -> accounting.Status:
    async with installation.admin() as admin, installation.clickhouse() as clickhouse:
        names = [source.name for source in installation.settings.sources]
        return await accounting.collect(names, admin, clickhouse)


def _print_status(found: accounting.Status) -> None:
    console = Console(highlight=False)
    accounts = Table(title="Accounting", title_justify="left")
    accounts.add_column("source")
    for name in accounting.COLUMNS:
        accounts.add_column(name.replace("_", " "), justify="right")
    accounts.add_column("balanced")
    for source, account in found.sources.items():
        verdict = "yes" if account.balanced else "in flight" if account.in_flight else "[red]NO[/red]"
        accounts.add_row(source, *(f"{getattr(account, name):,}" for name in accounting.COLUMNS), verdict)
    console.print(accounts)
    roles = Table(title="Roles", title_justify="left")
    for name in ("role", "state", "lag"):
        roles.add_column(name, justify="right" if name == "lag" else "left")
    for role, state in found.roles.items():
        shown = state if state == "running" else f"[red]{state}[/red]"
        roles.add_row(role, shown, f"{found.lag.get(group(role), 0):,}")
    console.print(roles)


def sql(
    query: Annotated[str, typer.Argument(help="One statement.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Run a query on the configured ClickHouse and print a table."""
    installation = Installation.of(config, data)
    columns, rows = asyncio.run(_sql(installation, query))
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(harmless, row))
    Console(highlight=False).print(table)


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
