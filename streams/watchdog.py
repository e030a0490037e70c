"""A worker that makes no progress while there is work says so and ends, so that its supervisor starts it again.

Progress is what Kafka sees: committed offsets that move. Waiting in a logged retry counts as progress too: whatever is
away must come back, and starting again would not help.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterable

import faust
import structlog

from connectors.errors import Fatal, GridstreamError
from connectors.kafka import Admin
from streams import delivery
from streams.groups import lags_of
from streams.transport import assigned

log = structlog.get_logger()

_LOOKS = 10
"""How often is looked within the time after which a worker counts as stuck."""


class LoopWatch:
    """Ends the process when its event loop stands still: then nothing that runs in the loop can.

    Args:
        seconds: after which it does.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._alive = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def tick(self) -> None:
        """The loop is alive."""
        self._alive = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._alive < self._seconds:
            time.sleep(self._seconds / _LOOKS)
        print("gridstream: the event loop stands still; ending", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


async def watch(app: faust.App, servers: str, read: Iterable[str], seconds: float) -> None:
    """Return never.

    Args:
        app: started; its id is its consumer group.
        servers: of Kafka.
        read: the topics that the worker reads.
        seconds: without progress, after which it counts as stuck.

    Raises:
        Fatal: it is stuck.
    """
    topics = list(read)
    loop = LoopWatch(2 * seconds)
    committed: dict[tuple[str, int], int] = {}
    moved = time.monotonic()
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        loop.tick()
        try:
            async with Admin(servers) as admin:
                now = await admin.committed(app.conf.id)
                lags = lags_of(await admin.offsets(topics), now, topics)
        except GridstreamError:
            moved = time.monotonic()  # Kafka is away
            continue
        mine = assigned(app)
        waiting = sum(lag for partition, lag in lags.items() if partition in mine or not mine)
        if now != committed or not waiting:
            committed, moved = now, time.monotonic()
        idle = time.monotonic() - max(moved, delivery.RETRIES.last)
        if idle > seconds:
            log.error("stuck", records=waiting, seconds=round(idle), agents=app.agents.human_tracebacks())
            raise Fatal(f"no progress for {idle:.0f} s with {waiting} records waiting")
