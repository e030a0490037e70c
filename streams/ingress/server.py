"""The HTTP server: which endpoints there are, and how it runs."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from connectors.kafka import Producer
from connectors.tls import serving
from schemas import segment as segment_calls
from streams import metrics, process
from streams.delivery import persistently
from streams.ingress.cohort_webhook import CohortWebhook
from streams.ingress.connections import Connections
from streams.ingress.event_webhook import EventWebhook
from streams.ingress.intake import Intake
from streams.ingress.refusal import Refusal
from streams.ingress.segment_api import SegmentApi
from streams.schema import ensure_topics
from streams.settings import Settings, is_loopback
from streams.verification_keys import VerificationKeys

_SOURCE = web.RequestKey("source", str)
"""Set once it is known to be one of ours: metrics must not have a label for whatever is asked for."""
_CONNECTIONS = web.AppKey("connections", Connections)

_IDLE_SECONDS = 60.0
"""How long a connection may stay without a request, and a request without the end of its headers."""
_LAST_REQUESTS_SECONDS = 0.2
"""What the last connection gets for its request to arrive: whoever has sent none by then is disconnected."""
_LINGER_MS = 5
"""POSTs that arrive together go to Kafka together."""
_MOST_HEADERS = 64
_HEADER_BYTES = 4096
"""Of one header. A connection without a whole request holds so much at most."""
_LINGERING_SECONDS = 2.0
"""How long what nobody reads of a refused body may go on coming, so that its sender gets to see the answer."""


async def run(settings: Settings, *, is_shared: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: read.
        is_shared: other processes may serve the same port.

    Raises:
        Fatal: the port cannot be had, or the certificate not be used.
    """
    stopped = process.stop_event()
    ingress = settings.ingress
    tls = serving(ingress.certificate, ingress.private_key, "ingress")
    async with AsyncExitStack() as stack:
        producer = Producer(settings.kafka.cluster, _LINGER_MS)
        await persistently("connecting to Kafka", partial(ensure_topics, settings))
        await persistently("connecting to Kafka", partial(stack.enter_async_context, producer))
        keys = VerificationKeys(settings)
        await keys.follow(stack)
        runner = _Runner(application(settings, producer, keys))
        await process.serve(stack, runner, ingress.host, ingress.port, "ingress", is_shared=is_shared, tls=tls)
        process.tell_ready()
        await stopped.wait()
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)


def application(settings: Settings, producer: Producer, keys: VerificationKeys) -> web.Application:
    """The ingress's endpoints."""
    intake = Intake(producer, settings.ingress.trusted_proxies)
    app = web.Application(client_max_size=settings.ingress.max_body_bytes, middlewares=[_observed])
    app[_CONNECTIONS] = Connections(settings.ingress.max_connections, intake.bodies)
    is_home = is_loopback(settings.ingress.host)
    endpoints = {
        source.name: EventWebhook(source, keys.of(source.name), intake, may_be_open=is_home)
        for source in settings.sources
    }

    async def of_source(name: str, request: web.Request) -> web.Response:
        request[_SOURCE] = name
        return await endpoints[name].post(request)

    async def of_nobody(_: web.Request) -> web.Response:
        raise Refusal(404, "there is no such source")

    segment = SegmentApi(settings, intake)
    app.router.add_post(f"/v1/{{endpoint:{'|'.join((*segment_calls.TYPES, *segment_calls.SEVERAL))}}}", segment.post)

    async def ready(_: web.Request) -> web.Response:
        if not await intake.ready():
            raise Refusal(503, "Kafka does not answer")
        return web.json_response({"status": "ready"})

    cohorts = {contacts.name: CohortWebhook(contacts, intake) for contacts in settings.contacts}

    async def cohort_webhook(request: web.Request) -> web.Response:
        name = request.match_info.get("name", next(iter(cohorts), ""))
        if name not in cohorts:
            raise Refusal(404, "there is no such [[contacts]] entry")
        request[_SOURCE] = name
        return await cohorts[name].post(request)

    app.router.add_post("/amplitude/cohorts", cohort_webhook)
    app.router.add_post("/amplitude/cohorts/{name}", cohort_webhook)
    # A path of its own for each: aiohttp finds these at once, and takes 20 µs to match a pattern.
    app.router.add_post("/sendgrid", partial(of_source, settings.sources[0].name))
    for name in endpoints:
        app.router.add_post(f"/sendgrid/{name}", partial(of_source, name))
    app.router.add_post("/sendgrid/{source}", of_nobody)
    app.router.add_get("/health", process.health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", process.metrics)
    return app


class _Runner(web.AppRunner):
    """What serves an application that is open to the internet."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            logger=_logger(),
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            max_headers=_MOST_HEADERS,
            max_field_size=_HEADER_BYTES,
            # The signature is over the bytes as they came, and nothing may unpack without a bound.
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        self.app[_CONNECTIONS].guard(server)
        return server


def _logger() -> logging.Logger:
    """aiohttp's, without a traceback for each request that is not HTTP: anybody can send those."""
    logger = logging.getLogger("aiohttp.server.ingress")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    status = 500
    request.app[_CONNECTIONS].began(request)
    try:
        response = await _answered(request, handler)
        status = response.status
        return response
    finally:
        request.app[_CONNECTIONS].ended(request, is_welcome=status == HTTPStatus.OK and request.method == "POST")
        metrics.REQUESTS.labels(request.get(_SOURCE, ""), str(status)).inc()
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - started)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A handler's answer, refusals as plain responses.

    aiohttp would keep a refusal that is raised in a frame that the exception itself refers to, and with it the body of
    the request, until the garbage collector comes by: with Kafka away, memory grew by what was refused.
    """
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return web.Response(status=refusal.status, headers=refusal.headers, body=refusal.body)
