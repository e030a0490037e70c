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

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal, GridstreamError
from connectors.kafka import Producer
from connectors.sendgrid import SendGrid
from connectors.sendgrid_objects import SendGridObjects
from schemas import topics
from streams import app as wiring
from streams.contacts.account import Account
from streams.contacts.memberships import Memberships
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.groups import UNCONFIGURED, group, reads
from streams.objects.schedule import Schedule
from streams.process import FINISH_SECONDS, end_within, observable, serve, stop_event
from streams.schema import ensure_topics, require_schema
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
    if role not in reads(settings):
        raise Fatal(f"the role {role} has nothing to do: {UNCONFIGURED[role]}")
    async with AsyncExitStack() as stack:
        await persistently("connecting to Kafka", partial(ensure_topics, settings))
        work = await _WORK[role](settings, data, stack)
        slot = claim(role, settings.kafka.servers, work.agents)
        if slot:
            stack.enter_context(slot.lock)
        name = slot.name if slot else None
        held = min(work.held_bytes, settings.worker.held_bytes)
        app = wiring.faust_app(group(role), settings.kafka.servers, name, held)
        for topic, agent in work.agents.items():
            wiring.attach(app, topic, partial(_guarded, agent, failed))
        await serve(stack, web.AppRunner(observable(), access_log=None), "127.0.0.1", metrics_port, "metrics")
        await app.start()
        log.info("working")
        beside = [watch(app, settings.kafka.servers, work.agents, settings.worker.stuck_seconds)]
        if work.beside:
            beside.append(work.beside(app))
        tasks = [asyncio.ensure_future(each) for each in beside]
        for task in tasks:
            task.add_done_callback(partial(_fail, failed))
        await app.wait_first(stopped.wait(), asyncio.wait({failed}))  # … the future itself would raise here
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=FINISH_SECONDS)
        await _stop(app, failed)
    log.info("stopped")


async def _stop(app: faust.App, failed: asyncio.Future[None]) -> None:
    """End an app: in good order if nothing has failed.

    Raises:
        Fatal: what has.
    """
    if failed.done():
        log.error("cannot go on", reason=str(failed.exception()))
        end_within(2 * FINISH_SECONDS)
    elif not app.crash_reason:
        await drain(app, FINISH_SECONDS)
    await app.stop()
    if app.crash_reason:
        raise Fatal(f"the stream engine failed: {app.crash_reason!r}")
    if failed.done():
        failed.result()


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
        held_bytes: of records that the agents may hold without having acknowledged them.
    """

    agents: dict[str, wiring.Agent]
    beside: Callable[[faust.App], Coroutine[Any, Any, None]] | None = None
    held_bytes: int = wiring.HELD_BYTES


async def _normalize(settings: Settings, _: DataFolder, stack: AsyncExitStack) -> _Work:
    producer = await _producer(settings, stack)
    agents: dict[str, wiring.Agent] = {}
    for source in settings.sources:
        partitions = {
            topic.name: await persistently("asking for partitions", partial(producer.partitions, topic.name))
            for topic in topics.of_source(source.name)
        }
        agents |= wiring.normalize_agents(source, producer, partitions)
    return _Work(agents)


async def _store(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> _Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    agents: dict[str, wiring.Agent] = {}
    for source in settings.sources:
        agents |= wiring.store_agents(source, clickhouse, producer)
    agents |= wiring.calls_agents(settings.calls_source, clickhouse, producer)
    return _Work(agents)


_CONTACTS_BYTES = 8 << 20
"""Membership changes need no throughput, and a worker that syncs lists has other uses for its memory."""


async def _contacts(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> _Work:
    producer = await _producer(settings, stack)
    clickhouse = await _clickhouse(settings, data, stack)
    partitions = await persistently("asking for partitions", partial(producer.partitions, topics.COHORTS))
    accounts = {}
    for entry in settings.contacts:
        source = settings.source(entry.source)
        api = await stack.enter_async_context(SendGrid(entry.key(source), source.api_url))
        accounts[entry.name] = Account(entry, api, Memberships(clickhouse, source.name, entry.name))
    agents, beside = wiring.contacts_agents(accounts, settings.source().name, producer, partitions)
    return _Work(agents, beside, _CONTACTS_BYTES)


async def _objects(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> _Work:
    clickhouse = await _clickhouse(settings, data, stack)
    sources = [
        (
            source,
            await stack.enter_async_context(SendGridObjects(source.api_key.get_secret_value(), source.api_url)),
        )
        for source in settings.with_api_key
    ]
    return _Work(*wiring.objects_agents(Schedule(sources, clickhouse, settings.objects.every_seconds)))


_WORK: Mapping[str, Callable[[Settings, DataFolder, AsyncExitStack], Awaitable[_Work]]] = {
    "normalize": _normalize,
    "store": _store,
    "contacts": _contacts,
    "objects": _objects,
}
"""By role: builds its connectors and its agents."""


async def _clickhouse(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> ClickHouse:
    """ClickHouse, with all databases as they should be."""
    clickhouse = ClickHouse(data.clickhouse_url(settings), settings.clickhouse.timeout_seconds)
    await persistently("connecting to ClickHouse", clickhouse.connect)
    stack.push_async_callback(clickhouse.close)
    for source in settings.sources:
        await require_schema(source.name, clickhouse)
    return clickhouse


async def _producer(settings: Settings, stack: AsyncExitStack, linger: int = 0) -> Producer:
    producer = Producer(settings.kafka.servers, linger)
    await persistently("connecting to Kafka", producer.start)
    stack.push_async_callback(producer.stop)
    return producer
