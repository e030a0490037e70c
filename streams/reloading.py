"""Reloading: the settings are read again, and whatever runs with the old ones is replaced by what runs with the new."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from connectors.errors import GridstreamError
from connectors.kafka import Admin
from connectors.tls import serving
from schemas.topics import owner
from streams import ports, schema
from streams import settings as configured
from streams.beginnings import ensure_beginnings
from streams.datafolder import DataFolder
from streams.groups import groups, lags_of
from streams.process import reload_event
from streams.settings import Settings
from streams.supervisor import Program, Supervisor

log = structlog.get_logger()

_FINISH_SECONDS = 30.0
_LOOK_SECONDS = 0.2


class Configuration:
    """The settings in force. Children read a copy of their file: one that is started again must not find another.

    Args:
        file: as named; None: gridstream.toml in the working directory, if it is there.
        data: the data folder.
        folder: for the copies, which have secrets in them.
    """

    def __init__(self, file: Path | None, data: DataFolder, folder: Path) -> None:
        self._file = file
        self._data = data
        self._folder = folder
        self._number = 0

    def read(self) -> tuple[Settings, Sequence[str]]:
        """The settings as they are now, and the arguments that name them to a child.

        Raises:
            Fatal: they are wrong.
        """
        configured.load(self._file)  # so that errors name this file
        self._number += 1
        copy = self._folder / f"{self._number}.toml"
        copy.touch(mode=0o600)
        file = self._file or configured.DEFAULT_FILE
        if file.exists():
            shutil.copyfile(file, copy)
        return configured.load(copy), ("--data", str(self._data.path), "--config", str(copy))


def check_certificates(settings: Settings) -> None:
    """See whether the servers can show their certificates.

    Raises:
        Fatal: they cannot.
    """
    for name, section in (("ingress", settings.ingress), ("dashboard", settings.dashboard)):
        serving(section.certificate, section.private_key, name)


Programs = Callable[[Settings, Sequence[str]], list[list[Program]]]
"""What is to run with some settings, whose arguments name them to a child: in stages, in the order of replacement."""


class Fleet:
    """Programs that run with the same settings.

    Args:
        supervisor: runs them.
        configuration: where the settings are read.
        programs: that there are to be.
        prepare: what has to be done before they run with new settings, given the old and the new.
        between: what has to be done before the next stage is replaced, given the same.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        configuration: Configuration,
        programs: Programs,
        prepare: Callable[[Settings, Settings], Awaitable[None]],
        between: Callable[[Settings, Settings], Awaitable[None]],
    ) -> None:
        self._supervisor = supervisor
        self._configuration = configuration
        self._programs = programs
        self._prepare = prepare
        self._between = between
        self._running: dict[str, Program] = {}
        self.settings, self._arguments = configuration.read()

    async def start(self, *, wait: bool = True) -> None:
        """Start all of them.

        Args:
            wait: until they are ready.

        Raises:
            Fatal: one could not be started.
        """
        programs = [program for stage in self._programs(self.settings, self._arguments) for program in stage]
        await self._supervisor.start(*(each if wait else replace(each, tells_ready=False) for each in programs))
        self._running = {program.name: program for program in programs}

    async def reload(self) -> None:
        """Replace them, one after the other, by those that run with the settings as they are now.

        Raises:
            GridstreamError: the settings are wrong, or one cannot run with them. Then all go on with the old ones.
        """
        old = self.settings
        new, arguments = self._configuration.read()
        await self._prepare(old, new)
        stages = self._programs(new, arguments)
        replaced: list[Program] = []
        try:
            for number, stage in enumerate(stages):
                if number:
                    await self._between(old, new)
                for program in stage:
                    await self._put(program)
                    replaced.append(program)
        except GridstreamError:
            for program in reversed(replaced):
                await self._take_back(program)
            _close_unused(stages, [self._running.values()])
            raise
        for name in self._running.keys() - {program.name for stage in stages for program in stage}:
            await self._supervisor.stop(name)
        _close_unused([self._running.values()], stages)
        self._running = {program.name: program for stage in stages for program in stage}
        self.settings = new

    async def keep_running(
        self, asked: asyncio.Event, stopped: asyncio.Event, on_outcome: Callable[[str], None] = lambda _error: None
    ) -> None:
        """Reload whenever the process is told to, until it is told to stop.

        Args:
            asked: is set when it is to reload,
            stopped: and when it is to stop.
            on_outcome: is told what was wrong, or nothing.
        """
        reloading = asyncio.ensure_future(self._keep_reloading(asked, on_outcome))
        stopping = asyncio.ensure_future(stopped.wait())
        await asyncio.wait({reloading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        reloading.cancel()
        with suppress(asyncio.CancelledError):
            await reloading

    async def _keep_reloading(self, asked: asyncio.Event, on_outcome: Callable[[str], None]) -> None:
        while True:
            await asked.wait()
            asked.clear()
            try:
                await self.reload()
            except GridstreamError as error:
                log.warning("not reloaded; everything goes on as it was", reason=str(error))
                on_outcome(str(error))
            else:
                log.info("reloaded", sources=[source.name for source in self.settings.sources])
                on_outcome("")

    async def _put(self, program: Program) -> None:
        if program.name in self._running:
            await self._supervisor.replace(program)
            return
        try:
            await self._supervisor.start(program)
        except GridstreamError:
            await self._supervisor.stop(program.name)
            raise

    async def _take_back(self, program: Program) -> None:
        before = self._running.get(program.name)
        if before:
            await self._supervisor.replace(before)
        else:
            await self._supervisor.stop(program.name)


async def prepare(settings: Settings, data: DataFolder, *, databases: bool = True) -> None:
    """Make what is needed to run with some settings: topics, beginnings of destinations, databases.

    Args:
        settings: read.
        data: where an embedded engine's password is.
        databases: also what is missing in ClickHouse.

    Raises:
        Retry, Reject, Fatal: Kafka or ClickHouse would not.
    """
    check_certificates(settings)
    await schema.ensure_topics(settings)
    if not settings.kafka.bootstrap_servers:
        await schema.configure_topics(settings)  # those that were there share their room with what came
    await ensure_beginnings(settings)
    if databases:
        async with data.connection(settings) as clickhouse:
            for source, days in settings.retention_days.items():
                if await schema.missing_columns(source, clickhouse):
                    await schema.apply({source: days}, clickhouse, settings.clickhouse.cluster)


async def finish_removed(old: Settings, new: Settings) -> None:
    """Wait until what removed sources have taken in is stored, but not for long: what is left waits in Kafka."""
    removed = {source.name for source in old.sources} - {source.name for source in new.sources}
    deadline = time.monotonic() + _FINISH_SECONDS
    while removed and await _behind(old, removed):
        if time.monotonic() > deadline:
            log.warning("records of removed sources wait in Kafka; configured again, they go on", sources=removed)
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _behind(settings: Settings, sources: Collection[str]) -> bool:
    """Whether any records of some sources are not processed.

    Groups are asked in the order data flows: what one has done, the next ones have before them.
    """
    async with Admin(settings.kafka.cluster) as admin:
        for group in groups(settings):
            read = [topic for topic in group.topics if owner(topic) in sources]
            if read:
                committed = await admin.committed(group.name)
                if any(lags_of(await admin.offsets(read), committed, read).values()):
                    return True
    return False


def _close_unused(gone: Iterable[Iterable[Program]], used: Iterable[Iterable[Program]]) -> None:
    """Close the ports of programs that others do not have, too."""
    kept = {each for programs in used for program in programs for each in program.sockets}
    for programs in gone:
        for program in programs:
            ports.close(each for each in program.sockets if each not in kept)


Work = Callable[[], Coroutine[Any, Any, None]]
"""What a process does until SIGTERM."""


def run(work: Work, prepare: Callable[[], Awaitable[None]]) -> None:
    """Do the work of a process; when it is told to reload, end it in good order and begin anew, as the same process.

    Args:
        work: that it does.
        prepare: reads the new settings, and raises what is wrong with them: then the work goes on.
    """
    if not asyncio.run(_until_reloaded(work, prepare)):
        return
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the new program listens to it
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  the same command


async def _until_reloaded(work: Work, prepare: Callable[[], Awaitable[None]]) -> bool:
    asked = reload_event()
    working = asyncio.ensure_future(work())
    while True:
        told = asyncio.ensure_future(asked.wait())
        await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if working.done():
            working.result()
            return False
        asked.clear()
        try:
            await prepare()
        except GridstreamError as error:
            log.warning("not reloaded; everything goes on as it was", reason=str(error))
            continue
        log.info("reloading")
        ports.keep()
        signal.raise_signal(signal.SIGTERM)
        await working
        return True
