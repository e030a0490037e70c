"""One worker process: the agents of one role, until a signal or a failure ends it."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import faust
import structlog
from aiohttp import web

from connectors.errors import Fatal, GridstreamError
from streams import app as wiring
from streams import metrics
from streams.beginnings import ensure_beginnings
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.groups import UNCONFIGURED, Group, groups
from streams.process import FINISH_SECONDS, collect_seldom, end_within, observable, serve, stop_event, tell_ready
from streams.roles import WORK, Work
from streams.schema import ensure_topics
from streams.settings import Settings
from streams.slots import claim
from streams.transport import drain, held, joined, lag_records, lag_seconds
from streams.watchdog import watch

log = structlog.get_logger()


def groups_of(role: str, settings: Settings) -> list[Group]:
    """The consumer groups of a role.

    Raises:
        Fatal: it has nothing to do.
    """
    if found := [group for group in groups(settings) if group.role == role]:
        return found
    raise Fatal(f"the role {role} has nothing to do: {UNCONFIGURED[role]}")


async def run(role: str, settings: Settings, data: DataFolder) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        role: one of groups.ROLES.
        settings: read.
        data: where an embedded engine's password is.

    Raises:
        Fatal: it cannot go on.
    """
    collect_seldom()
    stopped = stop_event()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    mine = groups_of(role, settings)
    async with AsyncExitStack() as stack:
        await persistently("connecting to Kafka", partial(ensure_topics, settings))
        await persistently("asking where to begin", partial(ensure_beginnings, settings))
        runner = web.AppRunner(observable(), access_log=None)
        await serve(stack, runner, settings.worker.metrics_host, settings.worker.metrics_port, "metrics")
        apps: dict[faust.App, Work] = {}
        for group in mine:
            work = await WORK[role](settings, data, stack, group)
            app = _app(group, settings, work, stack, failed)
            await app.start()
            apps[app] = work
        log.info("working")
        await _until_an_end(apps, settings, stopped, failed)
        await _stop(apps, failed)
    log.info("stopped")


def _app(
    group: Group, settings: Settings, work: Work, stack: AsyncExitStack, failed: asyncio.Future[None]
) -> faust.App:
    """The Faust app of a consumer group."""
    slot = claim(group.name.removeprefix("gridstream."), settings.kafka.servers, work.agents)
    if slot:
        stack.enter_context(slot.lock)
    limit = min(work.held_bytes, settings.worker.held_bytes)
    member = slot.name if slot else None
    app = wiring.faust_app(group.name, settings.kafka.cluster, member, limit, packed=work.packed)
    metrics.HELD_BYTES.labels(group.name).set_function(partial(held, app))
    for topic, agent in work.agents.items():
        wiring.attach(app, topic, partial(_guarded, agent, failed))
        metrics.LAG_RECORDS.labels(group.name, topic).set_function(partial(lag_records, app, topic))
        metrics.LAG_SECONDS.labels(group.name, topic).set_function(partial(lag_seconds, app, topic))
    return app


async def _until_an_end(
    apps: Mapping[faust.App, Work], settings: Settings, stopped: asyncio.Event, failed: asyncio.Future[None]
) -> None:
    """Watch over the apps, and do what is to be done beside them, until one ends or the process is to."""
    beside: list[Coroutine[Any, Any, None]] = [_tell_ready(apps)]
    for app, work in apps.items():
        beside.append(watch(app, settings.kafka.cluster, work.agents, settings.worker.stuck_seconds))
        if work.beside:
            beside.append(work.beside(app))
    tasks = [asyncio.ensure_future(each) for each in beside]
    for task in tasks:
        task.add_done_callback(partial(_fail, failed))
    # Waiting for the future itself would raise here what _stop has to raise.
    ends = [asyncio.ensure_future(app.wait_first(stopped.wait(), asyncio.wait({failed}))) for app in apps]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for each in (*tasks, *ends):
        each.cancel()
    await asyncio.wait((*tasks, *ends), timeout=FINISH_SECONDS)


async def _tell_ready(apps: Iterable[faust.App]) -> None:
    """Say that the process works, once all apps have their partitions."""
    for app in apps:
        await joined(app)
    tell_ready()


async def _stop(apps: Mapping[faust.App, Work], failed: asyncio.Future[None]) -> None:
    """End all apps: in good order if nothing has failed.

    Raises:
        Fatal: what has.
    """
    crashed = [app.crash_reason for app in apps if app.crash_reason]
    if failed.done():
        log.error("cannot go on", reason=str(failed.exception()))
        end_within(2 * FINISH_SECONDS)
    elif not crashed:
        await asyncio.gather(*(drain(app, FINISH_SECONDS) for app in apps))
    for app in apps:
        await app.stop()
    if crashed:
        raise Fatal(f"the stream engine failed: {crashed[0]!r}")
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
