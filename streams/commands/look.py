"""Commands that look: doctor, sql, and the schema."""

import asyncio
from typing import Annotated

import typer

from schemas import ddl
from streams import schema as databases
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_findings, print_table
from streams.doctor.examine import examine


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
def schema_show(
    config: Config = None,
    data: Data = DATA,
    *,
    cluster: Annotated[
        str,
        typer.Option(metavar="NAME", help="For a cluster of ClickHouse servers; default: clickhouse.cluster, if set."),
    ] = "",
) -> None:
    """Print the statements for all sources."""
    settings = Installation.of(config, data).settings
    on = cluster or settings.clickhouse.cluster
    for source, days in settings.retention_days.items():
        for statement in (*ddl.statements(source, days, on), *ddl.limits(source, days, {}, on)):
            typer.echo(f"{statement};\n")


@schema.command("apply")
def schema_apply(config: Config = None, data: Data = DATA) -> None:
    """Make the databases of all sources what they should be; also upgrades those of an older version."""
    installation = Installation.of(config, data)
    asyncio.run(_apply(installation))


async def _apply(installation: Installation) -> None:
    settings = installation.settings
    async with installation.clickhouse() as clickhouse:
        await databases.apply(settings.retention_days, clickhouse, settings.clickhouse.cluster)
    typer.echo(f"The schema is in place: {', '.join(settings.retention_days)}")
