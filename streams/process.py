"""What every long-running process has: an end, its ports, and a page with its metrics."""

import asyncio
import gc
import os
import signal
import ssl
import threading
from contextlib import AsyncExitStack

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from connectors.errors import Fatal
from streams import ports

log = structlog.get_logger()

FINISH_SECONDS = 5.0
"""How long a process that is told to stop may finish what it has begun."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which the Prometheus client knows where processes that share a port count together."""

_COLLECT_AFTER = 50_000
"""Objects that are new. Python's own 700 has it look through every record that is held several times a second: 40% of
a store's CPU."""

READY = "READY_FD"
"""The environment variable by which a child knows where to say that it is ready: a pipe that its supervisor reads."""


def stop_event() -> asyncio.Event:
    """Set when the process is told to stop, by SIGTERM or SIGINT."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event


def reload_event() -> asyncio.Event:
    """Set when the process is told to read its settings again, by SIGHUP.

    A terminal that is closed sends it too: then it means SIGTERM.
    """
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    had_terminal = os.isatty(0)

    def told(*_: object) -> None:
        if had_terminal and not os.isatty(0):
            signal.raise_signal(signal.SIGTERM)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    signal.signal(signal.SIGHUP, told)  # not the loop's: one that comes while the process ends must not kill it
    return event


def collect_seldom() -> None:
    """Have the garbage collector leave alone what is there already, and look through the rest less often.

    For a process that holds many records. Hardly any of them is in a cycle, and memory comes back without it.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


def tell_ready() -> None:
    """Tell the supervisor that waits for it, if there is one, that the process does its work."""
    if number := os.environ.pop(READY, ""):
        os.write(int(number), b"1")
        os.close(int(number))


def end_within(seconds: float) -> None:
    """See to it that a process that has failed ends, even if something in it does not let go."""
    deadline = threading.Timer(seconds, os._exit, [1])
    deadline.daemon = True
    deadline.start()


async def serve(
    stack: AsyncExitStack,
    runner: web.AppRunner,
    host: str,
    port: int,
    what: str,
    *,
    is_shared: bool = False,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve an application until the stack closes.

    On the open port that whoever came before has left, if it is the same: then no connection is refused meanwhile.

    Args:
        stack: of the process.
        runner: of the application.
        host: to listen on.
        port: to listen on; 0: a free one, said in the log.
        what: for people.
        is_shared: other processes may listen on the same port; the kernel gives each its part of the connections.
        tls: to serve https.

    Raises:
        Fatal: the port cannot be had.
    """
    try:
        opened = ports.opened(host, port, is_shared=is_shared)
    except Fatal as error:
        raise Fatal(f"{what}: {error}") from error
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for each in opened:
        await web.SockSite(runner, each, ssl_context=tls).start()
    log.info("listening", what=what, host=host, port=runner.addresses[0][1])


def observable() -> web.Application:
    """An application with the process's /metrics and /health."""
    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/health", health)
    return app


async def metrics(_: web.Request) -> web.Response:
    """The metrics of the process, or of all that share its port, for Prometheus."""
    registry = REGISTRY
    if METRICS_FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def health(_: web.Request) -> web.Response:
    """The process is alive."""
    return web.json_response({"status": "alive"})
