"""Copies of POSTs to a consumer that may be ill, in a time that passes as soon as anybody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest

from connectors.event_webhook import Signer
from connectors.kafka import Headers, Producer, Record
from connectors.relay import Consumer
from schemas.relay import Copy
from streams.aside import Aside
from streams.chunks import Chunk
from streams.pace import REAL_PACE, Pace
from streams.relaying import Relay
from tests.fakes.clock import Clock
from tests.fakes.conftest import NOON
from tests.fakes.consumer import FakeConsumer
from tests.fakes.faults import LOST_ANSWER, Drop, Fault, Hang, Respond
from tests.fakes.server import Answer, Call
from tests.streams.forwarding.post import FakeRecord

SIGNER = Signer.generate()
DAY = 24 * 3600.0
_PATIENCE_SECONDS = 20


class Choosy(FakeConsumer):
    """Answers 500 to bodies with some text."""

    refused = b""

    async def answer(self, call: Call) -> Answer:
        return Answer(500) if self.refused and self.refused in call.content else await super().answer(call)


@dataclass
class World:
    """One relay and its consumer.

    Attributes:
        published: by topic.
    """

    consumer: Choosy
    published: dict[str, list[Record]] = field(default_factory=dict)
    coming: dict[str, "asyncio.Queue[Chunk]"] = field(default_factory=dict)

    async def publish(self, topic: str, record: Record) -> None:
        self.published.setdefault(topic, []).append(record)

    def come(self, *bodies: bytes, received: float = NOON) -> Chunk:
        """Raw records come."""
        records = []
        for body in bodies:
            signed = {name.rpartition("-")[2].lower(): text for name, text in SIGNER.headers("17", body).items()}
            about = {"received_at": str(int(received * 1000)), "content_type": "application/json"} | signed
            headers = [(name, text.encode()) for name, text in about.items()]
            records.append(FakeRecord("sendgrid.raw", 0, 0, int(received * 1000), body, headers))
        return self.chunk("raw", records)

    def come_again(self, *published: Record) -> Chunk:
        """What was published to the topic of its own comes from there."""
        made = [FakeRecord("sendgrid.relay", 0, 0, 0, record.value, record.headers) for record in published]
        return self.chunk("again", made)

    def chunk(self, agent: str, records: list[FakeRecord]) -> Chunk:
        chunk = Chunk.of("", 0, records, 0)
        self.coming[agent].put_nowait(chunk)
        return chunk

    async def acknowledged(self, *chunks: Chunk) -> None:
        await self.until(lambda: all(chunk.acknowledged for chunk in chunks))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not is_so():
                await asyncio.sleep(0)

    def letters(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.published.get("sendgrid.dead-letters", [])]


@asynccontextmanager
async def relaying() -> AsyncIterator[World]:
    clock = Clock(NOON)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        clock.advance(seconds)

    async with Choosy(SIGNER.public_key, clock) as fake, Consumer(fake.url, 0.5) as consumer:
        world = World(fake)
        producer = cast("Producer", world)
        aside = Aside("sendgrid", "relay", "sendgrid.relay", producer)
        pace = Pace(clock.now, sleep, REAL_PACE.wait)
        async with Relay("old", "sendgrid", consumer, aside, producer, 24, pace) as relay:
            agents = []
            for name, agent in (("raw", relay.raw), ("again", relay.again)):
                queue = world.coming[name] = asyncio.Queue()
                agents.append(asyncio.ensure_future(agent(_stream(queue))))
            yield world
            for each in agents:
                each.cancel()


async def _stream(queue: "asyncio.Queue[Chunk]") -> AsyncIterator[Chunk]:
    while True:
        yield await queue.get()


async def test_a_post_arrives_as_it_came_and_is_acknowledged_then() -> None:
    async with relaying() as world:
        chunk = world.come(b'[{"a":1},\r\n{"b":2}]\r\n', b"\xff no json", b"")
        await world.acknowledged(chunk)

        assert sorted(world.consumer.bodies) == [b"", b'[{"a":1},\r\n{"b":2}]\r\n', b"\xff no json"]
        assert world.consumer.calls[0].headers["content-type"] == "application/json"
        assert world.consumer.calls[0].headers["user-agent"].startswith("SendGrid Event API")


@pytest.mark.parametrize(
    "fault",
    [Respond(500), Respond(429, headers={"Retry-After": "7"}), Respond(302), Respond(400), Drop(), LOST_ANSWER, Hang()],
)
async def test_whatever_is_no_2xx_is_repeated(fault: Fault) -> None:
    async with relaying() as world:
        world.consumer.fail("POST", "/", fault, times=3)
        chunk = world.come(b"one")
        await world.acknowledged(chunk)

        assert world.consumer.bodies[-1] == b"one"
        assert len(world.consumer.calls) == 4
        assert not world.published


async def test_a_consumer_that_is_away_for_a_day_gets_what_is_not_older() -> None:
    async with relaying() as world:
        away = world.consumer.fail("POST", "/", 503, times=None)
        old, new = world.come(b"old", received=NOON - DAY + 3600), world.come(b"new", received=NOON)
        await world.acknowledged(old)
        assert not new.acknowledged
        away.stop()
        await world.acknowledged(new)

        assert world.consumer.bodies == [b"new"]
        (letter,) = world.letters()
        assert (letter["step"], letter["topic"], letter["state"]) == ("relay", "sendgrid.relay", "waiting")
        assert letter["reason"] == "the relay's consumer answered 503"
        assert Copy.of_line(letter["payload"].encode())[1].body == b"old"


async def test_what_is_too_old_does_not_wait_for_a_consumer_that_is_away() -> None:
    async with relaying() as world:
        away = world.consumer.fail("POST", "/", 503, times=None)
        new = world.come(b"new")
        await world.until(lambda: world.consumer.clock.now() > NOON + 300)
        tried = len(world.consumer.calls)
        await world.acknowledged(world.come(*(b"old %d" % number for number in range(200)), received=NOON - DAY))
        assert len(world.letters()) == 200
        assert len(world.consumer.calls) < tried + 50

        away.stop()
        await world.acknowledged(new)
        await world.acknowledged(world.come(b"not too old to be tried once", received=NOON - DAY))
        assert world.consumer.bodies == [b"new", b"not too old to be tried once"]


async def test_what_only_it_is_refused_holds_up_nobody_and_is_tried_for_a_day() -> None:
    async with relaying() as world:
        world.consumer.refused = b"bad"
        first = world.come(b"bad", *(b"good %d" % number for number in range(20)))
        await world.until(lambda: len(world.consumer.bodies) == 20)
        more = world.come(b"good 21", b"good 22")
        await world.acknowledged(first, more)
        (later,) = world.published["sendgrid.relay"]

        tried = len(world.consumer.calls)
        began = world.consumer.clock.now()
        chunk = world.come_again(later)
        await world.until(lambda: len(world.consumer.calls) > tried)
        assert world.consumer.clock.now() - began > 200
        world.consumer.refused = b""
        await world.acknowledged(chunk)
        assert world.consumer.bodies[-1] == b"bad"
        assert not world.letters()


async def test_a_replayed_letter_goes_to_its_relay_alone_and_is_done() -> None:
    async with relaying() as world:
        away = world.consumer.fail("POST", "/", 503, times=None)
        chunk = world.come(b"old", received=NOON - DAY)
        await world.acknowledged(chunk)
        (letter,) = world.letters()
        headers: Headers = [("dead_letter", orjson.dumps({**_letter(letter), "payload": ""}))]

        again = world.come_again(Record(None, letter["payload"].encode(), headers))
        await world.acknowledged(again)
        assert world.letters()[-1]["state"] == "waiting"
        assert world.letters()[-1]["id"] == letter["id"]
        assert "; again: " in world.letters()[-1]["reason"]
        away.stop()
        for other in (b'{"relay":"other","body":"","headers":{},"received_at":0}', b"nonsense", b"5"):
            ignored = world.come_again(Record(None, other, []))
            await world.acknowledged(ignored)
        again = world.come_again(Record(None, letter["payload"].encode(), headers))
        await world.acknowledged(again)

        assert world.consumer.bodies == [b"old"]
        assert world.letters()[-1]["state"] == "replayed"


def _letter(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "source", "step", "reason", "topic", "state")
    return {name: row[name] for name in names} | {"received_at": 0, "changed_at": 0}


async def test_an_element_that_is_normalized_again_is_no_post() -> None:
    async with relaying() as world:
        record = FakeRecord("sendgrid.raw", 0, 0, 0, b"{}", [("dead_letter", b"{}")])
        chunk = world.chunk("raw", [record])
        await world.acknowledged(chunk)

        assert not world.consumer.calls
