"""`gridstream doctor`: everything configured is checked, and what is wrong comes with what to do about it."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from connectors.amplitude import Amplitude
from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.http import ForbiddenError
from connectors.kafka import Admin
from connectors.kafka_table import KafkaTable
from connectors.sendgrid import SendGrid
from connectors.sendgrid_objects import SendGridObjects, missing_scopes
from connectors.sendgrid_webhooks import SendGridWebhooks
from schemas import topics
from schemas.verification_keys import RegisteredWebhook
from streams import embedded
from streams.datafolder import DataFolder
from streams.groups import groups
from streams.objects import access
from streams.process import url_of
from streams.schema import missing_columns, wanted_topics
from streams.sections import Amplitude as AmplitudeSettings
from streams.sections import Contacts, Mail, Source
from streams.settings import Settings
from streams.verification_keys import registered


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
    webhooks = await _registered(settings)
    for source in settings.sources:
        yield _credentials(source, is_registered=any(each.source == source.name for each in webhooks))
    async for finding in _kafka(settings):
        yield finding
    async for finding in _clickhouse(settings, data):
        yield finding
    for source in settings.with_api_key:
        yield await _objects(source)
        yield await _tracking(source)
    for entry in settings.contacts:
        yield await _contacts(entry, settings.source(entry.source))
    for destination in settings.amplitude:
        if destination.is_on:
            yield await _amplitude(destination, settings.source(destination.source))
    if settings.mail.rules:
        yield await _mail(settings.mail, settings.source(settings.mail.source))
    url = f"{url_of(settings.ingress.host, settings.ingress.port)}/ready"
    if await embedded.answers(url):
        yield Finding("ingress", f"ready at {url}")
    else:
        yield Finding("ingress", f"{url} does not answer", "start it: gridstream up, or gridstream ingress")


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


_NEVER = {"open": "open", "click": "click", "subscription": "unsubscribe"}


async def _registered(settings: Settings) -> list[RegisteredWebhook]:
    try:
        async with KafkaTable(settings.kafka.servers, topics.VERIFICATION_KEYS) as table:
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


def _credentials(source: Source, *, is_registered: bool) -> Finding:
    proofs = ["a signature"] * (is_registered or bool(source.public_keys)) + ["a password"] * bool(source.password)
    if proofs:
        return Finding(f"source {source.name}", f"asks for {' and '.join(proofs)}")
    if source.api_key.get_secret_value():
        return Finding(f"source {source.name}", "open to this machine only, until: gridstream webhook register URL")
    return Finding(f"source {source.name}", "open, to this machine only")


async def _kafka(settings: Settings) -> AsyncIterator[Finding]:
    start = "start it: gridstream up" if not settings.kafka.bootstrap_servers else "check kafka.bootstrap_servers"
    try:
        async with Admin(settings.kafka.servers) as admin:
            yield Finding("Kafka", f"answers at {settings.kafka.servers}")
            wanted = {topic.name for topic in wanted_topics(settings)}
            absent = wanted - {topic for topic, _ in await admin.offsets(wanted)}
            if absent:
                named = ", ".join(sorted(absent))
                yield Finding("topics", f"missing: {named}", "start an ingress or a worker: they make them")
            else:
                yield Finding("topics", f"{len(wanted)}, all there")
            for group in groups(settings):
                members = await admin.members(group.name)
                remedy = "" if members else f"start one: gridstream worker {group.role}"
                yield Finding(f"role {group.role} {group.destination}".rstrip(), f"{members} running", remedy)
    except GridstreamError as error:
        yield Finding("Kafka", str(error), start)


async def _clickhouse(settings: Settings, data: DataFolder) -> AsyncIterator[Finding]:
    own = settings.clickhouse.url.get_secret_value()
    try:
        clickhouse = ClickHouse(data.clickhouse_url(settings))
        await clickhouse.connect()
    except GridstreamError as error:
        yield Finding("ClickHouse", str(error), "check clickhouse.url" if own else "start it: gridstream up")
        return
    try:
        ((version,),) = (await clickhouse.query("SELECT version()")).result_rows
        yield Finding("ClickHouse", f"{version} answers at {clickhouse.address}")
        for source in settings.sources:
            absent = await missing_columns(source.name, clickhouse)
            if absent:
                yield Finding(f"database {source.name}", f"missing: {', '.join(absent)}", "gridstream schema apply")
            else:
                yield Finding(f"database {source.name}", "has all tables and columns")
    except GridstreamError as error:
        yield Finding("ClickHouse", str(error), "look at its log")
    finally:
        await clickhouse.close()
