"""`gridstream dead-letters`: what could not be processed, and what becomes of it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any, Literal

import typer

from connectors.errors import Fatal
from connectors.kafka import Producer
from schemas.columns import time_text
from schemas.dead_letters import DeadLetter, State, Step
from streams import letters as desk
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table
from streams.commands.times import moment_ms
from streams.letters import Filter

group = typer.Typer(help="What could not be processed, and why.", no_args_is_help=True)

_BEGINNING = 60
_OUTCOME_SECONDS = 30.0

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Default: all that wait.")]
Source = Annotated[str, typer.Option(help="Of this source only.")]
OfStep = Annotated[Step | None, typer.Option(help="Of this step only.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="With this text in their reason only.")]
Since = Annotated[str, typer.Option(metavar="T", help="Received from then on only: ISO 8601, or an age such as 2h.")]


@group.command("list")
def listing(
    config: Config = None,
    data: Data = DATA,
    *,
    source: Source = "",
    step: OfStep = None,
    reason: Reason = "",
    since: Since = "",
    state: Annotated[Literal["waiting", "replayed", "discarded", "any"], typer.Option()] = "waiting",
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each source, the newest.")] = 100,
) -> None:
    """List them, the newest first."""
    wanted = _filter([], step, reason, since, None if state == "any" else state)
    found = asyncio.run(_find(Installation.of(config, data), source, wanted, limit))
    columns = ("source", "id", "step", "received at (UTC)", "state", "reason", "payload")
    print_table(columns, map(_row, found), nothing="No dead letters.")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    received = time_text(letter.received_at)
    payload = letter.payload[:_BEGINNING].decode("utf-8", "replace")
    return (letter.source, letter.id, letter.step, received, letter.state, letter.reason, payload)


@group.command()
def show(letter: Annotated[str, typer.Argument(metavar="ID")], config: Config = None, data: Data = DATA) -> None:
    """Show one, with its whole payload."""
    found = asyncio.run(_find(Installation.of(config, data), "", Filter(ids=[letter], state=None)))
    if not found:
        raise Fatal(f"there is no dead letter {letter}; `gridstream dead-letters list` shows them")
    shown = found[0]
    about = {
        "source": shown.source,
        "step": shown.step,
        "reason": shown.reason,
        "received at (UTC)": time_text(shown.received_at),
        "state": f"{shown.state} since {time_text(shown.changed_at)}",
        "topic": shown.topic,
        "payload": shown.payload.decode("utf-8", "backslashreplace"),
    }
    print_table(("", shown.id), about.items())


@group.command()
def replay(
    ids: Ids = None,
    config: Config = None,
    data: Data = DATA,
    *,
    source: Source = "",
    step: OfStep = None,
    reason: Reason = "",
    since: Since = "",
) -> None:
    """Process them again. What succeeds leaves the list; what fails again stays, with both reasons."""
    wanted = _filter(ids or [], step, reason, since, "waiting")
    became = asyncio.run(_decide(Installation.of(config, data), source, wanted, desk.replay))
    missing = became.total() - became["replayed"] - became["waiting"]
    text = f"{became['replayed']} succeeded, {became['waiting']} failed again"
    typer.echo(text if not missing else f"{text}, {missing} not processed yet")


@group.command()
def discard(
    ids: Annotated[list[str], typer.Argument(metavar="ID")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Take them off the list; they stay in the table."""
    wanted = Filter(ids=ids)
    became = asyncio.run(_decide(Installation.of(config, data), "", wanted, desk.discard))
    typer.echo(f"{became['discarded']} discarded")


def _filter(ids: list[str], step: Step | None, reason: str, since: str, state: State | None) -> Filter:
    return Filter(ids=ids, state=state, step=step, reason=reason, since=moment_ms(since) if since else 0)


async def _find(installation: Installation, source: str, wanted: Filter, limit: int = 0) -> list[DeadLetter]:
    settings = installation.settings
    sources = [settings.source(source)] if source else settings.sources
    async with installation.clickhouse() as clickhouse:
        return [letter for each in sources for letter in await desk.find(clickhouse, each.name, wanted, limit)]


async def _decide(
    installation: Installation,
    source: str,
    wanted: Filter,
    act: Callable[[Producer, Iterable[DeadLetter]], Coroutine[Any, Any, None]],
) -> Counter[str]:
    """Do something with letters, and say what became of them: `unknown` where that took too long."""
    found = await _find(installation, source, wanted)
    if unknown := set(wanted.ids) - {letter.id for letter in found}:
        raise Fatal(f"no dead letter with this id is waiting: {', '.join(sorted(unknown))}")
    async with Producer(installation.settings.kafka.cluster) as producer:
        await act(producer, found)
    async with installation.clickhouse() as clickhouse:
        became: Counter[str] = Counter(await desk.outcome(clickhouse, found, _OUTCOME_SECONDS))
    became["unknown"] = len(found) - became.total()
    return became
