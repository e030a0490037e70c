"""Printing what came from outside: nothing in it may command a terminal."""

from collections.abc import AsyncIterator, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.doctor.finding import Finding
from streams.harmless import harmless

_PIPE_WIDTH = 10_000
"""Where nobody's eyes limit the width, no value is cut."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], nothing: str = "") -> None:
    """Print rows as a table.

    Args:
        columns: their names.
        rows: in this order.
        nothing: printed instead where there are none.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(plain(column), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table if table.row_count or not nothing else nothing)


async def print_findings(findings: AsyncIterator[Finding]) -> bool:
    """Print what was checked; returns whether all is as it should be."""
    console = Console(highlight=False, soft_wrap=True)
    is_well = True
    async for subject, state, remedy in findings:
        console.print("[red]✗[/red]" if remedy else "[green]✓[/green]", plain(f"{subject}:"), plain(state))
        if remedy:
            console.print("   →", plain(remedy))
            is_well = False
    return is_well


def plain(value: object) -> Text:
    """A value as text that is harmless, and no markup."""
    return Text(harmless(value))
