"""The endpoint of SendGrid's Event Webhook."""

import time

from aiohttp import web

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed
from connectors.kafka import Headers, Record
from schemas import topics
from streams import basic_auth, metrics
from streams.ingress.intake import Intake
from streams.ingress.refusal import Refusal
from streams.sections import Source
from streams.verification_keys import SourceKeys


class EventWebhook:
    """The endpoint of one source's Event Webhook.

    Args:
        source: whose.
        keys: that verify its POSTs.
        intake: where bodies go.
        may_be_open: whether a source without any credentials takes what comes: where only this machine can post.
    """

    def __init__(self, source: Source, keys: SourceKeys, intake: Intake, *, may_be_open: bool) -> None:
        self._source = source
        self._intake = intake
        self._topic = topics.raw(source.name)
        self._keys = keys
        self._credentials = [
            f"{source.username}:{password.get_secret_value()}".encode() for password in source.password
        ]
        self._may_be_open = may_be_open
        self._accepted_bytes = metrics.ACCEPTED_BYTES.labels(source.name)

    async def post(self, request: web.Request) -> web.Response:
        """Take one POST of SendGrid's.

        Raises:
            Refusal: 401, without the credentials of the source; and what bodies and intake refuse.
        """
        now = time.time()
        keys = self._keys.valid
        if self._credentials and not basic_auth.is_among(basic_auth.given(request), self._credentials):
            raise Refusal(401, "wrong or missing user name and password", {"WWW-Authenticate": "Basic"})
        if not keys and not self._credentials and not self._may_be_open:
            raise Refusal(401, "no verification key is known yet: gridstream webhook register")
        if keys and SIGNATURE_HEADER not in request.headers:  # nothing of such a body is worth its memory
            raise Refusal(401, "wrong or missing signature")
        body = await self._intake.bodies.read(request)
        signature = request.headers.get(SIGNATURE_HEADER, "")
        timestamp = request.headers.get(TIMESTAMP_HEADER, "")
        if keys:
            if not is_signed(keys, signature, timestamp, body):
                raise Refusal(401, "wrong or missing signature")
            if not self._is_fresh(timestamp, now):
                raise Refusal(401, "the signature is older than max_signature_age")
        proofs = ["signature"] * bool(keys) + ["password"] * bool(self._credentials)
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
        self._accepted_bytes.inc(len(body))
        return web.Response()

    def _is_fresh(self, timestamp: str, now: float) -> bool:
        oldest = self._source.max_signature_age
        return not oldest or (timestamp.isdecimal() and abs(now - int(timestamp)) <= oldest)
