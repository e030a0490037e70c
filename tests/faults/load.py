"""Load that knows what must become of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from streams.simulator.feed import Body, Feed, FeedEvent
from streams.simulator.simulate import Report, simulate

_SEEDS = count(1)
_SCRAP_EVERY = 97
"""One element in so many is no event, and has to become a dead letter."""

Identity = tuple[str, int]
"""An event's id and its time in seconds."""


def identities(content: Iterable[Body]) -> set[Identity]:
    """Of the events in bodies."""
    return {_identity(event) for body in content for event in orjson.loads(body.content)}


def _identity(event: dict[str, Any]) -> Identity:
    return event["sg_event_id"], event["timestamp"]


@dataclass(slots=True)
class Sent:
    """What has been acknowledged, and so must be a row or a dead letter.

    Attributes:
        events: each of them a row,
        scraps: and each of these, which are no events, a dead letter.
    """

    events: set[Identity] = field(default_factory=set)
    scraps: set[str] = field(default_factory=set)


class Load(Sent):
    """A simulated feed that is posted as SendGrid does it: each body again until it is acknowledged.

    Args:
        rate: events a second.
        sizes: how many events a body has at least and at most.

    Attributes:
        acknowledged: how many events have been acknowledged so far; once it has ended, all.
    """

    def __init__(self, rate: float, sizes: tuple[int, int]) -> None:
        super().__init__()
        self._rate = rate
        self._sizes = sizes
        self._ending = False
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
            self.events.add(_identity(orjson.loads(event.line)))
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
