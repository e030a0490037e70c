"""Kafka and ClickHouse, ours or the operator's: whether they answer, and have what is needed."""

import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.kafka import Admin
from streams.datafolder import DataFolder
from streams.doctor.finding import Finding
from streams.groups import groups
from streams.schema import missing_columns, wanted_topics
from streams.settings import Settings

_ROOM = 0.15
"""Of a disk that has to be free: as for the alert GridstreamDisk."""
_CLUSTER_SETTINGS = {"distributed_foreground_insert": "1", "distributed_product_mode": "global"}
"""What the user needs on a cluster: docs/operations.md says why."""


async def servers(settings: Settings, data: DataFolder) -> AsyncIterator[Finding]:
    """Both, the disk that embedded ones share, and the roles that read from Kafka."""
    async for finding in _kafka(settings):
        yield finding
    if not settings.kafka.bootstrap_servers and data.path.exists():
        disk = shutil.disk_usage(data.path)
        yield _room(f"disk of {data.path}", disk.free, disk.total, "free some, or lower kafka.embedded_bytes")
    async for finding in _clickhouse(settings, data):
        yield finding


def _room(subject: str, free: int, total: int, remedy: str) -> Finding:
    state = f"{free / max(total, 1):.0%} of it is free"
    return Finding(subject, state, remedy if free < _ROOM * total else "")


async def _kafka(settings: Settings) -> AsyncIterator[Finding]:
    start = "start it: gridstream up" if not settings.kafka.bootstrap_servers else "check kafka.bootstrap_servers"
    try:
        async with Admin(settings.kafka.cluster) as admin:
            yield Finding("Kafka", f"answers at {settings.kafka.servers}")
            wanted = {topic.name for topic in wanted_topics(settings)}
            absent = wanted - {topic for topic, _ in await admin.offsets(wanted)}
            if absent:
                named = ", ".join(sorted(absent))
                yield Finding("topics", f"missing: {named}", "start an ingress or a worker: they make them")
            else:
                yield Finding("topics", f"{len(wanted)}, all there")
            for finding in await _replicas(settings, admin, wanted - absent):
                yield finding
            for group in groups(settings):
                members = await admin.members(group.name)
                remedy = "" if members else f"start one: gridstream worker {group.role}"
                yield Finding(f"role {group.role} {group.destination}".rstrip(), f"{members} running", remedy)
    except GridstreamError as error:
        yield Finding("Kafka", str(error), start)


async def _replicas(settings: Settings, admin: Admin, topics: Collection[str]) -> list[Finding]:
    brokers, wanted = await admin.brokers(), settings.kafka.replication_factor
    if wanted > brokers:
        remedy = "start as many brokers, or lower it: no topic can be made"
        return [Finding("kafka.replication_factor", f"{wanted}, and the brokers are {brokers}", remedy)]
    copies = await admin.copies(topics)
    enough = wanted or min(Admin.COPIES, brokers)
    findings = []
    if few := sorted({topic for (topic, _), each in copies.items() if each.replicas < enough}):
        remedy = "give them more: docs/operations.md, More brokers"
        findings.append(Finding("replicas", f"fewer than {enough} of {', '.join(few)}", remedy))
    if late := sum(each.in_sync < each.replicas for each in copies.values()):
        findings.append(Finding("replicas", f"{late} partitions lack one", "look at the brokers: one is away, or slow"))
    return findings or [Finding("replicas", f"{enough} of each partition on {brokers} brokers, all in sync")]


async def _clickhouse(settings: Settings, data: DataFolder) -> AsyncIterator[Finding]:
    own = settings.clickhouse.url.get_secret_value()
    async with AsyncExitStack() as stack:
        try:
            clickhouse = await stack.enter_async_context(data.connection(settings))
        except GridstreamError as error:
            yield Finding("ClickHouse", str(error), "check clickhouse.url" if own else "start it: gridstream up")
            return
        try:
            async for finding in _answering(settings, clickhouse):
                yield finding
        except GridstreamError as error:
            yield Finding("ClickHouse", str(error), "look at its log")


async def _answering(settings: Settings, clickhouse: ClickHouse) -> AsyncIterator[Finding]:
    ((version,),) = (await clickhouse.query("SELECT version()")).result_rows
    yield Finding("ClickHouse", f"{version} answers at {clickhouse.address}")
    disks = "SELECT name, free_space, total_space FROM system.disks"
    for name, free, total in (await clickhouse.query(disks)).result_rows:
        yield _room(f"ClickHouse's disk {name}", free, total, "free some: docs/operations.md, GridstreamDisk")
    if settings.clickhouse.cluster:
        yield await _cluster(settings.clickhouse.cluster, clickhouse)
    for source in settings.sources:
        absent = await missing_columns(source.name, clickhouse)
        if absent:
            yield Finding(f"database {source.name}", f"missing: {', '.join(absent)}", "gridstream schema apply")
        else:
            yield Finding(f"database {source.name}", "has all tables and columns")


async def _cluster(name: str, clickhouse: ClickHouse) -> Finding:
    subject = f"cluster {name}"
    sql = "SELECT uniqExact(shard_num), count() FROM system.clusters WHERE cluster = {name:String}"
    ((shards, servers),) = (await clickhouse.query(sql, {"name": name})).result_rows
    if not servers:
        return Finding(subject, "ClickHouse knows none of this name", "name one of system.clusters: clickhouse.cluster")
    sql = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"
    found = dict(map(tuple, (await clickhouse.query(sql, {"names": list(_CLUSTER_SETTINGS)})).result_rows))
    wrong = [f"{setting} = {value!r}" for setting, value in _CLUSTER_SETTINGS.items() if found.get(setting) != value]
    remedy = f"set for the user of clickhouse.url: {', '.join(wrong)}" if wrong else ""
    return Finding(subject, f"{shards} shards on {servers} servers", remedy)
