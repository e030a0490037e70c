"""`gridstream status` on a terminal: what is wrong comes first."""

import asyncio
import os
import pty
import signal
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console

from streams.accounting import SourceAccount, Status
from streams.commands.status import Look, changes, problems, screen
from streams.datafolder import DataFolder
from streams.destinations import Destination
from streams.settings import Settings
from tests.pipeline import running
from tests.samples import sample

WELL = Status(
    {"sendgrid": SourceAccount(accepted=3, distinct=2, duplicates=1, rows=2)},
    lag={"gridstream.normalize": 0, "gridstream.store": 0},
    roles={"normalize": "running", "store": "running"},
)
AMISS = Status(
    {"sendgrid": SourceAccount(accepted=3, distinct=3, rows=2, dead_letters=1, expired=7)},
    {"forward sendgrid": Destination(delayed=4, oldest_waiting_seconds=61, refused={"[red]invalid[/red] key": 2})},
    {"gridstream.store": 5, "gridstream.forward.sendgrid": 4},
    {"store": "stopped", "forward": "running"},
)
_TERMINAL = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
_PATIENCE_SECONDS = 60


def shown(found: Status, changed: dict[str, float] | None = None, width: int = 80) -> str:
    output = StringIO()
    Console(file=output, width=width).print(screen(found, changed))
    return output.getvalue()


def test_what_is_wrong_comes_first_with_what_to_do() -> None:
    lines = shown(AMISS).splitlines()

    first, *_ = [number for number, line in enumerate(lines) if "accepted" in line]
    wrong = [line for line in lines if line.startswith("✗")]
    assert [line.removeprefix("✗ ") for line in wrong] == [
        "sendgrid: what came in is not what became of it",
        "no worker does store",
        "sendgrid: 7 raw records were gone before they were read",
        "sendgrid: 1 dead letters wait",
        "forward sendgrid: 4 wait, the oldest for 61 s",
        "forward sendgrid: 2 refused, for the reasons below",
    ]
    assert all(lines.index(line) < first for line in wrong)
    assert all(lines[lines.index(line) + 1].startswith("   → ") for line in wrong)


def test_what_is_on_its_way_is_not_wrong() -> None:
    on_its_way = Status({"sendgrid": SourceAccount(accepted=3, distinct=3, rows=2, in_flight=1)})

    assert list(problems(on_its_way)) == []
    assert "not yet" in shown(on_its_way)


def test_what_is_well_fits_a_small_screen() -> None:
    lines = shown(WELL).splitlines()

    assert lines[0] == "✓ nothing is wrong"
    assert len(lines) <= 24


def test_what_came_from_outside_commands_nothing() -> None:
    assert "[red]invalid[/red] key" in shown(AMISS, width=200)


def test_numbers_that_change_say_how_fast() -> None:
    later = Status(
        {"sendgrid": SourceAccount(accepted=103, distinct=2)}, lag={"gridstream.store": 40}, roles={"store": "running"}
    )
    changed = changes(Look(WELL, 10.0), Look(later, 12.0))

    assert changed == {"sendgrid": 50.0, "gridstream.store": 20.0}
    assert "+20" in shown(later, changed)
    assert changes(None, Look(later, 12.0)) == {}


async def test_watch_needs_a_terminal(servers: Settings, data: DataFolder, source: str, tmp_path: Path) -> None:
    async with running(servers, data, source, tmp_path) as pipeline:
        code, _, errors = await pipeline.command("status", "--watch")
        assert (code, "needs a terminal" in errors) == (2, True)

        screen_of = await Terminal.of(pipeline.process("watch", []).environment, "status", "--watch")
        assert await pipeline.post(sample("click")) == 200
        await screen_of.shows("nothing is wrong", "accepted a second", "balanced")
        await pipeline.supervisor.stop("store")
        await screen_of.shows("no worker does store")
        assert await screen_of.interrupted() == 0


class Terminal:
    """A command of ours on a terminal."""

    def __init__(self, process: asyncio.subprocess.Process, file: int) -> None:
        self._process = process
        self._file = file
        self._text = ""

    @classmethod
    async def of(cls, environment: object, *arguments: str) -> "Terminal":
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        assert isinstance(environment, dict)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli", *arguments),
            env={**os.environ, **environment, **_TERMINAL},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        return cls(process, ours)

    async def shows(self, *texts: str) -> None:
        """Wait until all of them have been on the screen, from now on."""
        self._text = ""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not all(text in self._text for text in texts):
                self._read()
                await asyncio.sleep(0.05)

    async def interrupted(self) -> int:
        """Ctrl-C; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self._process.returncode is None:
                self._read()
                await asyncio.sleep(0.05)
        os.close(self._file)
        return self._process.returncode

    def _read(self) -> None:
        with suppress(OSError):  # nothing there just now, or the other end is closed
            self._text += os.read(self._file, 65536).decode(errors="replace")
