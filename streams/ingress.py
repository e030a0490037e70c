"""The ingress: takes webhooks, and answers only when Kafka has them."""

import asyncio
import json
import time
from base64 import b64decode
from contextlib import AsyncExitStack
from functools import partial
from hmac import compare_digest

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from connectors.errors import Reject, Retry
from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed, public_key
from connectors.kafka import Headers, Producer, Record
from schemas import topics
from streams import failpoints, metrics, process
from streams.delivery import persistently
from streams.schema import ensure_topics
from streams.settings import Settings, Source

log = structlog.get_logger()

_SOURCE = web.RequestKey("source", str)
"""Set once it is known to be one of ours: metrics must not have a label for whatever is asked for."""

_CONFIRM_SECONDS = 5.0
"""How long Kafka may take. A sender that waits longer gives up itself: some say after 10 s, SendGrid does not say."""
_BODY_SECONDS = 20.0
"""How long a sender may take for its body."""
_IDLE_SECONDS = 60.0
"""How long a connection may stay without a request, and a request without the end of its headers."""
_RETRY_AFTER = "5"
_LINGER_MS = 5
"""POSTs that arrive together go to Kafka together."""
_UNCONFIRMED_BYTES = 64 << 20
"""So much may wait for Kafka at once; more is told to come again, so that memory stays bounded while Kafka is away."""


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Fatal: the port cannot be had.
    """
    stopped = process.stop_event()
    async with AsyncExitStack() as stack:
        producer = Producer(settings.kafka.servers, _LINGER_MS)
        await persistently("connecting to Kafka", partial(ensure_topics, settings))
        await persistently("connecting to Kafka", producer.start)
        stack.push_async_callback(producer.stop)
        runner = _runner(application(settings, producer))
        await process.serve(stack, runner, settings.ingress.host, settings.ingress.port, "ingress")
        await stopped.wait()


class Refusal(web.HTTPException):
    """An answer that is not a success, as JSON that says why."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        super().__init__(text=json.dumps({"error": reason}), content_type="application/json", headers=headers)


class Intake:
    """What all endpoints share: a body goes to Kafka, or its sender is told to come again.

    Args:
        producer: started.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._unconfirmed = 0

    async def accept(self, topic: str, record: Record) -> None:
        """Return when Kafka has the record.

        Raises:
            Refusal: 503, as Kafka is away, slow or full; 413, as it takes no record this large.
        """
        size = len(record.value)
        if self._unconfirmed + size > _UNCONFIRMED_BYTES:
            raise Refusal(503, "too much is waiting for Kafka", {"Retry-After": _RETRY_AFTER})
        self._unconfirmed += size
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await failpoints.reach("before-publishing")
                await self._producer.publish(topic, record)
                await failpoints.reach("after-publishing")
        except (Retry, TimeoutError) as error:
            log.warning("not accepted", topic=topic, reason=str(error) or "Kafka did not confirm in time")
            raise Refusal(503, "Kafka did not confirm in time", {"Retry-After": _RETRY_AFTER}) from error
        except Reject as error:
            raise Refusal(413, "Kafka takes no record this large") from error
        finally:
            self._unconfirmed -= size

    async def ready(self) -> bool:
        """Whether Kafka answers."""
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._producer.ping()
        except (Retry, TimeoutError):
            return False
        return True


class EventWebhook:
    """The endpoint of one source's Event Webhook.

    Args:
        source: whose.
        intake: where bodies go.
    """

    def __init__(self, source: Source, intake: Intake) -> None:
        self._source = source
        self._intake = intake
        self._topic = topics.raw(source.name)
        self._keys = [public_key(key) for key in source.public_keys]
        self._credentials = [
            f"{source.username}:{password.get_secret_value()}".encode() for password in source.password
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Take one POST of SendGrid's.

        Raises:
            Refusal: see the table in docs/http.md.
        """
        now = time.time()
        if self._credentials and not self._has_password(request.headers.get("Authorization", "")):
            raise Refusal(401, "wrong or missing user name and password", {"WWW-Authenticate": "Basic"})
        body = await _body(request)
        signature = request.headers.get(SIGNATURE_HEADER, "")
        timestamp = request.headers.get(TIMESTAMP_HEADER, "")
        if self._keys:
            if not is_signed(self._keys, signature, timestamp, body):
                raise Refusal(401, "wrong or missing signature")
            if not self._is_fresh(timestamp, now):
                raise Refusal(401, "the signature is older than max_signature_age")
        proofs = ["signature"] * bool(self._keys) + ["password"] * bool(self._credentials)
        headers: Headers = [
            ("received_at", str(int(now * 1000)).encode()),
            ("verified", "+".join(proofs).encode() or b"none"),
            ("content_type", request.headers.get("Content-Type", "").encode("utf-8", "replace")),
        ]
        if signature:
            headers.append(("signature", signature.encode("utf-8", "replace")))
        if timestamp:
            headers.append(("timestamp", timestamp.encode("utf-8", "replace")))
        await self._intake.accept(self._topic, Record(None, body, headers))
        metrics.ACCEPTED_BYTES.labels(self._source.name).inc(len(body))
        return web.Response()

    def _has_password(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            given = b""
        matches = [compare_digest(given, credential) for credential in self._credentials]  # all, for the same time
        return any(matches)

    def _is_fresh(self, timestamp: str, now: float) -> bool:
        oldest = self._source.max_signature_age
        return not oldest or (timestamp.isdecimal() and abs(now - int(timestamp)) <= oldest)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise Refusal(408, "the body took too long") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal(413, "the body is larger than ingress.max_body_bytes") from error


def application(settings: Settings, producer: Producer) -> web.Application:
    """The ingress's endpoints."""
    intake = Intake(producer)
    app = web.Application(client_max_size=settings.ingress.max_body_bytes, middlewares=[_observed])
    endpoints = {source.name: EventWebhook(source, intake) for source in settings.sources}

    async def event_webhook(request: web.Request) -> web.Response:
        name = request.match_info.get("source", settings.sources[0].name)
        if name not in endpoints:
            raise Refusal(404, "there is no such source")
        request[_SOURCE] = name
        return await endpoints[name].post(request)

    async def ready(_: web.Request) -> web.Response:
        if not await intake.ready():
            raise Refusal(503, "Kafka does not answer")
        return web.json_response({"status": "ready"})

    app.router.add_post("/sendgrid", event_webhook)
    app.router.add_post("/sendgrid/{source}", event_webhook)
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
        response: web.StreamResponse = await handler(request)
        status = response.status
    except web.HTTPException as refusal:
        status = refusal.status
        raise
    else:
        return response
    finally:
        metrics.REQUESTS.labels(request.get(_SOURCE, ""), str(status)).inc()
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - started)
