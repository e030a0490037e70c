"""Records and topics that Kafka takes away."""

import signal
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from connectors.kafka import Admin, Cluster
from schemas import topics
from schemas.events import EVENTS
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.faults.catalogue import fault
from tests.faults.conftest import Recorder, Servers
from tests.faults.load import Sent
from tests.faults.rig import Rig
from tests.pipeline import running
from tests.samples import sample

_DELIVERED = next(event for event in EVENTS if event.name == "delivered")


async def empty(rig: Rig, topic: str) -> int:
    """Have Kafka remove all records of a topic, as retention does: how many that took."""
    async with Admin(Cluster(rig.pipeline.servers)) as asked:
        ends = await asked.offsets([topic])
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.pipeline.servers)
    await admin.start()
    try:
        before = {TopicPartition(*tp): RecordsToDelete(before_offset=end) for tp, (_, end) in ends.items()}
        await admin.delete_records(before)
    finally:
        await admin.close()
    return sum(end - first for first, end in ends.values())


@fault(
    "retention removes raw records before normalize has read them",
    seen="`gridstream status` counts them as `expired`, at once; the log says which",
)
async def test_raw_records_that_expire_unread_are_counted(rig: Rig) -> None:
    before = (await rig.settled()).sources[rig.pipeline.source]
    async with rig.without("normalize"):
        for _ in range(10):
            assert await rig.pipeline.post(sample("click")) == 200
        await empty(rig, topics.raw(rig.pipeline.source))
        unread = (await rig.pipeline.status()).sources[rig.pipeline.source]
    async with rig.load() as load:
        await load.more(200)
    after = (await rig.settled()).sources[rig.pipeline.source]

    assert unread.expired - before.expired == 10
    assert unread.balanced
    assert unread.in_flight == 0
    assert after.expired - before.expired == 10


@fault(
    "retention removes events before store has read them",
    seen="`gridstream status` is not balanced until `gridstream replay` has filled the gap",
)
async def test_events_that_expire_unread_are_missed_and_replayed(rig: Rig) -> None:
    async with rig.posting() as load, rig.without("store"):
        await load.more(300)
        assert await empty(rig, topics.events(rig.pipeline.source, _DELIVERED))
    missed = await rig.settled()
    code, *_ = await rig.pipeline.command("replay", "--since", "1h")
    rig.recovering()
    await rig.account(load)

    assert not missed.balanced
    assert code == 0


@fault(
    "the raw topic is deleted",
    seen="posts are answered 503; a process that is started makes the topic anew, and all goes on",
)
async def test_a_topic_that_is_deleted_is_made_again_by_whoever_starts(
    servers: Settings, data: DataFolder, source: str, mortals: Servers, tmp_path: Path, record: Recorder
) -> None:
    async with running(servers, data, source, tmp_path) as pipeline:
        rig = Rig(pipeline, mortals.supervisor, mortals.proxy, record)
        async with rig.posting() as before:
            await before.more(100)
        await rig.settled()
        admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.servers)
        await admin.start()
        await admin.delete_topics([topics.raw(source)])
        await admin.close()
        async with rig.posting() as after:
            await rig.says("ingress", "not accepted")
            await rig.kill("ingress", signal.SIGTERM)
            await after.more(100)
        await rig.account(Sent(before.events | after.events, before.scraps | after.scraps))
