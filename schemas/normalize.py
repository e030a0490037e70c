"""From the body of a POST to normalized events: one element in, one event or one malformed element out.

Pure: the same body gives the same events, byte for byte.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from orjson import dumps
from xxhash import xxh3_64_intdigest

from schemas.columns import (
    Column,
    LostDigitsError,
    UncertainError,
    milliseconds,
    text,
    time_text,
)
from schemas.events import EVENTS, UNKNOWN, EventType
from schemas.payload import Element, Malformed, elements, lenient_elements
from schemas.privacy import Guard

_EARLIEST_MS = 1_230_768_000_000
"""2009: SendGrid did not exist before."""
_EARLIEST_SECONDS = _EARLIEST_MS // 1000
_LATEST_AHEAD_MS = 7 * 24 * 3600 * 1000
_REMEMBERED_TIMES = 100_000


class Event(NamedTuple):
    """A normalized event.

    Attributes:
        type: what it is; says its topic and table.
        user_id: the key of its Kafka record.
        identity: a hash of what makes two events the same (type, event id, time), the same in every process.
        line: the record's value: JSON with the table's column names.
    """

    type: EventType
    user_id: str
    identity: int
    line: bytes


_Field = tuple[str, type | None, Mapping[type, Callable[[Any], object]]]
"""A column's name, the type of value that it takes as it is, and what values of other frequent types become."""
_new = tuple.__new__
"""A NamedTuple's own constructor takes three times as long."""


class Normalized(NamedTuple):
    """What became of a body: `len(events) + len(malformed)` is the number of its elements.

    Attributes:
        malformed: by the element's position in the body.
    """

    events: list[Event]
    malformed: dict[int, Malformed]


FORGOTTEN = Malformed("it told of somebody who is forgotten", b"")
"""What is left of an element that was no event and told of somebody who is forgotten."""


def identity_of(event: EventType, event_id: str, time: int) -> int:
    """A hash of what makes two events the same: type, event id, and time in milliseconds since 1970."""
    return xxh3_64_intdigest(event_id.encode(), time << 4 | EVENTS.index(event))


class Normalizer:
    """Normalizes the bodies of one source.

    Args:
        user_id_key: the custom argument that holds the user id.
    """

    def __init__(self, user_id_key: str = "amp_user_id") -> None:
        self._user_id_key = user_id_key
        self._times = _TimeTexts()
        self._shapes = {event.name: _Shape(number, event) for number, event in enumerate(EVENTS)}
        self._unknown = self._shapes[UNKNOWN.name]

    def __call__(self, body: bytes, received_at: int) -> Normalized:
        """Normalize a body.

        Args:
            body: as it came.
            received_at: when, in milliseconds since 1970.
        """
        try:
            return self._normalized(elements(body), received_at)
        except (LostDigitsError, orjson.JSONEncodeError, RecursionError):
            return self._normalized(lenient_elements(body), received_at)

    def guarded(self, body: bytes, received_at: int, guard: Guard) -> tuple[Normalized, list[int]]:
        """Normalize a body, as far as it may be seen.

        Args:
            body: as it came.
            received_at: when, in milliseconds since 1970.
            guard: decides about each element.

        Returns:
            What it becomes, and what stands for the identities of events that may not be seen.
        """
        try:
            return self._guarded(elements(body), received_at, guard)
        except (LostDigitsError, orjson.JSONEncodeError, RecursionError):
            return self._guarded(lenient_elements(body), received_at, guard)

    def _guarded(self, found: list[Element], received_at: int, guard: Guard) -> tuple[Normalized, list[int]]:
        events: list[Event] = []
        malformed: dict[int, Malformed] = {}
        removed: list[int] = []
        received_text = self._times[received_at]
        for position, element in enumerate(found):
            if isinstance(element, Malformed):
                payload = guard.payload(element.payload)
                malformed[position] = FORGOTTEN if payload is None else Malformed(element.reason, payload)
            elif (seen := guard(element, received_at)) is None:
                removed.append(guard.identity(self._event(element, received_at, received_text).identity))
            else:
                events.append(self._event(seen, received_at, received_text))
        return Normalized(events, malformed), removed

    def _normalized(self, found: list[Element], received_at: int) -> Normalized:
        events: list[Event] = []
        malformed: dict[int, Malformed] = {}
        received_text = self._times[received_at]
        for position, element in enumerate(found):
            if isinstance(element, Malformed):
                malformed[position] = element
            else:
                events.append(self._event(element, received_at, received_text))
        return Normalized(events, malformed)

    def _event(self, element: dict[str, object], received_at: int, received_text: str) -> Event:
        name = element.get("event")
        shape = self._shapes.get(name) or self._shape_of_odd_name(name) if type(name) is str else self._unknown
        args: dict[str, str] = {}
        row: dict[str, Any] = {}
        fields = shape.fields
        for key, value in element.items():
            field = fields.get(key)
            if field is None:
                args[key] = value if type(value) is str else text(value)
                continue
            column, exact, frequent = field
            kind = type(value)
            if kind is exact:
                row[column] = value
            elif kind in frequent:
                try:
                    row[column] = frequent[kind](value)
                except UncertainError:
                    args[key] = text(value)
            elif value is not None:
                shape.convert(row, args, key, value)
        if shape is self._unknown:
            row["raw"] = text(element)
        else:
            row["event"] = shape.event.name
        time = element.get("timestamp")
        if type(time) is int and _EARLIEST_SECONDS <= time <= (received_at + _LATEST_AHEAD_MS) // 1000:
            time *= 1000
        else:
            time = _usable_time(time, received_at, args)
        event_id = row.get("sg_event_id") or _substitute_id(element, row, time)
        user_id = element.get(self._user_id_key)
        if type(user_id) is not str or not (user_id := user_id.strip()):
            user_id = _scalar_text(user_id) or row.get("email", "")
        row["event_id"] = event_id
        row["user_id"] = user_id
        row["timestamp"] = self._times[time]
        row["received_at"] = received_text
        row["custom_args"] = args
        identity = xxh3_64_intdigest(event_id.encode(), time << 4 | shape.number)
        return _new(Event, (shape.event, user_id, identity, dumps(row)))

    def _shape_of_odd_name(self, name: str) -> "_Shape":
        return self._shapes.get(name.strip().lower(), self._unknown)


