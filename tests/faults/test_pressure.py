"""Back-pressure: what waits, waits in Kafka, and what cannot wait there is told to come again."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from itertools import islice

import psutil

from streams.simulator.feed import Body, Feed, bodies
from tests.faults.catalogue import fault
from tests.faults.load import Sent, identities
from tests.faults.rig import KAFKA, Rig

_BODIES = 8
_EVENTS = 5_000
"""Of about 400 bytes each, in a body."""
_ROUNDS = 4


def large(seed: int) -> list[Body]:
    return list(islice(bodies(Feed(seed=seed, start=time.time() - 60), _EVENTS, _EVENTS), _BODIES))


def memory(rig: Rig, process: str) -> int:
    resident: int = psutil.Process(rig.pid(process)).memory_info().rss
    return resident


async def post_all(rig: Rig, content: Iterable[Body]) -> list[int]:
    return await asyncio.gather(*(rig.pipeline.post(body.content) for body in content))


async def normalized(rig: Rig) -> None:
    """Wait until only the store has something to do."""
    async with asyncio.timeout(120):
        while (await rig.pipeline.status()).lag["gridstream.normalize"]:
            await asyncio.sleep(0.1)


@fault(
    "ClickHouse is away while much arrives",
    seen="posts are answered 200; Kafka holds the backlog, workers no more than worker.held_bytes; then it drains",
)
async def test_with_clickhouse_away_kafka_holds_the_backlog_and_not_the_workers(rig: Rig) -> None:
    first, second = large(1_000_001), large(1_000_002)
    sent = Sent(identities(first + second))
    async with rig.clickhouse.away():
        assert set(await post_all(rig, first)) == {200}
        await normalized(rig)
        before = memory(rig, "store")
        assert set(await post_all(rig, second)) == {200}
        await normalized(rig)
        assert memory(rig, "store") - before < sum(len(body.content) for body in second) / 2
    rig.recovering()
    await rig.account(sent)


@fault(
    "Kafka stops answering while much arrives",
    seen="posts are answered 503 within seconds; the ingress's memory is bounded",
)
async def test_with_kafka_away_the_ingress_answers_503_and_keeps_nothing(rig: Rig) -> None:
    content = large(1_000_003)
    broker = rig.pid(KAFKA)
    grown = []
    os.kill(broker, signal.SIGSTOP)
    try:
        for _ in range(_ROUNDS):
            assert set(await post_all(rig, content)) == {503}
            grown.append(memory(rig, "ingress"))
    finally:
        os.kill(broker, signal.SIGCONT)
    rig.recovering()
    async with rig.load() as load:
        await load.more(100)

    assert grown[-1] - grown[0] < 1.5 * sum(len(body.content) for body in content)
