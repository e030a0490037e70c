"""gridstream's own commands as programs, whose ports their supervisor keeps."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from streams import ports
from streams.process import METRICS_FOLDER
from streams.settings import Settings
from streams.supervisor import Program

_GRIDSTREAM = (sys.executable, "-m", "streams.cli")
_METRICS_PORT = "GRIDSTREAM_WORKER__METRICS_PORT"
_CORES_OF_A_NORMALIZER = 2
"""It takes one, and Kafka, the store and ClickHouse as much together for what it brings them (docs/performance.md). One
worker of each other role keeps up with all of them."""
_NOTHING: Mapping[str, str] = {}


def ingresses(settings: Settings, arguments: Sequence[str], kept: ports.Kept, metrics: Path) -> list[Program]:
    """As many ingresses as are to share the port.

    Args:
        settings: read.
        arguments: that name them to a child.
        kept: has the port.
        metrics: the folder in which several count together.

    Raises:
        Fatal: the port cannot be had.
    """
    host, port, processes = settings.ingress.host, settings.ingress.port, settings.ingress.processes
    if processes == 1:
        return [_listening("ingress", ["ingress", *arguments], kept, host, port)]
    command = ["ingress", "--shared", *arguments]
    return [
        _listening(f"ingress-{number + 1}", command, kept, host, port, number, {METRICS_FOLDER: str(metrics)})
        for number in range(processes)
    ]


def dashboard(settings: Settings, arguments: Sequence[str], kept: ports.Kept) -> Program:
    """The live page.

    Raises:
        Fatal: its port cannot be had.
    """
    host, port = settings.dashboard.host, settings.dashboard.port
    return _listening("dashboard", ["dashboard", *arguments], kept, host, port)


def workers(role: str, arguments: Sequence[str], partitions: int) -> list[Program]:
    """As many workers of a role as this machine is for, their metrics on free ports.

    Args:
        role: of them all.
        arguments: that name the settings to a child.
        partitions: of a topic: so many workers have something to do.
    """
    first = worker(role, arguments)
    number = min(len(os.sched_getaffinity(0)) // _CORES_OF_A_NORMALIZER, partitions) if role == "normalize" else 1
    return [first, *(replace(first, name=f"{role}-{each}") for each in range(2, number + 1))]


def worker(role: str, arguments: Sequence[str]) -> Program:
    """A worker whose metrics are on a free port."""
    command = [*_GRIDSTREAM, "worker", role, *arguments]
    return Program(role, command, environment={_METRICS_PORT: "0"}, tells_ready=True)


def worker_at(role: str, arguments: Sequence[str], kept: ports.Kept, host: str, port: int) -> Program:
    """A worker whose metrics are on a port that is known.

    Raises:
        Fatal: the port cannot be had.
    """
    return _listening(role, ["worker", role, *arguments], kept, host, port, environment={_METRICS_PORT: str(port)})


def simulator(arguments: Sequence[str], rate: float, key: Path) -> Program:
    """A feed for the first source, of so many events a second."""
    command = ["simulate", *arguments, "--rate", str(rate), "--private-key", str(key), "--quiet"]
    return Program("simulator", [*_GRIDSTREAM, *command])


def _listening(
    name: str,
    command: Sequence[str],
    kept: ports.Kept,
    host: str,
    port: int,
    number: int = 0,
    environment: Mapping[str, str] = _NOTHING,
) -> Program:
    sockets = kept.of(host, port, number)
    return Program(
        name,
        [*_GRIDSTREAM, *command],
        environment={**environment, **ports.handed(host, port, sockets)},
        sockets=sockets,
        tells_ready=True,
    )
