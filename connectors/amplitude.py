"""Amplitude's HTTP V2 and Batch APIs: events in, what became of each out.

Source: Amplitude's "HTTP V2 API" and "Batch Event Upload API" pages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import aiohttp
import orjson

from connectors.errors import Fatal, Retry
from connectors.http import Client, error_for, redacted
from schemas.amplitude import AmplitudeEvent

HOSTS = {"us": "https://api2.amplitude.com", "eu": "https://api.eu.amplitude.com"}
"""By the region of a project."""


@dataclass(frozen=True, slots=True)
class Api:
    """One of the two ways in, and its documented limits.

    Attributes:
        path: of its URL.
        bytes: of a body.
        events: in a request.
        per_second: events of one user or device, on average.
        pause: seconds that an id has to wait that had more.
    """

    path: str
    bytes: int
    events: int
    per_second: int
    pause: float


HTTP_V2 = Api("/2/httpapi", 1_000_000, 1_999, 30, 30.0)
"""For live traffic: seen within moments."""
BATCH = Api("/batch", 20_000_000, 2_000, 1_000, 15.0)
"""For much at once: seen later."""

_CONNECT_SECONDS = 10.0
_TAIL = b"]}"
_JSON = {"Content-Type": "application/json"}
_SHOWN = 500
_OK, _BAD_REQUEST, _FORBIDDEN, _TOO_LARGE, _TOO_MANY, _SERVER_ERROR = 200, 400, 403, 413, 429, 500

What = Literal["taken", "some", "too large", "suspect"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one event.

    Attributes:
        field: that Amplitude names.
        reason: Amplitude's own words.
    """

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Amplitude said to a request. Unless it is taken, nothing of the request has been.

    Attributes:
        what: `taken`; `some`: these events are at fault or too many, the others may come again at once; `too large`;
            `suspect`: something in it is not liked, and Amplitude does not say what.
        reason: Amplitude's own words.
        status: HTTP's.
        faults: events that it will never take as they are, by their index.
        throttled: indexes of events whose user or device has to wait.
        refused: indexes of events whose user or device has had its day's quota, or has been silenced.
    """

    what: What
    reason: str = ""
    status: int = _OK
    faults: Mapping[int, Fault] = field(default_factory=dict)
    throttled: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()


class Amplitude(Client):
    """One project.

    Args:
        api_key: of the project.
        url: of the host, one of HOSTS or another.
        min_id_length: ids may be as short as this.
        timeout: seconds after which an answer counts as lost.
    """

    def __init__(self, api_key: str, url: str, min_id_length: int, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._key = api_key
        self._head = (
            b'{"api_key":'
            + orjson.dumps(api_key)
            + b',"options":'
            + orjson.dumps({"min_id_length": min_id_length})
            + b',"events":['
        )
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=_CONNECT_SECONDS)

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=self._timeout)

    @property
    def overhead(self) -> int:
        """Bytes of a body besides its events and one byte for each of them."""
        return len(self._head) + len(_TAIL)

    async def send(self, api: Api, events: Sequence[AmplitudeEvent]) -> Verdict:
        """Send events, at least one.

        Args:
            api: HTTP_V2 or BATCH.
            events: within its limits.

        Raises:
            Retry: Amplitude cannot now. The events may have been taken all the same: repeat them as they are.
            Fatal: the API key or the address is wrong.
        """
        body = self._head + b",".join([event.content for event in events]) + _TAIL
        status, answer, headers = await self._post(api, body)
        if status == _OK:
            return Verdict("taken")
        details = _details(answer)
        reason = _words(status, details.get("error"), answer)
        if status == _TOO_LARGE:
            return Verdict("too large", reason, status)
        if status == _FORBIDDEN:
            return Verdict("suspect", reason, status)
        if status == _BAD_REQUEST:
            _refuse_wrong_key(details)
        if status in (_BAD_REQUEST, _TOO_MANY) and (verdict := _of_events(details, reason, status, events)):
            return verdict
        if status == _BAD_REQUEST:
            return Verdict("suspect", reason, status)
        if status == _TOO_MANY:
            raise Retry(reason, api.pause)
        raise _unusable(error_for(status, answer.decode("utf-8", "replace"), headers, "Amplitude"))

    async def check(self) -> None:
        """Ask whether the key is one, with an event that Amplitude takes from nobody.

        Raises:
            Retry: Amplitude does not answer, or only with an error of its own.
            Fatal: it is none.
        """
        status, answer, headers = await self._post(HTTP_V2, self._head + b"{}" + _TAIL)
        if status == _BAD_REQUEST:
            _refuse_wrong_key(_details(answer))
        elif status >= _SERVER_ERROR:
            raise error_for(status, answer.decode(errors="replace"), headers, "Amplitude")

    async def _post(self, api: Api, body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        try:
            # As a file, because aiohttp warns of large bodies that are bytes: it would write them in one piece.
            async with self._session.post(
                self._url + api.path, data=BytesIO(body), headers=_JSON, allow_redirects=False
            ) as response:
                answer = await response.read()
                if response.status != _OK:
                    answer = redacted(answer.decode("utf-8", "replace"), self._key).encode()
                return response.status, answer, response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry(f"Amplitude does not answer: {str(error) or type(error).__name__}") from error


def _details(answer: bytes) -> dict[str, Any]:
    try:
        details = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return details if isinstance(details, dict) else {}


def _words(status: int, error: object, answer: bytes) -> str:
    text = error if isinstance(error, str) and error else answer.decode("utf-8", "replace")
    return f"Amplitude answered {status}: {text[:_SHOWN].strip()}"


def _refuse_wrong_key(details: Mapping[str, Any]) -> None:
    if details.get("missing_field") == "api_key" or "api key" in str(details.get("error")).lower():
        # Not in Amplitude's words: they may repeat the key.
        raise Fatal("Amplitude does not know the API key; check amplitude.api_key and amplitude.region")


def _unusable(error: Exception) -> Exception:
    """Whatever else: an address that serves something else, a redirect."""
    return error if isinstance(error, Retry) else Fatal(f"{error}. Check amplitude.url")


def _of_events(
    details: Mapping[str, Any], reason: str, status: int, events: Sequence[AmplitudeEvent]
) -> Verdict | None:
    """What an answer says of single events; None where it says nothing."""
    faults: dict[int, Fault] = {}
    for key, words in (("events_with_missing_fields", "missing"), ("events_with_invalid_fields", "invalid")):
        for name, indexes in _mapping(details.get(key)).items():
            for index in _indexes(indexes, events):
                faults.setdefault(index, Fault(name, f"{reason} ({words}: {name})"))
    throttled = _indexes(details.get("throttled_events"), events) | _of_users(details.get("throttled_users"), events)
    silenced = _indexes(details.get("silenced_events"), events)
    refused = silenced | _of_users(details.get("exceeded_daily_quota_users"), events)
    if details.get("exceeded_daily_quota_devices"):
        # The events' device ids are Amplitude's own, so they tell nothing; the users that only have to wait do.
        refused |= throttled - _of_users(details.get("throttled_users"), events)
    if not (faults or throttled or refused):
        return None
    return Verdict("some", reason, status, faults, frozenset(throttled - refused), frozenset(refused))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _indexes(value: object, events: Sequence[AmplitudeEvent]) -> set[int]:
    found = value if isinstance(value, Iterable) and not isinstance(value, str) else ()
    return {index for index in found if type(index) is int and 0 <= index < len(events)}


def _of_users(value: object, events: Sequence[AmplitudeEvent]) -> set[int]:
    users = _mapping(value)
    return {index for index, event in enumerate(events) if event.user_id in users} if users else set()
