"""Endpoints like those of Segment's tracking API, for unchanged Segment clients."""

import json
import zlib

from aiohttp import web

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.cohorts import CohortBatch, contact_update
from schemas.segment import MOST_BYTES, BadCallError, Call, audience, calls, upsert
from streams import basic_auth
from streams.clock import now
from streams.ingress.intake import Intake
from streams.ingress.refusal import Refusal
from streams.settings import Settings

_ANY_ENCODING = zlib.MAX_WBITS | 32


class SegmentApi:
    """All of its endpoints.

    Args:
        settings: read.
        intake: where calls go.
    """

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._intake = intake
        # Segment's clients send the write key as the user name, with an empty password.
        self._credentials = [f"{key.get_secret_value()}:".encode() for key in settings.segment.write_keys]
        self._mails = settings.mail.compiled()
        self._upsert_events = frozenset(settings.segment.upsert_events)
        self._account = settings.segment_contacts.name if settings.segment_contacts else ""

    async def post(self, request: web.Request) -> web.Response:
        """Take one request.

        Raises:
            Refusal: 401, without a write key; 400, for what is not a call; and what body and intake refuse.
        """
        if not self._is_known(request):
            raise _refusal(401, "wrong or missing write key", {"WWW-Authenticate": "Basic"})
        body = _unpacked(await self._intake.bodies.read(request), request.headers.get("Content-Encoding", ""))
        try:
            found = calls(request.match_info["endpoint"], body, now())
        except BadCallError as error:
            raise _refusal(400, str(error)) from error
        await self._intake.accept(*(record for call in found for record in self._records(call)))
        return web.json_response({"success": True})

    def _is_known(self, request: web.Request) -> bool:
        if self._credentials:
            return basic_auth.is_among(basic_auth.given(request), self._credentials)
        return self._intake.is_local(request)

    def _records(self, call: Call) -> list[tuple[str, Record]]:
        records = [(topics.CALLS, Record(call.key, call.line(), NO_HEADERS))]
        if self._mails.want(call):
            records.append((topics.MAILS, Record(call.key, call.record(), NO_HEADERS)))
        if self._account:
            records += [(topics.COHORTS, Record(batch.key, batch.line(), NO_HEADERS)) for batch in self._changes(call)]
        return records

    def _changes(self, call: Call) -> list[CohortBatch]:
        """What a call changes among contacts: an audience, or the contact itself."""
        if change := audience(call, self._account):
            return [change]
        if said := upsert(call, self._upsert_events):
            user_id, traits = said
            at = call.timestamp or call.received_at
            return [contact_update(self._account, call.received_at, at, call.message_id, user_id, traits)]
        return []


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Refusal:
    refusal = Refusal(status, message, headers)
    refusal.text = json.dumps({"success": False, "message": message})
    return refusal


def _unpacked(body: bytes, encoding: str) -> bytes:
    """A body without its compression, which may not make it larger than the API takes."""
    if encoding.lower() not in ("gzip", "deflate"):
        return body
    unpacking = zlib.decompressobj(_ANY_ENCODING)
    try:
        unpacked = unpacking.decompress(body, MOST_BYTES + 1)
    except zlib.error as error:
        raise _refusal(400, f"the body is not {encoding}: {error}") from error
    if not unpacking.eof and len(unpacked) <= MOST_BYTES:
        raise _refusal(400, f"the body ends before its {encoding} does")
    return unpacked
