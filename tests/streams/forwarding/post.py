"""A delivery to a fake Amplitude whose time passes as soon as anybody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import orjson

from connectors.amplitude import Amplitude
from connectors.kafka import Headers, Producer, Record
from schemas.amplitude import AmplitudeEvent
from streams.aside import Aside
from streams.chunks import Chunk
from streams.forwarding.delivery import Delivery
from streams.forwarding.lane import Item
from streams.outstanding import Ticket
from streams.pace import Pace
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.clock import Clock
from tests.fakes.conftest import NOON

_PATIENCE_SECONDS = 20


class FakeRecord(NamedTuple):
    """What is read of aiokafka's ConsumerRecord."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes
    headers: Headers


class Letters:
    """A producer that keeps what is published.

    Attributes:
        all: the dead letters, by payload.
    """

    def __init__(self) -> None:
        self.all: dict[bytes, dict[str, Any]] = {}

    async def publish(self, topic: str, record: Record) -> None:
        letter = orjson.loads(record.value)
        self.all[letter["payload"].encode()] = letter | {"to": topic}


@dataclass
class Post:
    """What a test does with it.

    Attributes:
        fake: the Amplitude.
        letters: what was put aside.
        chunks: all that came, with their events.
    """

    fake: FakeAmplitude
    amplitude: Amplitude
    letters: Letters = field(default_factory=Letters)
    chunks: list[tuple[Chunk, list[AmplitudeEvent]]] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _delivery: Delivery | None = None
    _records: dict[int, list[FakeRecord]] = field(default_factory=dict)

    @property
    def aside(self) -> Aside:
        """Where what is refused goes."""
        return Aside("sendgrid", "forward", "sendgrid.forward", cast("Producer", self.letters))

    @property
    def delivery(self) -> Delivery:
        """The worker's, at the moment."""
        assert self._delivery
        return self._delivery

    async def begin(self) -> None:
        """A worker starts: everything that was not acknowledged comes again."""
        pace = Pace(self.fake.clock.now, self._sleep, self._wait)
        self._delivery = await self._stack.enter_async_context(
            Delivery("test", self.amplitude, self.aside, 1_000, pace)
        )
        for chunk, events in self.chunks:
            if not chunk.acknowledged:
                await self._put(chunk, events)

    async def crash(self) -> None:
        """It is killed, and starts again."""
        await self._stack.aclose()
        await self.begin()

    async def put(self, events: Iterable[AmplitudeEvent], *, age: float = 0, headers: Headers | None = None) -> Chunk:
        """A chunk of events comes, so many seconds old."""
        some = list(events)
        at = int((self.fake.clock.now() - age) * 1000)
        records = [FakeRecord("sendgrid.events.open", 0, 0, at, event.content, headers or []) for event in some]
        chunk = Chunk.of("sendgrid.events.open", 0, records, 0)
        self.chunks.append((chunk, some))
        self._records[id(chunk)] = records
        await self._put(chunk, some)
        return chunk

    async def _put(self, chunk: Chunk, events: Sequence[AmplitudeEvent]) -> None:
        ticket = Ticket(chunk, len(events))
        items = [Item(*pair, ticket, 1) for pair in zip(events, self._records[id(chunk)], strict=True)]
        await self.delivery.put(items, ticket)

    async def done(self, is_so: Callable[[], bool] | None = None) -> None:
        """Wait until all chunks are acknowledged, or something else is so."""
        failure = asyncio.ensure_future(self.delivery.failure())
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not (is_so() if is_so else all(chunk.acknowledged for chunk, _ in self.chunks)):
                if failure.done():
                    failure.result()
                await asyncio.sleep(0)
        failure.cancel()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.fake.clock.advance(seconds)

    async def _wait(self, event: asyncio.Event, seconds: float | None) -> None:
        await asyncio.sleep(0)
        if seconds is None:
            await event.wait()
        elif not event.is_set():
            self.fake.clock.advance(seconds)


def event(number: int, user: str = "ada@example.com", **changes: Any) -> AmplitudeEvent:
    content = {"event_type": "[Sendgrid] open", "user_id": user, "insert_id": f"event-{number}", "time": 1} | changes
    return AmplitudeEvent(user, orjson.dumps(content))


@asynccontextmanager
async def opened() -> AsyncIterator[Post]:
    """A fake whose time stands still but for those who wait, and a delivery to it."""
    async with FakeAmplitude(Clock(NOON)) as fake, Amplitude(fake.api_key, fake.url, 1) as amplitude:
        post = Post(fake, amplitude)
        await post.begin()
        try:
            yield post
        finally:
            await post._stack.aclose()
