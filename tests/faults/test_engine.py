"""What plain Faust loses, and the same mistakes on our transport, which lose nothing.

Each test makes a mistake twice on the same broker: on Faust's own transport and acknowledgements, where records end up
committed though nobody has inserted them, and on ours, where they come again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faust
import pytest

from connectors.errors import Fatal
from connectors.kafka import Admin, Cluster
from streams import app as wiring
from streams import worker
from streams.batching import BatchPolicy, batches
from streams.settings import Settings
from tests.pipeline import fill

Agent = Callable[[Any], Any]

_RECORDS = 10
_PATIENCE_SECONDS = 60
_COMMITS = 4
"""Commit intervals after which what will be committed has been."""
_COMMIT_SECONDS = 0.2


class Engine:
    """A stream engine on a topic of its own with ten records."""

    def __init__(self, servers: str, name: str) -> None:
        self.servers = servers
        self.topic = name
        self.given: list[bytes] = []
        self.at_work = asyncio.Event()

    async def fill(self) -> None:
        async with Admin(Cluster(self.servers)) as admin:
            await admin.ensure_topics({self.topic: {}}, 1, 1)
        await fill(self.servers, self.topic, *(str(number).encode() for number in range(_RECORDS)))

    def app(self, agent: Agent, **options: Any) -> faust.App:
        raise NotImplementedError

    def values(self, received: Any) -> list[bytes]:
        """The records in what an agent was given."""
        raise NotImplementedError

    def take(self, received: Any) -> None:
        """Note what an agent was given."""
        self.given += self.values(received)
        self.at_work.set()

    @asynccontextmanager
    async def running(self, agent: Agent, **options: Any) -> AsyncIterator[faust.App]:
        """An app with an agent that has begun its work."""
        self.at_work.clear()
        app = self.app(agent, **options)
        await app.start()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.at_work.wait()
                yield app
        finally:
            await app.stop()

    async def committed(self) -> int:
        """How many records count as done."""
        async with Admin(Cluster(self.servers)) as admin:
            return sum((await admin.committed(f"{self.topic}-group")).values())

    async def commits(self, records: int) -> bool:
        """Whether so many records are committed while the app runs."""
        for _ in range(int(_PATIENCE_SECONDS / _COMMIT_SECONDS)):
            if await self.committed() >= records:
                return True
            await asyncio.sleep(_COMMIT_SECONDS)
        return False


class Plain(Engine):
    """Faust as it comes."""

    def app(self, agent: Agent, **options: Any) -> faust.App:
        app = faust.App(
            f"{self.topic}-group",
            broker=f"kafka://{self.servers}",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
            broker_commit_interval=_COMMIT_SECONDS,
            consumer_auto_offset_reset="earliest",
        )
        app.agent(app.topic(self.topic, value_serializer="raw"), name=self.topic, **options)(agent)
        return app

    def values(self, received: Any) -> list[bytes]:
        return received if isinstance(received, list) else [received]


class Ours(Engine):
    """gridstream's app and transport."""

    def app(self, agent: Agent, **_: Any) -> faust.App:
        app = wiring.faust_app(f"{self.topic}-group", Cluster(self.servers))
        app.conf.broker_commit_interval = _COMMIT_SECONDS
        wiring.attach(app, self.topic, agent)
        return app

    def values(self, received: Any) -> list[bytes]:
        chunks = received if isinstance(received, list) else [received]
        return [record.value for chunk in chunks for record in chunk.records]

    async def all_come_again(self) -> None:
        """After a restart, all records are given once more."""
        self.given.clear()

        async def agent(stream: Any) -> None:
            async for chunk in stream:
                self.take(chunk)
                chunk.acknowledge()

        async with self.running(agent):
            while len(self.given) < _RECORDS:
                await asyncio.sleep(_COMMIT_SECONDS)
        assert len(self.given) == _RECORDS


