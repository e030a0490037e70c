"""gridstream and its peers one after the other, on the same servers and the same records; and what that says."""

from collections.abc import Sequence
from itertools import count
from statistics import median
from typing import NamedTuple

from rich.console import Console

from bench.peers.contenders import GRIDSTREAM, PARTS, PEERS, ROLES, Contender
from bench.peers.environments import UnavailableError
from bench.stage import Run, Stage
from bench.workload import A_BODY, preload
from connectors.errors import Fatal, GridstreamError
from schemas import topics

_WORDS = ("part", "peer")
_NUMBERS = (
    *("events/s", "ours", "ours/peer"),
    *("CPU µs an event", "ours", "ours/peer"),
    *("of it servers", "ours"),
    *("peak MB", "ours"),
)
CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_numbers = count()


class Pair(NamedTuple):
    """A peer's run and gridstream's right after it."""

    peer: Run
    ours: Run


async def measure(stage: Stage, contender: Contender, part: str, contents: Sequence[bytes]) -> Run:
    """Measure one contender once. What comes before its part, and after, gridstream does.

    Args:
        stage: servers.
        contender: that has the part.
        part: one of PARTS.
        contents: of raw records, A_BODY events in each.

    Raises:
        Fatal: it did not do it, or not right.
    """
    roles = PARTS[part]
    contents = contents[: contender.events // A_BODY]
    events = len(contents) * A_BODY
    async with stage.source(f"{contender.name}{next(_numbers)}") as source:
        await preload(stage.producer, topics.raw(source), contents)

        async def by(contender: Contender, *roles: str) -> Run:
            async def is_done() -> bool:
                seen = stage.rows if roles[-1] == "store" else stage.published
                return await seen(source) >= events

            workers = {contender.group(source, role): contender.programs(stage, source, role) for role in roles}
            return await stage.measured(events, is_done, workers)

        if "normalize" not in roles:
            await by(GRIDSTREAM, "normalize")
        run = await by(contender, *roles)
        if "store" not in roles:
            await by(GRIDSTREAM, "store")
        distinct = await stage.distinct(source)
        if distinct != events:
            raise Fatal(f"{distinct} distinct rows of {events} events")
    return run


async def compare(stage: Stage, names: Sequence[str], contents: Sequence[bytes], runs: int) -> None:
    """Measure peers and gridstream in turns; print each run, then medians and ratios as a table in Markdown.

    Args:
        stage: servers.
        names: of peers.
        contents: of raw records.
        runs: of each.
    """
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for name in names:
        peer = PEERS[name]
        try:
            CONSOLE.print(f"{name}: making what it runs in, where it is not there yet")
            await peer.make()
            for part in peer.parts:
                for _ in range(runs):
                    pair = Pair(await show(stage, peer, part, contents), await show(stage, GRIDSTREAM, part, contents))
                    pairs.setdefault((part, name), []).append(pair)
        except UnavailableError as error:
            CONSOLE.print(f"{name}: cannot be installed: {error}")
        except GridstreamError as error:
            CONSOLE.print(f"{name}: failed: {error}")
    CONSOLE.print("\n".join(table(pairs)))


async def show(stage: Stage, contender: Contender, part: str, contents: Sequence[bytes]) -> Run:
    """Measure one contender once, and print it."""
    run = await measure(stage, contender, part, contents)
    CONSOLE.print(f"{part:9} {contender.name:11} {run.line()}")
    return run


def table(pairs: dict[tuple[str, str], list[Pair]]) -> list[str]:
    """Medians and ratios, in Markdown.

    Args:
        pairs: by part and peer.
    """
    lines = ["", _line([*_WORDS, *_NUMBERS]), _line(["---"] * len(_WORDS) + ["--:"] * len(_NUMBERS))]
    for (part, name), both in pairs.items():
        peers, ours = [pair.peer for pair in both], [pair.ours for pair in both]
        cells = [part, name]
        for value in (_rate, _cpu):
            theirs, mine = median(map(value, peers)), median(map(value, ours))
            ratio = median(value(pair.ours) / value(pair.peer) for pair in both)
            cells += [f"{theirs:,.{value is _cpu:d}f}", f"{mine:,.{value is _cpu:d}f}", f"{ratio:.2f}"]
        for value in (_servers_cpu, _peak):
            cells += [f"{median(map(value, runs)):,.{value is _servers_cpu:d}f}" for runs in (peers, ours)]
        lines.append(_line(cells))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(run: Run) -> float:
    return run.rate


def _cpu(run: Run) -> float:
    return run.cpu


def _servers_cpu(run: Run) -> float:
    return sum(cost.seconds for name, cost in run.costs.items() if not name.startswith(ROLES)) / run.events * 1e6


def _peak(run: Run) -> float:
    return sum(cost.peak_mb for name, cost in run.costs.items() if name.startswith(ROLES))
