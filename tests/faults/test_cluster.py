"""A cluster of three brokers that loses one, and two; and that is restarted, one process after the other."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connectors.embedded import jars
from connectors.embedded.kafka import Broker, new_cluster_id, prepare
from connectors.errors import GridstreamError
from connectors.kafka import Admin
from schemas import topics
from streams import embedded
from streams.schema import wanted_topics
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.deploy.composition import OURS
from tests.faults.catalogue import fault
from tests.faults.conftest import Recorder, Servers
from tests.faults.load import Sent
from tests.faults.rig import PATIENCE_SECONDS, Rig
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
        ready = partial(embedded.kafka_answers, address)
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


def second(rig: Rig, service: str, variables: Mapping[str, str] | None = None) -> Program:
    """One more process of a service, by the command in the compose file."""
    program = rig.pipeline.process(f"{service}-2", OURS[service]["command"])
    return replace(program, environment={**program.environment, **(variables or {})})


async def in_sync(rig: Rig) -> None:
    """Wait until every broker has everything, so that the next one may go."""
    names = [topic.name for topic in wanted_topics(rig.pipeline.settings)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(GridstreamError):
                async with Admin(rig.pipeline.servers) as admin:
                    copies = (await admin.copies(names)).values()
                    if all(each.in_sync == each.replicas == len(_NODES) for each in copies):
                        return
            await asyncio.sleep(0.1)


async def answers(url: str) -> None:
    """Wait until a server does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await embedded.answers(url):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(900)  # ten restarts, of which those of a JVM take a busy machine a minute each
@fault(
    "two ingresses, two workers of each role, the live page and three brokers are restarted, one after the other",
    seen="posts to the ingress that is away are repeated; rows are seconds late",
)
async def test_a_rolling_restart_of_everything_loses_and_repeats_nothing(
    clustered: Callable[[Recorder], Rig], record: Recorder, tmp_path: Path
) -> None:
    rig = clustered(record)
    supervisor = rig.pipeline.supervisor
    for name, command in (
        ("ingress", ["ingress"]),
        ("normalize", ["worker", "normalize"]),
        ("store", ["worker", "store"]),
    ):
        assert OURS[name]["command"] == command  # what the first of each runs
    ports = {"ingress": embedded.free_port(), "dashboard": embedded.free_port()}
    there = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    password = tmp_path / "dashboard_password"
    password.write_text("of the dashboard")
    of_dashboard = OURS["dashboard"]["environment"] | {
        "GRIDSTREAM_DASHBOARD__PORT": str(ports["dashboard"]),
        "GRIDSTREAM_DASHBOARD__PASSWORD_FILE": str(password),
    }
    programs = (
        second(rig, "ingress", {"GRIDSTREAM_INGRESS__PORT": str(ports["ingress"])}),
        second(rig, "normalize"),
        second(rig, "store"),
        second(rig, "dashboard", {name: value for name, value in of_dashboard.items() if "DASHBOARD" in name}),
    )
    async with AsyncExitStack() as stack:
        for program in programs:
            await supervisor.start(program)
            stack.push_async_callback(supervisor.stop, program.name)
        for role in ("normalize", "store"):
            await rig.members(role, 2)
        await answers(f"{there['ingress']}/ready")
        await answers(f"{there['dashboard']}/health")
        other = f"{there['ingress']}/sendgrid/{rig.pipeline.source}"
        async with rig.posting(100, seconds=200) as one, rig.posting(100, seconds=200, url=other) as two:

            async def both_go_on() -> None:
                for load in (one, two):
                    await load.more(30)

            for name, base in (("ingress", rig.pipeline.base), ("ingress-2", there["ingress"])):
                await rig.restart(name, "listening")
                await answers(f"{base}/ready")
                await both_go_on()
            for role in ("normalize", "store"):
                for name in (role, f"{role}-2"):
                    await rig.restart(name, "working")
                    await rig.members(role, 2)
                    await both_go_on()
            await rig.restart("dashboard-2", "listening")
            await answers(f"{there['dashboard']}/health")
            for node in _NODES:
                await rig.kill(f"broker {node}", signal.SIGTERM)
                await in_sync(rig)
                await both_go_on()
            rig.recovering()
        await rig.account(Sent(one.events | two.events, one.scraps | two.scraps))
