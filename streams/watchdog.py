"""A worker that makes no progress while there is work says so and ends, so that its supervisor starts it again.

Progress is what Kafka sees: committed offsets that move, in each partition that has records waiting, so that one agent
that hangs is not hidden by others that work. Waiting in a logged retry counts as progress too: whatever is away must
come back, and starting again would not help.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping

import faust
import structlog

from connectors.errors import Fatal, GridstreamError
from connectors.kafka import Admin, Cluster
from streams import delivery
from streams.groups import Partition, lags_of
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


class Waiting:
    """Since when each partition has records that wait, with none of them being done."""

    def __init__(self) -> None:
        self._since: dict[Partition, tuple[int | None, float]] = {}

    def look(
        self, lags: Mapping[Partition, int], committed: Mapping[Partition, int], now: float
    ) -> Mapping[str, float]:
        """Compare with the last look.

        Args:
            lags: of the partitions that matter.
            committed: offsets.
            now: in seconds.

        Returns:
            By topic, for how many seconds its slowest partition has waited; only of topics that have waited at all.
        """
        before, self._since = self._since, {}
        waited: dict[str, float] = {}
        for partition, lag in lags.items():
            if not lag:
                continue
            offset = committed.get(partition)
            known, began = before.get(partition, (offset, now))
            self._since[partition] = offset, began if known == offset else now
            waited[partition[0]] = max(waited.get(partition[0], 0.0), now - self._since[partition][1])
        return waited


async def watch(app: faust.App, cluster: Cluster, read: Iterable[str], seconds: float) -> None:
    """Return never.

    Args:
        app: started; its id is its consumer group.
        cluster: of Kafka.
        read: the topics that the worker reads.
        seconds: without progress, after which it counts as stuck.

    Raises:
        Fatal: it is stuck.
    """
    topics = list(read)
    loop = LoopWatch(2 * seconds)
    waiting = Waiting()
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        loop.tick()
        try:
            async with Admin(cluster) as admin:
                committed = await admin.committed(app.conf.id)
                lags = lags_of(await admin.offsets(topics), committed, topics)
        except GridstreamError:
            waiting = Waiting()  # Kafka is away
            continue
        mine = assigned(app)
        now = time.monotonic()
        relevant = {partition: lag for partition, lag in lags.items() if partition in mine or not mine}
        patience = now - delivery.RETRIES.last
        stuck = {topic: waited for topic, waited in waiting.look(relevant, committed, now).items() if waited > seconds}
        if stuck and patience > seconds:
            names = ", ".join(stuck)
            log.error("stuck", topics=names, seconds=round(max(stuck.values())), agents=app.agents.human_tracebacks())
            records = sum(lag for (topic, _), lag in relevant.items() if topic in stuck)
            raise Fatal(f"no progress for {max(stuck.values()):.0f} s with {records} records waiting in {names}")
