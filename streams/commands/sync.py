"""`gridstream sync`: SendGrid's objects now instead of when it is their time."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from connectors.errors import Fatal
from connectors.sendgrid_objects import SendGridObjects
from schemas.objects import OBJECTS
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table
from streams.objects.calls import Calls
from streams.objects.sync import ObjectSync, Outcome
from streams.privacy.forgotten import forgotten
from streams.schema import require_schema
from streams.sections import Source
from streams.settings import Settings

_NAMES = [kind.name for kind in OBJECTS]


def sync(
    objects: Annotated[
        list[str] | None, typer.Argument(metavar="OBJECT", help=f"Any of: {', '.join(_NAMES)}; default: all.")
    ] = None,
    config: Config = None,
    data: Data = DATA,
    *,
    source: Annotated[str, typer.Option(help="The source; default: all with an api_key.")] = "",
) -> None:
    """Pull lists, segments, recipients, campaigns and the like from SendGrid now."""
    for name in objects or ():
        if name not in _NAMES:
            raise typer.BadParameter(f"there are no {name}; objects: {', '.join(_NAMES)}")
    installation = Installation.of(config, data)
    outcomes = asyncio.run(_sync(installation, _chosen(installation.settings, source), objects or _NAMES))
    print_table(("source", "object", "seen", "new", "changed", "gone", ""), map(_row, outcomes))
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _chosen(settings: Settings, name: str) -> list[Source]:
    chosen = [settings.source(name)] if name else list(settings.with_api_key)
    missing = [source.name for source in chosen or settings.sources if source not in settings.with_api_key]
    if missing:
        raise Fatal(f"sources.api_key is not set for {', '.join(missing)}: there is nothing to ask SendGrid with")
    return chosen


async def _sync(installation: Installation, sources: list[Source], names: list[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with installation.clickhouse() as clickhouse, AsyncExitStack() as stack:
        known = await forgotten(installation.settings, installation.data, stack)
        for source in sources:
            await require_schema(source.name, clickhouse)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            for source in sources:
                show = _Bars(source.name, progress).show
                async with SendGridObjects(source.api_key.get_secret_value(), source.api_url) as api:
                    await ObjectSync(source, api, clickhouse, Calls(), show, known).run(names, outcomes.append)
    return outcomes


class _Bars:
    """The progress of one source: a bar for each kind of object."""

    def __init__(self, source: str, progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, count: int, total: int | None) -> None:
        """So many have come, of so many where that is known."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(f"{self._source}.{name}", total=None)
        self._progress.update(self._tasks[name], completed=count, total=total)


def _row(outcome: Outcome) -> tuple[str, ...]:
    counts = outcome.counts
    numbers = (counts.pulled, counts.new, counts.changed, counts.gone)
    return (
        outcome.source,
        outcome.object,
        *(f"{number:,}" for number in numbers),
        outcome.error or outcome.note or ("" if counts.pulled else "zero data synced"),
    )
