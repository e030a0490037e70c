"""The HTTP server: which endpoints there are, and how it runs."""

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler

from connectors.kafka import Producer
from connectors.tls import serving
from schemas import segment as segment_calls
from streams import metrics, process
from streams.delivery import persistently
from streams.ingress.cohort_webhook import CohortWebhook
from streams.ingress.event_webhook import EventWebhook
from streams.ingress.intake import Intake, Refusal
from streams.ingress.segment_api import SegmentApi
from streams.schema import ensure_topics
from streams.settings import Settings

_SOURCE = web.RequestKey("source", str)
"""Set once it is known to be one of ours: metrics must not have a label for whatever is asked for."""

_IDLE_SECONDS = 60.0
"""How long a connection may stay without a request, and a request without the end of its headers."""
_LAST_REQUESTS_SECONDS = 0.2
"""What the last connection gets for its request to arrive: whoever has sent none by then is disconnected."""
_LINGER_MS = 5
"""POSTs that arrive together go to Kafka together."""


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
        await persistently("connecting to Kafka", producer.start)
        stack.push_async_callback(producer.stop)
        runner = _runner(application(settings, producer))
        await process.serve(stack, runner, ingress.host, ingress.port, "ingress", is_shared=is_shared, tls=tls)
        process.tell_ready()
        await stopped.wait()
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)


def application(settings: Settings, producer: Producer) -> web.Application:
    """The ingress's endpoints."""
    intake = Intake(producer, settings.ingress.trusted_proxies)
    app = web.Application(client_max_size=settings.ingress.max_body_bytes, middlewares=[_observed])
    endpoints = {source.name: EventWebhook(source, intake) for source in settings.sources}

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


def _runner(app: web.Application) -> web.AppRunner:
    """What serves an application that is open to the internet."""
    return web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=_IDLE_SECONDS,
        auto_decompress=False,  # the signature is over the bytes as they came, and nothing may unpack without a bound
    )


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    status = 500
    try:
        response = await _answered(request, handler)
        status = response.status
        return response
    finally:
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
