"""One worker process: the agents of one role, until a signal or a failure ends it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust
import structlog
from aiohttp import web

from connectors.amplitude import HOSTS, Amplitude
from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal, GridstreamError
from connectors.kafka import Producer
from connectors.relay import Consumer
from connectors.sendgrid import SendGrid
from schemas import topics
from streams import app as wiring
from streams.aside import Aside
from streams.beginnings import ensure_beginnings
from streams.contacts.account import Account
from streams.contacts.memberships import Memberships
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.forwarding.delivery import Delivery
from streams.groups import Group, groups
from streams.process import FINISH_SECONDS, observable, serve, stop_event
from streams.relaying import Relay
from streams.schema import ensure_topics, missing_columns
from streams.settings import Settings
from streams.slots import claim
from streams.transport import drain
from streams.watchdog import watch

log = structlog.get_logger()


async def run(role: str, settings: Settings, data: DataFolder, metrics_port: int) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        role: one of groups.ROLES.
        settings: read.
        data: where an embedded engine's password is.
        metrics_port: for /metrics and /health; 0: a free one.

    Raises:
        Fatal: it cannot go on.
    """
    stopped = stop_event()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    mine = [group for group in groups(settings) if group.role == role]
    if not mine:
        raise Fatal(f"the role {role} has nothing to do: nothing is configured for it; see docs/configuration.md")
    async with AsyncExitStack() as stack:
        await persistently("connecting to Kafka", partial(ensure_topics, settings))
        await persistently("asking where to begin", partial(ensure_beginnings, settings))
        await serve(stack, web.AppRunner(observable(), access_log=None), "127.0.0.1", metrics_port, "metrics")
        apps: dict[faust.App, _Work] = {}
        for group in mine:
            work = await _WORK[role](settings, data, stack, group)
            app = _app(group, settings, work, stack, failed)
            await app.start()
            apps[app] = work
        log.info("working")
        await _until_an_end(apps, settings, stopped, failed)
        if not failed.done() and stopped.is_set():
            await asyncio.gather(*(drain(app, FINISH_SECONDS) for app in apps))
        for app in apps:
            await app.stop()
            if app.crash_reason:
                raise Fatal(f"the stream engine failed: {app.crash_reason!r}")
        if failed.done():
            failed.result()
    log.info("stopped")


def _app(
    group: Group, settings: Settings, work: "_Work", stack: AsyncExitStack, failed: asyncio.Future[None]
) -> faust.App:
    """The Faust app of a consumer group."""
    slot = claim(group.name.removeprefix("gridstream."), settings.kafka.servers, work.agents)
    if slot:
        stack.enter_context(slot.lock)
    app = wiring.faust_app(group.name, settings.kafka.servers, slot.name if slot else None)
    for topic, agent in work.agents.items():
        wiring.attach(app, topic, partial(_guarded, agent, failed))
    return app


async def _until_an_end(
    apps: Mapping[faust.App, "_Work"], settings: Settings, stopped: asyncio.Event, failed: asyncio.Future[None]
) -> None:
    """Watch over the apps, and do what is to be done beside them, until one ends or the process is to."""
    beside = []
    for app, work in apps.items():
        beside.append(watch(app, settings.kafka.servers, work.agents, settings.worker.stuck_seconds))
        if work.beside:
            beside.append(work.beside(app))
    tasks = [asyncio.ensure_future(each) for each in beside]
    for task in tasks:
        task.add_done_callback(partial(_fail, failed))
    ends = [asyncio.ensure_future(app.wait_first(stopped.wait(), asyncio.shield(failed))) for app in apps]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for each in (*tasks, *ends):
        each.cancel()
    await asyncio.wait((*tasks, *ends), timeout=FINISH_SECONDS)


def _fail(failed: asyncio.Future[None], task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) and not failed.done():
        failed.set_exception(error)


async def _guarded(agent: wiring.Agent, failed: asyncio.Future[None], stream: Any) -> None:  # noqa: ANN401
    """Run an agent; an error of it ends the process, where Faust would go on with the next chunk."""
    try:
        await agent(stream)
    except Exception as error:
        if not isinstance(error, GridstreamError):
            log.exception("an agent failed")
        if not failed.done():
            failed.set_exception(Fatal(str(error) or repr(error)))
        await asyncio.Event().wait()  # until the process ends: Faust starts an agent again that returns


