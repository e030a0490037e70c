"""How fast events reach Amplitude beside ids that have too many, and how fast an outage is made up for.

Run it with `python -m bench.forward`. A real Kafka, a real worker, and the fake Amplitude with the documented limits;
producer, fake and worker share the machine. Latency is from publishing a normalized event to Amplitude having it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import orjson
from rich.console import Console

from connectors.kafka import Admin, Producer, partition_of
from schemas import topics
from schemas.columns import time_text
from schemas.events import EVENTS
from streams import embedded
from streams.beginnings import ensure_beginnings
from streams.datafolder import DataFolder
from streams.forwarding.delivery import BEHIND_SECONDS
from streams.groups import groups
from streams.schema import ensure_topics
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.faults import Respond

_RATE = 2_000
_SECONDS = 60
_IDS = 1_000
_NOISY_IDS = 10
_NOISY_RATE = 60
"""Events a second of each noisy id: twice what HTTP V2 takes of one."""
_OUTAGE_SECONDS = 120
_TICK_SECONDS = 0.1
_OPEN = next(event for event in EVENTS if event.name == "open")


CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)


class Feed:
    """Publishes normalized events."""

    def __init__(self, producer: Producer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._numbers = count()
        self.sent = 0

    async def run(self, seconds: float) -> None:
        """For so many seconds, at the rate."""
        begin = time.perf_counter()
        for tick in range(round(seconds / _TICK_SECONDS)):
            await asyncio.sleep(max(0.0, begin + tick * _TICK_SECONDS - time.perf_counter()))
            await self.publish(_TICK_SECONDS)

    async def publish(self, seconds: float) -> None:
        """As many events at once as come in so many seconds."""
        noisy = round(_NOISY_IDS * _NOISY_RATE * seconds)
        outgoing = self._producer.outgoing()
        for number in range(round(_RATE * seconds)):
            user = f"noisy-{number % _NOISY_IDS}" if number < noisy else f"user-{next(self._numbers) % _IDS}"
            key = user.encode()
            outgoing.add(self._topic, partition_of(key, self._partitions), key, self._line(user))
            self.sent += 1
        await self._producer.publish_all(outgoing)

    def _line(self, user: str) -> bytes:
        now = time.time()
        return orjson.dumps(
            {
                "event_id": f"event-{next(self._numbers)}",
                "user_id": user,
                "email": "someone@example.com",
                "event": "open",
                "timestamp": time_text(int(now * 1000)),
                "received_at": time_text(int(now * 1000)),
                "useragent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
                "ip": "192.0.2.7",
                "category": ["receipts"],
                "sg_message_id": "0GOQ6fMTTmiZpLh7usBJwg.recvd-67fdc7b4d6-wbpn9-1-666CAB97-15.0",
                "custom_args": {"amp_user_id": user, "published": str(now)},
            }
        )


class Arrivals(FakeAmplitude):
    """Notes when events arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.keep_bodies = False
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self.on_answer = lambda _: self.note()

    def note(self) -> None:
        """Events have come: how long each took, by whether its id is a noisy one."""
        now = time.time()
        for event in self.events:
            published = float(event["event_properties"]["custom_args"]["published"])
            self.seconds[event["user_id"].startswith("noisy")].append(now - published)
        self.events.clear()

    @property
    def total(self) -> int:
        """How many have come."""
        return sum(map(len, self.seconds.values()))


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait for something that happens in this process."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110  polled, with a bound
            await asyncio.sleep(0.05)


async def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        async with Arrivals() as fake, Supervisor() as supervisor:
            data = DataFolder(Path(folder))
            data.prepare()
            entry = {"api_key": fake.api_key, "url": fake.url, "events": ["open"]}
            settings = Settings(kafka={"embedded_port": embedded.free_port()}, amplitude=[entry])
            await supervisor.start(await embedded.kafka(settings, data))
            await ensure_topics(settings)
            await ensure_beginnings(settings)
            variables = {
                "GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.servers,
                "GRIDSTREAM_AMPLITUDE": orjson.dumps([entry]).decode(),
                "GRIDSTREAM_WORKER__METRICS_PORT": "0",
            }
            command = [sys.executable, "-m", "streams.cli", "worker", "forward"]
            await supervisor.start(Program("forward", command, environment=variables, log=Path(folder) / "forward.log"))
            (group,) = [group for group in groups(settings) if group.role == "forward"]
            async with Admin(settings.kafka.cluster) as admin:
                while not await admin.members(group.name):  # noqa: ASYNC110  another process
                    await asyncio.sleep(0.1)
            async with Producer(settings.kafka.cluster) as producer:
                topic = topics.events("sendgrid", _OPEN)
                feed = Feed(producer, topic, await producer.partitions(topic))
                await _latency(feed, fake)
                await _drain(feed, fake)


async def _latency(feed: Feed, fake: Arrivals) -> None:
    await feed.run(_SECONDS)
    await until(lambda: fake.total >= feed.sent, 120)
    statuses = [f"{call.path} {call.status}" for call in fake.calls]
    ids = f"{_NOISY_IDS} of {_IDS + _NOISY_IDS:,} ids with {_NOISY_RATE} events/s each"
    CONSOLE.print(f"{_RATE:,} events/s for {_SECONDS} s, {ids}")
    CONSOLE.print("| ids | events | p50 s | p99 s | longest s |")
    CONSOLE.print("|---|---|---|---|---|")
    for noisy, name in ((False, "others"), (True, "noisy")):
        seconds = fake.seconds[noisy]
        cuts = statistics.quantiles(seconds, n=100)
        CONSOLE.print(f"| {name} | {len(seconds):,} | {cuts[49]:.2f} | {cuts[98]:.2f} | {max(seconds):.2f} |")
    CONSOLE.print("requests:", ", ".join(f"{name}: {statuses.count(name):,}" for name in sorted(set(statuses))))


async def _drain(feed: Feed, fake: Arrivals) -> None:
    outage = fake.fail("POST", "/*", Respond(503), times=None)
    before = fake.total
    for _ in range(_OUTAGE_SECONDS):
        await feed.publish(1.0)
    await asyncio.sleep(BEHIND_SECONDS)
    calls = len(fake.calls)
    outage.stop()
    begin = time.perf_counter()
    waiting = feed.sent - before
    await until(lambda: fake.total >= feed.sent, 600)
    seconds = time.perf_counter() - begin
    batches = [call for call in fake.calls[calls:] if call.path == "/batch" and call.status == 200]  # noqa: PLR2004
    rate = waiting / seconds
    CONSOLE.print(
        f"\nAfter an outage: {waiting:,} events in {seconds:.1f} s, {rate:,.0f} events/s, {len(batches):,} requests"
    )
    hour = _RATE * 3600 / (rate - _RATE) / 60
    CONSOLE.print(f"An hour's outage at {_RATE:,} events/s is made up for in {hour:.0f} minutes beside it.")


if __name__ == "__main__":
    asyncio.run(main())
