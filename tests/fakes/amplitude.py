"""A stateful fake of Amplitude's HTTP V2 and Batch APIs.

"Facts" and a number mean a section of the project's fact sheet on Amplitude and Segment.
"""

from base64 import b64encode
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import orjson

from tests.fakes.clock import Clock
from tests.fakes.server import Answer, Call, FakeServer

Event = dict[str, Any]
REFUSED_IDS = frozenset(
    {
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "empty",
        "00000000-0000-0000-0000-000000000000",
        "{}",
        "lmy47d",
        "0",
        "-1",
    }
)
"""User and device ids that are a 400 (facts 2.2)."""
_DAY = 24 * 3600.0
_REMEMBERED = 7 * _DAY
_LONGEST_TEXT = 1024
_DEEPEST = 40
_SHORTEST_ID = 5
_MOST_DELETED = 100


@dataclass(slots=True)
class ApiLimits:
    """How much one of the two APIs takes (facts 2.3); a test may want less.

    Attributes:
        body: bytes in a request.
        events: in a request.
        per_second: events of one user or device, on average
        window: over so many seconds.
        wait: so long is an id throttled that had more.
        daily: events of one user or device in 24 hours; None is any number.
    """

    body: int
    events: int
    per_second: float
    window: float
    wait: float
    daily: int | None


@dataclass(slots=True)
class _Rate:
    """What one id has sent lately, and until when it is throttled."""

    lately: deque[tuple[float, int]] = field(default_factory=deque)
    today: deque[tuple[float, int]] = field(default_factory=deque)
    throttled_until: float = 0.0


class _Refusal(Exception):  # noqa: N818  it is an answer
    """An answer that refuses the whole request."""

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"code": status, "error": message} | details)


Kind = Literal["user", "device"]


