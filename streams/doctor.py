"""`gridstream doctor`: everything configured is checked, and what is wrong comes with what to do about it."""

import shutil
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import NamedTuple

from connectors.amplitude import Amplitude
from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.http import ForbiddenError
from connectors.kafka import Admin
from connectors.kafka_table import KafkaTable
from connectors.relay import Consumer
from connectors.sendgrid import SendGrid
from connectors.sendgrid_objects import SendGridObjects, missing_scopes
from connectors.sendgrid_webhooks import SendGridWebhooks
from connectors.tls import trusting_only
from schemas import topics
from schemas.verification_keys import RegisteredWebhook
from streams import embedded
from streams.datafolder import DataFolder
from streams.groups import groups
from streams.objects import access
from streams.schema import missing_columns, wanted_topics
from streams.sections import Amplitude as AmplitudeSettings
from streams.sections import Contacts, Mail, Relay, Source
from streams.settings import Settings
from streams.verification_keys import registered

_ROOM = 0.15
"""Of a disk that has to be free: as for the alert GridstreamDisk."""
_CLUSTER_SETTINGS = {"distributed_foreground_insert": "1", "distributed_product_mode": "global"}
"""What the user needs on a cluster: docs/operations.md says why."""
_NEVER = {"open": "open", "click": "click", "subscription": "unsubscribe"}
"""Which event never comes without which tracking."""


class Finding(NamedTuple):
    """One thing that was checked.

    Attributes:
        subject: what.
        state: how it is.
        remedy: what to do about it; empty where it is as it should be.
    """

    subject: str
    state: str
    remedy: str = ""


async def examine(settings: Settings, data: DataFolder) -> AsyncIterator[Finding]:
    """Check one thing after the other."""
    webhooks = {each.source for each in await _registered(settings)}
    for finding in _doors(settings, webhooks):
        yield finding
    yield _privacy(settings, data)
    async for finding in _kafka(settings):
        yield finding
    if not settings.kafka.bootstrap_servers and data.path.exists():
        disk = shutil.disk_usage(data.path)
        yield _room(f"disk of {data.path}", disk.free, disk.total, "free some, or lower kafka.embedded_bytes")
    async for finding in _clickhouse(settings, data):
        yield finding
    async for finding in _accounts(settings):
        yield finding
    url = f"{settings.ingress.url}/ready"
    if await embedded.answers(url, trusting_only(settings.ingress.certificate)):
        yield Finding("ingress", f"ready at {url}")
    else:
        yield Finding("ingress", f"{url} does not answer", "start it: gridstream up, or gridstream ingress")


async def _accounts(settings: Settings) -> AsyncIterator[Finding]:
    """Everybody else's servers: where objects, contacts and mails are, and where events and POSTs go."""
    for source in settings.with_api_key:
        yield await _objects(source)
        yield await _tracking(source)
    for entry in settings.contacts:
        yield await _contacts(entry, settings.source(entry.source))
    for destination in settings.amplitude:
        if destination.is_on:
            yield await _amplitude(destination, settings.source(destination.source))
    for relay in settings.relays:
        if relay.is_on:
            yield await _relay(relay)
    if settings.mail.rules:
        yield await _mail(settings.mail, settings.source(settings.mail.source))


async def _objects(source: Source) -> Finding:
    subject = f"api_key of {source.name}"
    try:
        async with SendGridObjects(source.api_key.get_secret_value(), source.api_url) as api:
            missing = missing_scopes(await access.scopes(source, api))
    except GridstreamError as error:
        return Finding(subject, str(error), "set sources.api_key to a key that works")
    if missing:
        return Finding(
            subject, f"lacks {', '.join(missing)}", f"what needs them is not synced: {access.lack(source, missing)}"
        )
    return Finding(subject, "may read all objects")


async def _tracking(source: Source) -> Finding:
    subject = f"tracking of {source.name}"
    try:
        async with SendGridWebhooks(source.api_key.get_secret_value(), source.api_url, source.on_behalf_of) as api:
            off = await api.untracked()
    except ForbiddenError:
        return Finding(subject, "not known: the api_key lacks the scope tracking_settings.read")
    except GridstreamError as error:
        return Finding(subject, str(error), "check sources.api_key, api_url and on_behalf_of")
    if off:
        never = ", ".join(_NEVER[name] for name in off)
        remedy = "switch it on in SendGrid, Settings > Tracking, or do without"
        return Finding(subject, f"{', '.join(off)} tracking is off: {never} will never come", remedy)
    return Finding(subject, "opens, clicks and unsubscribes are tracked")