@dataclass(frozen=True, slots=True)
class _Work:
    """What a role does.

    Attributes:
        agents: by topic.
        beside: what else runs, as long as they do.
    """

    agents: dict[str, wiring.Agent]
    beside: Callable[[faust.App], Coroutine[Any, Any, None]] | None = None


async def _normalize(settings: Settings, _: DataFolder, stack: AsyncExitStack, __: Group) -> _Work:
    producer = await _producer(settings, stack)
    agents: dict[str, wiring.Agent] = {}
    for source in settings.sources:
        partitions = {
            topic.name: await persistently("asking for partitions", partial(producer.partitions, topic.name))
            for topic in topics.of_source(source.name)
        }
        agents |= wiring.normalize_agents(source, producer, partitions)
    return _Work(agents)


async def _store(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> _Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    agents: dict[str, wiring.Agent] = {}
    for source in settings.sources:
        agents |= wiring.store_agents(source, clickhouse, producer)
    return _Work(agents)


async def _contacts(settings: Settings, data: DataFolder, stack: AsyncExitStack, _: Group) -> _Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    partitions = await persistently("asking for partitions", partial(producer.partitions, topics.COHORTS))
    accounts = {}
    for entry in settings.contacts:
        source = settings.source(entry.source)
        api = await stack.enter_async_context(SendGrid(entry.key(source), source.api_url))
        accounts[entry.name] = Account(entry, api, Memberships(clickhouse, source.name, entry.name))
    agents, beside = wiring.contacts_agents(accounts, settings.source().name, producer, partitions)
    return _Work(agents, beside)


async def _forward(settings: Settings, _: DataFolder, stack: AsyncExitStack, group: Group) -> _Work:
    producer = await _producer(settings, stack)
    source = settings.source(group.destination)
    entry = next(entry for entry in settings.amplitude if settings.source(entry.source) == source)
    url = entry.url or HOSTS[entry.region]
    amplitude = await stack.enter_async_context(
        Amplitude(entry.api_key.get_secret_value().strip(), url, entry.min_id_length)
    )
    aside = Aside(source.name, "forward", topics.forward(source.name), producer)
    delivery = await stack.enter_async_context(Delivery(f"amplitude.{source.name}", amplitude, aside, entry.max_events))
    return _Work(wiring.forward_agents(source, entry, delivery, aside), lambda _: delivery.failure())


async def _relay(settings: Settings, _: DataFolder, stack: AsyncExitStack, group: Group) -> _Work:
    producer = await _producer(settings, stack)
    entry = next(entry for entry in settings.relays if entry.label == group.destination)
    source = settings.source(entry.source).name
    consumer = await stack.enter_async_context(Consumer(entry.url.get_secret_value(), entry.timeout_seconds))
    aside = Aside(source, "relay", topics.relay(source), producer)
    relay = await stack.enter_async_context(Relay(entry.label, source, consumer, aside, producer, entry.hours))
    return _Work({topics.raw(source): relay.raw, topics.relay(source): relay.again}, lambda _: relay.failure())


_WORK: Mapping[str, Callable[[Settings, DataFolder, AsyncExitStack, Group], Awaitable[_Work]]] = {
    "normalize": _normalize,
    "store": _store,
    "contacts": _contacts,
    "forward": _forward,
    "relay": _relay,
}
"""By role: builds the connectors and agents of one of its consumer groups."""


async def _clickhouse(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> ClickHouse:
    """ClickHouse, with all databases as they should be."""
    clickhouse = ClickHouse(data.clickhouse_url(settings), settings.clickhouse.timeout_seconds)
    await persistently("connecting to ClickHouse", clickhouse.connect)
    stack.push_async_callback(clickhouse.close)
    for source in settings.sources:
        if missing := await missing_columns(source.name, clickhouse):
            raise Fatal(f"the database {source.name} lacks {', '.join(missing)}; run: gridstream schema apply")
    return clickhouse


async def _producer(settings: Settings, stack: AsyncExitStack, linger: int = 0) -> Producer:
    producer = Producer(settings.kafka.servers, linger)
    await persistently("connecting to Kafka", producer.start)
    stack.push_async_callback(producer.stop)
    return producer