class FakeAmplitude(FakeServer):
    """Takes events for one project.

    The whole request is refused or taken; what is taken is deduplicated silently.

    Attributes:
        api_key: of the project.
        events: what has been ingested, each once, with device_id and time filled in as Amplitude does.
        duplicates: how many were dropped as such.
        http_limits: of HTTP V2, whose average is over 30 seconds here as it is for Batch; nothing says over how many,
        batch_limits: and of Batch.
        poison: a request with one of these texts in its body is a 403 of the firewall (facts 2.3).
        silenced_devices: a request with one of them is a 400 that says so (facts 2.3).
        names_all_indexes: whether a 400 names all faulty events or only the first of each field (facts 2.3).
        secret_key: of the project, with which users can be deleted.
        deletions: the ids of users that are to be deleted, by the request that asked for it.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.api_key = "a" * 32
        self.events: list[Event] = []
        self.duplicates = 0
        self.http_limits = ApiLimits(1_000_000, 1_999, 30.0, 30.0, 30.0, None)
        self.batch_limits = ApiLimits(20_000_000, 2_000, 1000.0, 30.0, 15.0, 500_000)
        self.poison: set[bytes] = set()
        self.silenced_devices: set[str] = set()
        self.names_all_indexes = True
        self.secret_key = "s" * 32
        self.deletions: list[list[str]] = []
        self._seen: dict[tuple[str, str], float] = {}
        self._rates: defaultdict[tuple[str, Kind, str], _Rate] = defaultdict(_Rate)

    @property
    def users(self) -> set[str]:
        """The ids of all users that exist by now: an event of an unknown one creates it (facts 1)."""
        return {event["user_id"] for event in self.events if "user_id" in event}

    async def answer(self, call: Call) -> Answer:
        """By path: `/2/httpapi`, `/batch`, or the one of deletions."""
        self.clock.settle()
        if call.path == "/api/2/deletions/users" and call.method == "POST":
            return self._delete(call)
        limits = {"/2/httpapi": self.http_limits, "/batch": self.batch_limits}.get(call.path)
        if limits is None or call.method != "POST":
            return _Refusal(404 if limits is None else 405, "not served").answer
        try:
            events = self._events(call.content, limits)
            self._refuse_faulty(events)
            self._refuse_silenced(events)
            self._throttle(call.path, limits, events)
        except _Refusal as refusal:
            return refusal.answer
        return self._ingest(events, len(call.content))

    def _events(self, content: bytes, limits: ApiLimits) -> list[Event]:
        """The events of a request that is right as a whole."""
        if any(text in content for text in self.poison):
            raise _Refusal(403, "Forbidden")
        if len(content) > limits.body:
            raise _Refusal(413, "Payload too large")
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise _Refusal(400, "Invalid JSON request body", missing_field=None)
        for name in ("api_key", "events"):
            if not body.get(name):
                raise _Refusal(400, "Request missing required field", missing_field=name)
        if body["api_key"] != self.api_key:
            raise _Refusal(400, f"Invalid API key: {body['api_key']}", missing_field=None)
        if len(body["events"]) > limits.events:
            raise _Refusal(413, "Payload too large: too many events")
        shortest = (body.get("options") or {}).get("min_id_length", _SHORTEST_ID)
        return [_with_ids(event, shortest) for event in body["events"]]

    def _refuse_faulty(self, events: Sequence[Event]) -> None:
        """400, with the indexes of the events by field (facts 2.2, 2.3)."""
        missing, invalid = _missing(events), _invalid(events)
        if not missing and not invalid:
            return
        if not self.names_all_indexes:
            missing, invalid = ({name: at[:1] for name, at in each.items()} for each in (missing, invalid))
        raise _Refusal(
            400,
            "Request missing required field" if missing else "Invalid field values on some events",
            missing_field=next(iter(missing), None),
            events_with_missing_fields=missing,
            events_with_invalid_fields=invalid,
        )

    def _refuse_silenced(self, events: Sequence[Event]) -> None:
        indexes = [index for index, event in enumerate(events) if event["device_id"] in self.silenced_devices]
        if not indexes:
            return
        raise _Refusal(
            400,
            "Events silenced",
            eps_threshold=30,
            exceeded_daily_quota_devices={},
            silenced_devices=sorted({events[index]["device_id"] for index in indexes}),
            silenced_events=indexes,
            throttled_devices={},
            throttled_events=[],
        )

    def _throttle(self, path: str, limits: ApiLimits, events: Sequence[Event]) -> None:
        """429 for the whole request, with the ids and the indexes of their events (facts 2.3)."""
        now = self.clock.now()
        throttled: dict[Kind, dict[str, int]] = {"user": {}, "device": {}}
        exceeded: dict[Kind, dict[str, int]] = {"user": {}, "device": {}}
        counts = Counter(each for event in events for each in _ids(event))
        for (kind, name), number in counts.items():
            rate = self._rates[path, kind, name]
            lately = _within(rate.lately, now - limits.window) + number
            today = _within(rate.today, now - _DAY) + number
            if lately > limits.per_second * limits.window and rate.throttled_until <= now:
                rate.throttled_until = now + limits.wait
            if rate.throttled_until > now:
                throttled[kind][name] = max(1, round(lately / limits.window))
            if limits.daily is not None and today > limits.daily:
                exceeded[kind][name] = today
        refused = {(kind, name) for by_kind in (throttled, exceeded) for kind in by_kind for name in by_kind[kind]}
        if not refused:
            for (kind, name), number in counts.items():
                self._rates[path, kind, name].lately.append((now, number))
                self._rates[path, kind, name].today.append((now, number))
            return
        quotas = {f"exceeded_daily_quota_{kind}s": ids for kind, ids in exceeded.items()}
        raise _Refusal(
            429,
            "Too many requests for some devices and users",
            eps_threshold=int(limits.per_second),
            throttled_users=throttled["user"],
            throttled_devices=throttled["device"],
            throttled_events=[i for i, event in enumerate(events) if not refused.isdisjoint(_ids(event))],
            **(quotas if limits.daily is not None else {}),
        )

    def _ingest(self, events: Sequence[Event], size: int) -> Answer:
        """200. An event with insert_id and device_id of one seen within 7 days is dropped silently (facts 2.4)."""
        now = self.clock.now()
        for event in events:
            if insert_id := event.get("insert_id"):
                key = insert_id, event["device_id"]
                if self._seen.get(key, float("-inf")) > now - _REMEMBERED:
                    self.duplicates += 1
                    continue
                self._seen[key] = now
            self.events.append({"time": int(now * 1000), "library": "http/2.0"} | event)
        return Answer(
            body={
                "code": 200,
                "events_ingested": len(events),
                "payload_size_bytes": size,
                "server_upload_time": int(now * 1000),
            }
        )

    def _delete(self, call: Call) -> Answer:
        """As Amplitude's "User Privacy API" page says: a job for those it knows, 400 where others are not ignored."""
        credentials = b64encode(f"{self.api_key}:{self.secret_key}".encode()).decode()
        if call.headers.get("authorization") != f"Basic {credentials}":
            return Answer(401, {"error": "unauthorized"})
        ids = call.body["user_ids"]
        known = [each for each in ids if each in self.users]
        if len(ids) > _MOST_DELETED or (len(known) < len(ids) and call.body.get("ignore_invalid_id") != "true"):
            return Answer(400, {"error": "invalid user ids"})
        if not known:
            return Answer(body=[])
        self.deletions.append(known)
        return Answer(body={"day": "2026-12-01", "status": "staging", "amplitude_ids": [{"amplitude_id": 1}]})


