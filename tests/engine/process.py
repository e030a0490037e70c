"""The engine's process, as its parent sees it."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30.0  # seconds


class Engine:
    """A process of the engine, started and not yet known to be ready.

    Attributes:
        folder: Its data folder.
        stderr: The file that its stderr goes to.
        password: Of the user gridstream.
    """

    password = "open sesame"

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.folder = folder
        self.stderr = folder.with_name(f"{folder.name}.stderr")
        password_file = folder.with_name(f"{folder.name}.password")
        password_file.write_text(f"{self.password}\n")
        with self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                command(folder, password_file, port, *options), stdout=subprocess.PIPE, stderr=stderr
            )
        self.port = 0

    def ready(self) -> "Engine":
        """Wait until it serves."""
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline().decode() if readable else ""
        assert line.startswith("ready http://127.0.0.1:"), self.stderr.read_text()
        self.port = int(line.rpartition(":")[2])
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def writer(self) -> dict[str, str]:
        """The headers of the user who may write."""
        return {"X-ClickHouse-User": "gridstream", "X-ClickHouse-Key": self.password}

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        return code


def command(folder: Path, password_file: Path, port: int, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "connectors.embedded.engine"),
        *("--path", str(folder), "--port", str(port), "--password-file", str(password_file)),
        *options,
    ]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Engine]:
    """A ready engine, stopped at the end; it must have had nothing to complain of."""
    engine = Engine(folder, *options)
    try:
        yield engine.ready()
    finally:
        code = engine.end()
    assert (code, engine.stderr.read_text()) == (0, "")


def until_gone(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    deadline = time.monotonic() + PATIENCE
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
