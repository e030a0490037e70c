"""Who is measured: gridstream and its peers. How each is made, what it runs, which group it reads in."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench.peers import bento, environments
from bench.peers.task import Task
from bench.stage import Stage
from streams.groups import group
from streams.supervisor import Program

ROOT = Path(__file__).parents[2]

ROLES = ("normalize", "store")
"""In the order data flows."""
PARTS = {"whole": ROLES, "normalize": ("normalize",), "store": ("store",)}
"""What is measured, by the roles that do it: raw topic to tables, to event topics, and from these to tables."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine.

    Attributes:
        name: for people.
        make: makes what it runs in. Raises UnavailableError.
        command: of one of its processes.
        parts: that are measured.
        events: it gets so many at most, where more would only take longer.
        normalizers: processes of the role `normalize` that serve it best on two cores; of the other role it has one.
    """

    name: str
    make: Callable[[], Awaitable[None]]
    command: Callable[[Task], list[str]]
    parts: tuple[str, ...] = tuple(PARTS)
    events: int = sys.maxsize
    normalizers: int = 1

    def group(self, source: str, role: str) -> str:
        """The consumer group of a role: another one for each source, so that nobody is still in it."""
        return f"{source}.{role}"

    def programs(self, stage: Stage, source: str, role: str) -> list[Program]:
        """What is to run for a role."""
        count = self.normalizers if role == "normalize" else 1
        return [self._program(stage, source, role, number) for number in range(1, count + 1)]

    def _program(self, stage: Stage, source: str, role: str, number: int) -> Program:
        task = Task(
            role=role,
            servers=stage.servers,
            source=source,
            group=self.group(source, role),
            clickhouse=stage.clickhouse_url,
            folder=str(stage.folder / source / f"{role}-{number}"),
        )
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        return Program(
            f"{role}-{number}",
            self.command(task),
            environment={**task.environment(), "PYTHONPATH": str(ROOT)},
            log=stage.folder / f"{source}.{role}-{number}.log",
        )


async def _nothing() -> None:
    """It runs in gridstream's own environment."""


class Gridstream(Contender):
    """What it is all about."""

    def __init__(self) -> None:
        super().__init__("gridstream", _nothing, lambda _: [], normalizers=2)

    def group(self, source: str, role: str) -> str:  # noqa: ARG002  it is the same for all
        """A role's."""
        return group(role)

    def _program(self, stage: Stage, source: str, role: str, number: int) -> Program:
        return stage.worker(source, role, number)


def _same(*names: str) -> tuple[str, ...]:
    """Packages in the versions that gridstream itself has."""
    return tuple(f"{name}=={version(name)}" for name in names)


def _module(name: str) -> Callable[[Task], list[str]]:
    return lambda _: [str(environments.interpreter(name)), "-m", f"bench.peers.{name}"]


def _faust(_task: Task) -> list[str]:
    return [sys.executable, "-m", "faust", "-A", "bench.peers.faust", "worker", "--without-web", "-l", "warn"]


GRIDSTREAM = Gridstream()

PEERS = {
    peer.name: peer
    for peer in (
        Contender(
            "quixstreams",
            partial(
                environments.python,
                "quixstreams",
                (
                    "quixstreams==3.28.1",
                    "confluent-kafka==2.12.2",
                    *_same("aiohttp", "clickhouse-connect", "orjson", "xxhash"),
                ),
            ),
            _module("quixstreams"),
            normalizers=2,
        ),
        Contender(
            "arroyo",
            partial(
                environments.python,
                "arroyo",
                ("sentry-arroyo==2.48.0", "confluent-kafka==2.16.1", *_same("orjson", "xxhash")),
            ),
            _module("arroyo"),
            parts=("normalize",),
        ),
        Contender("faust", _nothing, _faust, parts=("whole",), events=50_000),
        Contender(
            "bento",
            partial(environments.go, "bento", bento.FILES),
            bento.command,
            parts=("normalize",),
            events=300_000,
        ),
    )
}
"""By name."""