class _Shape:
    """How the fields of one event type become columns, decided once.

    Attributes:
        number: of the type, below 16.
        fields: by SendGrid's key.
    """

    def __init__(self, number: int, event: EventType) -> None:
        self.number = number
        self.event = event
        self.fields: dict[str, _Field] = {}
        self._columns: dict[str, Column] = {}
        self._nested: dict[str, dict[str, _Field]] = {}
        for column in event.columns:
            keys = column.raw_keys
            # One of several keys must look first whether another one has come before.
            quick = (column.type.exact, column.type.frequent) if len(keys) == 1 else (None, {})
            for key in keys:
                self._columns[key] = column
                outer, _, inner = key.partition(".")
                if inner:
                    self._nested.setdefault(outer, {})[inner] = (column.name, *quick)
                    self.fields[outer] = (outer, None, {})
                else:
                    self.fields[key] = (column.name, *quick)
        self.fields["timestamp"] = ("timestamp", int, {})  # what it means is decided with the receive time

    def convert(self, row: dict[str, Any], args: dict[str, str], key: str, value: object) -> None:
        """Put a value that is of none of its column's frequent types where it belongs: at worst into the arguments."""
        nested = self._nested.get(key)
        if nested is None:
            self._put(row, args, key, value)
        elif isinstance(value, dict):
            for inner, member in value.items():
                field = nested.get(inner)
                if field and type(member) is field[1]:
                    row[field[0]] = member
                else:
                    self._put(row, args, f"{key}.{inner}", member)
        else:
            args[key] = text(value)

    def _put(self, row: dict[str, Any], args: dict[str, str], key: str, value: object) -> None:
        if key == "timestamp" or value is None:
            return
        column = self._columns.get(key)
        if column is None or column.name in row:
            args[key] = text(value)
            return
        try:
            row[column.name] = column.type.convert(value)
        except UncertainError:
            args[key] = text(value)


class _TimeTexts(dict[int, str]):
    """Times by their milliseconds: most events share theirs with many others."""

    def __missing__(self, ms: int) -> str:
        if len(self) >= _REMEMBERED_TIMES:
            self.clear()
        self[ms] = written = time_text(ms)
        return written


def _usable_time(original: object, received_at: int, args: dict[str, str]) -> int:
    """When it happened, in milliseconds since 1970; 0 where that cannot be told, the original then kept."""
    if original is None:
        return 0
    try:
        time = milliseconds(original)
    except UncertainError:
        time = 0
    if _EARLIEST_MS <= time <= received_at + _LATEST_AHEAD_MS:
        return time
    args["timestamp"] = text(original)
    return 0


def _scalar_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return text(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _substitute_id(element: dict[str, object], row: dict[str, Any], time: int) -> str:
    """An id for an event without `sg_event_id`: from what tells events apart, so that repeats get the same."""
    marks = [
        row.get("sg_message_id") or row.get("smtp_id"),
        row.get("email"),
        time or element.get("timestamp"),
        element.get("url"),
        element.get("url_offset"),
        element.get("attempt"),
    ]
    told_apart = [row.get("event"), *marks] if any(mark not in (None, "") for mark in marks) else element
    return blake2b(orjson.dumps(told_apart, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
