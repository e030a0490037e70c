"""What each role is made of: its connectors and its agents."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust

from connectors.amplitude import Amplitude
from connectors.clickhouse import ClickHouse
from connectors.kafka import Producer
from connectors.relay import Consumer
from connectors.sendgrid import SendGrid
from connectors.sendgrid_objects import SendGridObjects
from schemas import topics
from streams import app as wiring
from streams.aside import Aside
from streams.contacts.account import Account
from streams.contacts.memberships import Memberships
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.forwarding.delivery import Delivery
from streams.groups import Group
from streams.mail.book import MailBook
from streams.mail.sender import AT_ONCE, Sender
from streams.objects.schedule import Schedule
from streams.privacy.forgotten import forgotten
from streams.relaying import Relay
from streams.schema import require_schema
from streams.settings import Settings
from streams.store import InsertPolicy


@dataclass(frozen=True, slots=True)
class Work:
    """What a role does.

    Attributes:
        agents: by topic.
        beside: what else runs, as long as they do.
        held_bytes: of records that the agents may hold without having acknowledged them: as they are, or packed.
        packed: they get them packed.
    """

    agents: dict[str, wiring.Agent]
    beside: Callable[[faust.App], Coroutine[Any, Any, None]] | None = None
    held_bytes: int = wiring.HELD_BYTES
    packed: bool = False


async def _normalize(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> Work:
    producer = await _producer(settings, stack)
    known = await forgotten(settings, data, stack)
    agents: dict[str, wiring.Agent] = {}
    for source in settings.sources:
        partitions = {
            topic.name: await persistently("asking for partitions", partial(producer.partitions, topic.name))
            for topic in topics.of_source(source.name)
        }
        agents |= wiring.normalize_agents(source, producer, partitions, known)
    return Work(agents)


async def _store(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    policy = InsertPolicy()
    known = await forgotten(settings, data, stack)
    agents = wiring.calls_agents(settings.calls_source, clickhouse, producer, policy, known)
    for source in settings.sources:
        agents |= wiring.store_agents(source, clickhouse, producer, policy)
    return Work(agents, packed=True)


_CONTACTS_BYTES = 8 << 20
"""Membership changes need no throughput, and a worker that syncs lists has other uses for its memory."""


async def _contacts(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    partitions = await persistently("asking for partitions", partial(producer.partitions, topics.COHORTS))
    known = await forgotten(settings, data, stack)
    accounts = {}
    for entry in settings.contacts:
        source = settings.source(entry.source)
        api = await stack.enter_async_context(SendGrid(entry.key(source), source.api_url))
        accounts[entry.name] = Account(entry, api, Memberships(clickhouse, source.name, entry.name, known))
    aside = Aside(settings.source().name, "contacts", topics.COHORTS, producer)
    agents, beside = wiring.contacts_agents(accounts, aside, partitions)
    return Work(agents, beside, _CONTACTS_BYTES)


_MAIL_BYTES = 8 << 20
"""A mail waits for SendGrid, not for memory."""


async def _mail(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    source = settings.source(settings.mail.source)
    api = await stack.enter_async_context(SendGrid(settings.mail.key(source), source.api_url, AT_ONCE))
    known = await forgotten(settings, data, stack)
    book = MailBook(clickhouse, source.name, known)
    sender = Sender(api, book, producer, source.name, source.user_id_key)
    agents, beside = wiring.mail_agents(settings.mail.compiled(), sender, book, source.name, producer, known)
    return Work(agents, beside, _MAIL_BYTES)


async def _objects(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> Work:
    clickhouse = await _clickhouse(settings, data, stack)
    sources = [
        (
            source,
            await stack.enter_async_context(SendGridObjects(source.api_key.get_secret_value(), source.api_url)),
        )
        for source in settings.with_api_key
    ]
    known = await forgotten(settings, data, stack)
    schedule = Schedule(sources, clickhouse, settings.objects.every_seconds, forgotten=known)
    return Work(*wiring.objects_agents(schedule))


async def _forward(settings: Settings, _: DataFolder, stack: AsyncExitStack, group: Group) -> Work:
    producer = await _producer(settings, stack)
    source = settings.source(group.destination)
    entry = next(entry for entry in settings.amplitude if settings.source(entry.source) == source)
    amplitude = await stack.enter_async_context(Amplitude(entry.key, entry.host, entry.min_id_length))
    aside = Aside(source.name, "forward", topics.forward(source.name), producer)
    delivery = await stack.enter_async_context(Delivery(f"amplitude.{source.name}", amplitude, aside, entry.max_events))
    return Work(wiring.forward_agents(source, entry, delivery, aside), lambda _: delivery.failure())


async def _relay(settings: Settings, _: DataFolder, stack: AsyncExitStack, group: Group) -> Work:
    producer = await _producer(settings, stack)
    entry = next(entry for entry in settings.relays if entry.label == group.destination)
    source = settings.source(entry.source).name
    consumer = await stack.enter_async_context(Consumer(entry.url.get_secret_value(), entry.timeout_seconds))
    aside = Aside(source, "relay", topics.relay(source), producer)
    relay = await stack.enter_async_context(Relay(entry.label, source, consumer, aside, producer, entry.hours))
    return Work({topics.raw(source): relay.raw, topics.relay(source): relay.again}, lambda _: relay.failure())


WORK: Mapping[str, Callable[[Settings, DataFolder, AsyncExitStack, Group], Awaitable[Work]]] = {
    "normalize": _normalize,
    "store": _store,
    "contacts": _contacts,
    "mail": _mail,
    "objects": _objects,
    "forward": _forward,
    "relay": _relay,
}
"""By role: builds the connectors and agents of one of its consumer groups."""


WITHOUT_CLICKHOUSE = frozenset({"normalize", "forward", "relay"})
"""Roles that need no ClickHouse."""


async def _clickhouse(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> ClickHouse:
    """ClickHouse, with all databases as they should be."""
    connection = data.connection(settings, settings.clickhouse.timeout_seconds)
    clickhouse = await persistently("connecting to ClickHouse", partial(stack.enter_async_context, connection))
    for source in settings.sources:
        await require_schema(source.name, clickhouse)
    return clickhouse


async def _producer(settings: Settings, stack: AsyncExitStack, linger: int = 0) -> Producer:
    producer = Producer(settings.kafka.cluster, linger)
    return await persistently("connecting to Kafka", partial(stack.enter_async_context, producer))
