"""Statements that bring no data, run in a thread, their result read here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from connectors.embedded.engine.connection import Outcome
from connectors.embedded.engine.errand import Errand
from connectors.embedded.engine.lanes import Lane
from connectors.embedded.engine.pipe import Pipe
from connectors.embedded.engine.plan import plan

_AGAIN = 0.1  # seconds


class Result(NamedTuple):
    """A result on its way."""

    stream: asyncio.StreamReader
    pipe: Pipe
    job: "asyncio.Future[Outcome]"

    @property
    def format(self) -> str:
        """Its format, once there is something of it."""
        return self.pipe.format

    async def read(self, size: int) -> bytes:
        """The next bytes: so many, fewer only at the end."""
        try:
            return await self.stream.readexactly(size)
        except asyncio.IncompleteReadError as end:
            return end.partial

    async def outcome(self) -> Outcome:
        """What the statement did, when it has ended.

        Raises:
            QueryError: It failed, perhaps after a part of the result.
        """
        return await asyncio.shield(self.job)


@contextlib.asynccontextmanager
async def running(errand: Errand, lane: Lane, control: Lane, text: bytes) -> AsyncIterator[Result]:
    """Run a statement for as long as its result is wanted: on leaving, a reading one is ended.

    Args:
        errand: The request.
        lane: The threads for it.
        control: The thread from which it can be ended.
        text: The statement.

    Raises:
        QueryError: 202.
    """
    with lane.place():
        pipe = Pipe()
        job = lane.start(_execute, errand, text, pipe)
        outcome = asyncio.wrap_future(job)
        outcome.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody else asks
        try:
            async with pipe.opened() as stream:
                yield Result(stream, pipe, outcome)
        finally:
            if job.cancel():
                pipe.end()  # it was still waiting for a thread
            else:
                await _ended(errand, control, outcome, pipe)


async def _ended(errand: Errand, control: Lane, outcome: "asyncio.Future[Outcome]", pipe: Pipe) -> None:
    while not outcome.done():
        if pipe.written:  # again and again: it may have been about to begin
            await control.run(errand.database.kill, errand.request.mark)
        await asyncio.wait([outcome], timeout=_AGAIN)


def _execute(errand: Errand, text: bytes, pipe: Pipe) -> Outcome:
    try:
        with errand.connected() as connection:
            request = errand.request
            planned = plan(errand, connection, text, pipe.path)
            pipe.format = planned.format
            pipe.written = planned.led
            mark = f" /* {request.mark} */".encode() if planned.led else b""
            return connection.run(planned.text + mark, planned.format, request.parameters)
    finally:
        pipe.end()