@pytest.fixture
async def plain(servers: Settings, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plain:
    monkeypatch.chdir(tmp_path)  # Faust makes a folder for its tables where it runs
    engine = Plain(servers.kafka.servers, f"{source}-plain")
    await engine.fill()
    return engine


@pytest.fixture
async def ours(servers: Settings, source: str) -> Ours:
    engine = Ours(servers.kafka.servers, f"{source}-ours")
    await engine.fill()
    return engine


async def test_an_insert_of_a_batch_that_fails_loses_the_batch_in_plain_faust_only(plain: Plain, ours: Ours) -> None:
    async def plain_agent(stream: Any) -> None:
        async for batch in stream.take(5, within=0.2):
            plain.take(batch)
            raise RuntimeError("the insert failed")

    async def our_agent(stream: Any) -> None:
        async for batch in batches(stream, BatchPolicy(rows=5, seconds=0.2)):
            ours.take(batch)
            raise RuntimeError("the insert failed")

    async with plain.running(plain_agent):
        assert await plain.commits(5)
    async with ours.running(our_agent):
        await asyncio.sleep(_COMMITS * _COMMIT_SECONDS)
    assert await ours.committed() == 0
    await ours.all_come_again()


async def test_a_stop_during_an_insert_loses_the_batch_in_plain_faust_only(plain: Plain, ours: Ours) -> None:
    async def plain_agent(stream: Any) -> None:
        async for batch in stream.take(5, within=0.2):
            plain.take(batch)
            await asyncio.Event().wait()

    async def our_agent(stream: Any) -> None:
        async for batch in batches(stream, BatchPolicy(rows=5, seconds=0.2)):
            ours.take(batch)
            await asyncio.Event().wait()

    async with plain.running(plain_agent):
        pass
    assert await plain.committed() >= 5
    async with ours.running(our_agent):
        pass
    assert await ours.committed() == 0
    await ours.all_come_again()


async def test_an_event_whose_processing_fails_is_lost_in_plain_faust_only(plain: Plain, ours: Ours) -> None:
    async def plain_agent(stream: Any) -> None:
        async for event in stream:
            plain.take(event)
            raise RuntimeError("it failed")

    async def our_agent(stream: Any) -> None:
        async for chunk in stream:
            ours.take(chunk)
            raise RuntimeError("it failed")

    async with plain.running(plain_agent):
        assert await plain.commits(2)
    async with ours.running(our_agent):
        await asyncio.sleep(_COMMITS * _COMMIT_SECONDS)
    assert await ours.committed() == 0
    await ours.all_come_again()


async def test_what_is_done_before_its_predecessor_is_committed_in_plain_faust_only(plain: Plain, ours: Ours) -> None:
    async def plain_agent(stream: Any) -> None:
        async for event in stream:
            plain.take(event)
            if event == b"0":
                await asyncio.Event().wait()

    async def our_agent(stream: Any) -> None:
        async for chunk in stream:
            ours.take(chunk)
            if chunk.first > 0:
                chunk.acknowledge()

    async with plain.running(plain_agent, concurrency=2):
        assert await plain.commits(_RECORDS)
    async with ours.running(our_agent):
        await ours.fill()
        while len(ours.given) < 2 * _RECORDS:
            await asyncio.sleep(_COMMIT_SECONDS)
        await asyncio.sleep(_COMMITS * _COMMIT_SECONDS)
    assert await ours.committed() == 0


async def test_an_agent_that_fails_is_given_nothing_again_in_plain_faust_and_ends_the_process_in_ours(
    plain: Plain, ours: Ours
) -> None:
    async def plain_agent(stream: Any) -> None:
        async for batch in stream.noack().noack_take(5, within=0.2):
            plain.take([event.value for event in batch])
            raise RuntimeError("the insert failed")

    async def our_agent(stream: Any) -> None:
        async for chunk in stream:
            ours.take(chunk)
            raise RuntimeError("the insert failed")

    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def guarded(stream: Any) -> None:
        await worker._guarded(our_agent, failed, stream)

    async with plain.running(plain_agent):
        await asyncio.sleep(_COMMITS * _COMMIT_SECONDS)
    assert len(plain.given) == len(set(plain.given))  # those that failed do not come again
    assert await plain.committed() == 0  # … and hold up the partition until a restart
    async with ours.running(guarded):
        with pytest.raises(Fatal, match="the insert failed"):
            await failed
    assert await ours.committed() == 0
    await ours.all_come_again()
