"""The endpoint of SendGrid's Event Webhook."""

import time

from aiohttp import web

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed, public_key
from connectors.kafka import Headers, Record
from schemas import topics
from streams import metrics
from streams.ingress.intake import Intake, Refusal, body_of, has_basic_auth
from streams.sections import Source


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
        if self._credentials and not has_basic_auth(request, self._credentials):
            raise Refusal(401, "wrong or missing user name and password", {"WWW-Authenticate": "Basic"})
        body = await body_of(request)
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
        await self._intake.accept((self._topic, Record(None, body, headers)))
        metrics.ACCEPTED_BYTES.labels(self._source.name).inc(len(body))
        return web.Response()

    def _is_fresh(self, timestamp: str, now: float) -> bool:
        oldest = self._source.max_signature_age
        return not oldest or (timestamp.isdecimal() and abs(now - int(timestamp)) <= oldest)