def _with_ids(event: Event, shortest: int) -> Event:
    """Ids that are too short are removed; a missing device id is a hash of the user id (facts 2.2)."""
    ids = {name: event.get(name) for name in ("user_id", "device_id")}
    kept = {name: value for name, value in ids.items() if not isinstance(value, str) or len(value) >= shortest}
    event = {name: value for name, value in event.items() if name not in ids} | {
        name: value for name, value in kept.items() if value
    }
    if "device_id" not in event and "user_id" in event:
        event["device_id"] = sha256(str(event["user_id"]).encode()).hexdigest()[:32] + "R"
    return {name: _cut(value) for name, value in event.items()}


def _ids(event: Event) -> Iterator[tuple[Kind, str]]:
    if "user_id" in event:
        yield "user", event["user_id"]
    yield "device", event["device_id"]


def _missing(events: Sequence[Event]) -> dict[str, list[int]]:
    faults: defaultdict[str, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        if not event.get("event_type"):
            faults["event_type"].append(index)
        if "device_id" not in event:
            faults["user_id"].append(index)
    return faults


def _invalid(events: Sequence[Event]) -> dict[str, list[int]]:
    faults: defaultdict[str, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        if type(event.get("time", 0)) is not int:
            faults["time"].append(index)
        for name in ("user_id", "device_id"):
            value = event.get(name, "")
            if not isinstance(value, str) or value.lower() in REFUSED_IDS:
                faults[name].append(index)
        for name in ("event_properties", "user_properties"):
            value = event.get(name, {})
            if not isinstance(value, dict) or _depth(value) > _DEEPEST:
                faults[name].append(index)
    return faults


def _depth(value: Any) -> int:
    """How deep objects and lists are nested."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _cut(value: Any) -> Any:
    """Texts are cut at 1,024 characters (facts 2.2)."""
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, Mapping):
        return {name: _cut(each) for name, each in value.items()}
    return [_cut(each) for each in value] if isinstance(value, list) else value


def _within(sent: deque[tuple[float, int]], since: float) -> int:
    """How many were sent since; what is older is forgotten."""
    while sent and sent[0][0] <= since:
        sent.popleft()
    return sum(number for _, number in sent)
