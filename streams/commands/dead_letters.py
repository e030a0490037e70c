"""`gridstream dead-letters`: what could not be processed."""

import asyncio
from typing import Annotated

import typer

from connectors.errors import Fatal
from schemas.ddl import identifier
from schemas.tables import DEAD_LETTERS
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table

group = typer.Typer(help="What could not be processed, and why.", no_args_is_help=True)

_LIST = """
SELECT id, step, received_at, reason, substring(payload, 1, 60)
FROM {database}.dead_letters WHERE state = 'waiting' ORDER BY received_at DESC LIMIT {{limit:UInt32}}
"""
_COLUMNS = tuple(column.name for column in DEAD_LETTERS.columns if column.name != "source")
_SHOW = "SELECT {columns} FROM {database}.dead_letters WHERE id = {{id:String}}"


@group.command("list")
def listing(
    config: Config = None,
    data: Data = DATA,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each source, the newest.")] = 100,
) -> None:
    """List what waits."""
    installation = Installation.of(config, data)
    rows = asyncio.run(_rows(installation, _LIST, {"limit": limit}))
    columns = ("source", "id", "step", "received at (UTC)", "reason", "payload")
    print_table(columns, rows, nothing="No dead letters.")


@group.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Show one, with its whole payload."""
    installation = Installation.of(config, data)
    found = asyncio.run(_rows(installation, _SHOW, {"id": letter}))
    if not found:
        raise Fatal(f"there is no dead letter {letter}; `gridstream dead-letters list` shows them")
    print_table(("", letter), zip(("source", *_COLUMNS), found[0], strict=True))


async def _rows(installation: Installation, query: str, parameters: dict[str, object]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    async with installation.clickhouse() as clickhouse:
        for source in installation.settings.sources:
            result = await clickhouse.query(
                query.format(database=identifier(source.name), columns=", ".join(map(identifier, _COLUMNS))), parameters
            )
            rows += [(source.name, *row) for row in result.result_rows]
    return rows
