"""Load that knows what must become of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import orjson

from streams.simulator.feed import Feed, FeedEvent
from streams.simulator.simulate import Report, simulate

_SEEDS = count(1)
_SCRAP_EVERY = 97
"""One element in so many is no event, and has to become a dead letter."""

Identity = tuple[str, int]
"""An event's id and its time in seconds."""


class Load:
    """A simulated feed that is posted as SendGrid does it: each body again until it is acknowledged.

    Args:
        rate: events a second.
        sizes: how many events a body has at least and at most.

    Attributes:
        events: all that have been sent. Once the load has ended, all have been acknowledged,
        scraps: and so have these, which are no events.
        acknowledged: how many have been acknowledged so far.
    """

    def __init__(self, rate: float, sizes: tuple[int, int]) -> None:
        self._rate = rate
        self._sizes = sizes
        self._ending = False
        self.events: set[Identity] = set()
        self.scraps: set[str] = set()
        self.acknowledged = 0

    def __iter__(self) -> Iterator[FeedEvent]:
        seed = next(_SEEDS)
        for number, event in enumerate(Feed(seed=seed, start=time.time(), rate=self._rate)):
            if self._ending:
                return
            if number % _SCRAP_EVERY == 0:
                scrap = f"scrap {seed}-{number}"
                self.scraps.add(scrap)
                yield FeedEvent(orjson.dumps(scrap), is_repeat=False)
            sent = orjson.loads(event.line)
            self.events.add((sent["sg_event_id"], sent["timestamp"]))
            yield event

    @asynccontextmanager
    async def posting(self, url: str) -> AsyncIterator[None]:
        """Post meanwhile; then wait until all that was begun is acknowledged."""
        posting = asyncio.create_task(
            simulate(url, self, rate=self._rate, sizes=self._sizes, on_progress=self._on_progress)
        )
        try:
            yield
            self._ending = True
            await posting
        finally:
            posting.cancel()

    def _on_progress(self, report: Report) -> None:
        self.acknowledged = report.acknowledged

    async def more(self, events: int) -> None:
        """Wait until so many more events are acknowledged."""
        enough = self.acknowledged + events
        while self.acknowledged < enough:
            await asyncio.sleep(0.02)
