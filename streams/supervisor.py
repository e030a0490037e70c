"""Child processes that are started in order, watched, restarted when they die, and stopped in reverse.

No child outlives its parent, not even one that is killed with -9 (on Linux: the kernel ends the children).
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog

from connectors.errors import Fatal
from streams.process import READY

log = structlog.get_logger()

_READY_SECONDS = 60.0
_STOP_SECONDS = 8.0
"""What a child gets to end by itself; then it is killed."""
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 30.0
"""A child that has run for so long is restarted without a pause that grew."""
_ASK_AGAIN_SECONDS = 0.1
_SHOWN_LINES = 3
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Program:
    """What a child process runs.

    Attributes:
        name: for people, and for its log file.
        command: with all arguments.
        is_ready: asked until it says yes; without it, a child that runs is ready.
        environment: added to the parent's.
        log: where its output goes; None leaves it to the parent's.
        sockets: that it gets from the parent, under the same numbers.
        tells_ready: it says by itself when it is (process.tell_ready).
    """

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    sockets: Sequence[socket.socket] = ()
    tells_ready: bool = False


class Supervisor:
    """Runs programs as child processes. An async context manager: leaving it stops them all, the last started first.

    A child that dies is started again, after a pause that grows while it keeps dying.
    """

    def __init__(self) -> None:
        self._children: list[_Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            await child.stop()

    async def start(self, *programs: Program) -> None:
        """Start programs at the same time and return when all are ready.

        Raises:
            Fatal: one ended, or was not ready in time; with the last lines that it printed.
        """
        children = [_Child(program) for program in programs]
        self._children += children
        await asyncio.gather(*(child.start() for child in children))

    async def replace(self, program: Program) -> None:
        """Put a program in the place of the one of its name, which goes on until the new one is ready.

        Raises:
            Fatal: the new one ended, or was not ready in time. Then the old one goes on.
        """
        old = next(child for child in self._children if child.name == program.name)
        new = _Child(program)
        try:
            await new.start()
        except BaseException:
            await new.stop()
            raise
        self._children[self._children.index(old)] = new
        await old.stop()

    async def stop(self, name: str) -> None:
        """Stop the programs of a name, for good."""
        for child in [child for child in self._children if child.name == name]:
            self._children.remove(child)
            await child.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that run just now, by name."""
        return {child.name: child.pid for child in self._children if child.pid}


class _Child:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._told: int | None = None

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        process = await self._spawn()
        deadline = time.monotonic() + _READY_SECONDS
        while not await self._is_ready():
            if process.returncode is not None:
                raise Fatal(f"{self._program.name} ended at its start{self._last_lines()}")
            if time.monotonic() > deadline:
                raise Fatal(f"{self._program.name} was not ready after {_READY_SECONDS:.0f} s{self._last_lines()}")
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        self._watch = asyncio.create_task(self._keep_running(process))

    async def _is_ready(self) -> bool:
        if self._told is not None:
            try:
                return bool(os.read(self._told, 1))
            except BlockingIOError:
                return False
        return not self._program.is_ready or await self._program.is_ready()

    async def stop(self) -> None:
        if self._watch:
            self._watch.cancel()
        self._listen_to(None)
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            log.warning("did not stop in time; killing it", process=self._program.name)
            process.kill()
            await process.wait()

    async def _keep_running(self, process: asyncio.subprocess.Process) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            code = await process.wait()
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.warning("ended; starting it again", process=self._program.name, code=code, pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            process = await self._spawn()

    async def _spawn(self) -> asyncio.subprocess.Process:
        output: IO[bytes] | None = self._program.log.open("ab") if self._program.log else None
        passed = [each.fileno() for each in self._program.sockets]
        environment = {**os.environ, **self._program.environment}
        telling = None
        if self._program.tells_ready:
            told, telling = os.pipe()
            os.set_blocking(told, False)
            self._listen_to(told)
            passed.append(telling)
            environment[READY] = str(telling)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=passed,
                start_new_session=True,  # a Ctrl-C on the terminal reaches the parent alone, which stops all in order
                preexec_fn=_end_with(os.getpid()),
            )
        finally:
            if output:
                output.close()
            if telling is not None:
                os.close(telling)
        return self._process

    def _listen_to(self, told: int | None) -> None:
        """Where the child will say that it is ready."""
        if self._told is not None:
            os.close(self._told)
        self._told = told

    def _last_lines(self) -> str:
        if not self._program.log or not self._program.log.exists():
            return ""
        lines = self._program.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        return f"; see {self._program.log}:\n" + "\n".join(lines)


def _end_with(parent: int) -> Callable[[], None] | None:
    """What a child does first: have the kernel end it when its parent dies."""
    libc = _libc
    if libc is None:
        return None

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return before_exec
