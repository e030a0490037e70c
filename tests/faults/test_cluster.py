"""A cluster of three brokers that loses one, and two."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connectors.embedded import jars
from connectors.embedded.kafka import Broker, new_cluster_id, prepare
from connectors.kafka import Cluster
from schemas import topics
from streams import embedded
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.faults.catalogue import fault
from tests.faults.conftest import Recorder, Servers
from tests.faults.rig import Rig
from tests.pipeline import running

_NODES = (1, 2, 3)


@pytest.fixture(scope="module")
async def brokers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Supervisor]]:
    """Three brokers that each know all, and where they are."""
    folder = tmp_path_factory.mktemp("cluster")
    files = jars.jars(embedded.cache() / "jars")
    controllers = tuple(embedded.free_port() for _ in _NODES)
    cluster_id = new_cluster_id()
    programs, addresses = [], []
    for node in _NODES:
        broker = Broker(folder / str(node), embedded.free_port(), controllers, node)
        address = f"127.0.0.1:{broker.port}"
        command = prepare(broker, files, cluster_id)
        ready = partial(embedded.kafka_answers, Cluster(address))
        programs.append(Program(f"broker {node}", command, ready, log=folder / f"{node}.log"))
        addresses.append(address)
    async with Supervisor() as supervisor:
        await supervisor.start(*programs)
        yield ",".join(addresses), supervisor


@pytest.fixture(scope="module")
async def clustered(
    brokers: tuple[str, Supervisor], mortals: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[Recorder], Rig]]:
    """Makes a rig of the pipeline that runs on them."""
    servers, supervisor = brokers
    settings = Settings(
        kafka={"bootstrap_servers": servers}, clickhouse={"url": mortals.data.clickhouse_url(mortals.settings)}
    )
    folder = tmp_path_factory.mktemp("clustered")
    async with running(settings, mortals.data, "clustered", folder) as pipeline:
        yield partial(Rig, pipeline, supervisor, mortals.proxy)


async def leader_of(rig: Rig, topic: str) -> int:
    """The broker that leads a topic's first partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.pipeline.servers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return int(described["partitions"][0]["leader"])


@fault(
    "kill -9 of the broker that leads the raw topic, one of three, min.insync.replicas=2",
    seen="posts wait until another broker leads; some may be answered 503, and SendGrid repeats them",
)
async def test_a_leader_that_dies_takes_nothing_along_that_was_acknowledged(
    clustered: Callable[[Recorder], Rig], record: Recorder
) -> None:
    rig = clustered(record)
    async with rig.load() as load:
        await load.more(100)
        await rig.kill(f"broker {await leader_of(rig, topics.raw(rig.pipeline.source))}")
        await load.more(200)


@fault(
    "two of three brokers stop answering, min.insync.replicas=2",
    seen="posts are answered 503 until one is back: no answer is a 200 for what only one broker has",
)
async def test_what_only_one_broker_has_is_not_acknowledged(
    clustered: Callable[[Recorder], Rig], record: Recorder
) -> None:
    rig = clustered(record)
    async with rig.load() as load:
        await load.more(100)
        frozen = [rig.pid(f"broker {node}") for node in _NODES[1:]]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        await rig.says("ingress", "not accepted", 3)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        rig.recovering()
        await load.more(100)