async def _registered(settings: Settings) -> list[RegisteredWebhook]:
    try:
        async with KafkaTable(settings.kafka.cluster, topics.VERIFICATION_KEYS) as table:
            return registered(table)
    except GridstreamError:  # Kafka is away, which is a finding of its own, or nobody has made the topic
        return []


async def _amplitude(entry: AmplitudeSettings, source: Source) -> Finding:
    subject = f"amplitude {source.name}"
    try:
        async with Amplitude(entry.key, entry.host, entry.min_id_length) as api:
            await api.check()
    except GridstreamError as error:
        return Finding(
            subject, str(error), "its API key is in Amplitude, Settings > Projects; a project in the EU: region"
        )
    return Finding(subject, f"its API key works at {entry.host}")


async def _relay(entry: Relay) -> Finding:
    subject = f"relay {entry.label}"
    try:
        async with Consumer(entry.url.get_secret_value(), entry.timeout_seconds) as consumer:
            status = await consumer.reach()
    except GridstreamError as error:
        return Finding(subject, str(error), "check relays.url; POSTs wait for it for relays.hours, then go on without")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Finding(subject, f"answers {status}", "check the user name and the password in relays.url")
    return Finding(subject, f"its consumer is there: it answers {status} where nothing is posted")


async def _contacts(entry: Contacts, source: Source) -> Finding:
    subject = f"contacts {entry.name}"
    key = entry.key(source)
    grant = "in SendGrid, Settings > API Keys: Full Access, or Restricted with Marketing > Full Access"
    if not key:
        return Finding(subject, "has no API key", f"set contacts.api_key or sources.api_key; make one {grant}")
    try:
        async with SendGrid(key, source.api_url) as api:
            scopes = await api.scopes()
            if not any(scope.startswith("marketing") for scope in scopes):
                return Finding(subject, "its API key may not use Marketing", f"change it {grant}")
            await api.custom_fields()
    except GridstreamError as error:
        return Finding(subject, str(error), f"check the key and api_url; keys are made {grant}")
    return Finding(subject, f"its API key works at {source.api_url}")


_MAIL_SCOPE = "mail.send"
_CHECK_SCOPES = ("templates.read", "asm.groups.read", "ips.pools.read", "whitelabel.read")


async def _mail(entry: Mail, source: Source) -> Finding:
    key = entry.key(source)
    grant = "in SendGrid, Settings > API Keys: Full Access, or Restricted with Mail Send > Full Access"
    if not key:
        return Finding("mail", "has no API key", f"set mail.api_key or sources.api_key; make one {grant}")
    try:
        async with SendGrid(key, source.api_url) as api:
            scopes = await api.scopes()
    except GridstreamError as error:
        return Finding("mail", str(error), f"check the key and api_url; keys are made {grant}")
    if _MAIL_SCOPE not in scopes:
        return Finding("mail", f"its API key lacks the scope {_MAIL_SCOPE}", f"change it {grant}")
    lacks = ", ".join(scope for scope in _CHECK_SCOPES if scope not in scopes)
    beside = f"; to check all of the rules it would need {lacks}" if lacks else ""
    return Finding("mail", f"its API key may send at {source.api_url} ({_MAIL_SCOPE}){beside}")


def _doors(settings: Settings, registered: Collection[str]) -> Iterator[Finding]:
    """Who is let in where; that an open door is open to this machine only, the settings see to."""
    for source in settings.sources:
        is_signed = source.name in registered or bool(source.public_keys)
        proofs = ["a signature"] * is_signed + ["a password"] * bool(source.password)
        can_register = bool(source.api_key.get_secret_value())
        yield _door(
            f"source {source.name}", " and ".join(proofs), ", until: gridstream webhook register URL" * can_register
        )
    for entry in settings.contacts:
        yield _door(f"webhook of contacts {entry.name}", "its secret" if entry.secret else "")
    yield _door("segment", "a write key" if settings.segment.write_keys else "")
    yield _door("live page", "its password" if settings.dashboard.password.get_secret_value() else "")


def _door(subject: str, proof: str, until: str = "") -> Finding:
    return Finding(subject, f"asks for {proof}" if proof else f"open, to this machine only{until}")


def _privacy(settings: Settings, data: DataFolder) -> Finding:
    try:
        if data.privacy_key(settings):
            return Finding("privacy", "has the key of the marks that stand for people")
    except GridstreamError as error:
        return Finding("privacy", str(error), "make the file readable, or set privacy.key")
    if any(source.rules.hash for source in settings.sources):
        return Finding(
            "privacy", "a source hashes, and there is no key", "set privacy.key to a long random text, for ever"
        )
    return Finding("privacy", "no key: gridstream forget needs one, privacy.key")


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
