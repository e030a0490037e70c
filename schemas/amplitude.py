"""From a stored event to Amplitude's: names, ids, properties, and what Amplitude would refuse.

Pure: the same record gives the same event, byte for byte, and the same `insert_id`, by which Amplitude drops repeats.
Source: Amplitude's "HTTP V2 API", "Batch Event Upload API" and "SendGrid" source pages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple

import orjson

from schemas.columns import milliseconds
from schemas.events import UNKNOWN, EventType

PREFIX = "[Sendgrid] "
"""Of every event type, as Amplitude's own SendGrid source writes it."""
LIBRARY = "sendgrid"
LONGEST_TEXT = 1024
"""Characters of an id, a name or a property; Amplitude cuts longer properties and refuses longer names."""
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
"""Ids that Amplitude answers with 400, whatever their case."""

Casing = Literal["wire", "capitalized", "title"]
CustomArgs = Literal["nested", "flat"]


class Skip(Enum):
    """Why an event stays here."""

    NO_USER_ID = "no user id"
    UNKNOWN_USER = "unknown user"


_OPTIONAL = frozenset({"ip", "user_agent"})
_EMPTY: tuple[object, ...] = (None, "", [])
_CASINGS: dict[Casing, Callable[[str], str]] = {
    "wire": str,
    "capitalized": lambda name: name[:1].upper() + name[1:],
    "title": lambda name: name.replace("_", " ").title(),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decides about the events.

    Attributes:
        user_id_key: the custom argument that holds the user id.
        known_users_only: whether an event without that argument stays here: it would create a user of its address.
        casing: of the name: `spamreport` as it is (`wire`), `Spamreport` (`capitalized`), `Spam Report` (`title`).
        custom_args: as one property (`nested`), or each as a property of its own (`flat`).
        allowed_args: those that go along; None is all.
        min_id_length: a shorter id is none.
    """

    user_id_key: str = "amp_user_id"
    known_users_only: bool = False
    casing: Casing = "wire"
    custom_args: CustomArgs = "nested"
    allowed_args: frozenset[str] | None = None
    min_id_length: int = 1


class AmplitudeEvent(NamedTuple):
    """One event, ready to be sent.

    Attributes:
        user_id: by which Amplitude limits rates.
        content: JSON.
    """

    user_id: str
    content: bytes


def without(event: AmplitudeEvent, field: str) -> AmplitudeEvent | None:
    """An event without a field that Amplitude does not like; None where it would not be the same event."""
    content = orjson.loads(event.content)
    if field not in _OPTIONAL or field not in content:
        return None
    del content[field]
    return event._replace(content=orjson.dumps(content))


class Mapper:
    """Maps the records of one event type.

    Args:
        event: the type.
        rules: of the operator.
    """

    def __init__(self, event: EventType, rules: Rules) -> None:
        self._rules = rules
        self._cased = _CASINGS[rules.casing]
        # The table's name has the underscores that `spamreport` lacks; what nobody declared has only its own.
        self._words = event.topic if rules.casing == "title" and event is not UNKNOWN else ""
        self._mapped = {column.name for column in event.columns if column.computed} | {"event", "timestamp"}
        self._of_recipient = any(column.of_recipient for column in event.columns)

    def __call__(self, line: bytes) -> AmplitudeEvent | Skip:
        """Map a record, or say why it stays here.

        Args:
            line: JSON with the table's column names.

        Raises:
            ValueError: it is no record of an event.
        """
        row = orjson.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004  the record is wrong, not a type
        args = row.get("custom_args", {})
        if not isinstance(args, dict):
            raise ValueError("custom_args is not an object")  # noqa: TRY004
        given = row.get("user_id")
        known = self._usable(given) if self._rules.user_id_key in args or given != row.get("email") else ""
        if self._rules.known_users_only and not known:
            return Skip.UNKNOWN_USER
        # An argument that says `null` says nothing: as without it, the address is the user's id.
        user_id = known or self._usable(row.get("email"))
        if not user_id:
            return Skip.NO_USER_ID
        try:
            time = milliseconds(row["timestamp"]) or milliseconds(row["received_at"])
            event_id = str(row["event_id"])
        except KeyError as error:
            raise ValueError(f"the record has no {error.args[0]}") from error
        event: dict[str, object] = {
            "user_id": user_id,
            "event_type": _cut(PREFIX + self._cased(self._words or str(row.get("event") or UNKNOWN.name))),
            "time": time,
            "insert_id": event_id if len(event_id) <= LONGEST_TEXT else _digest(event_id),
            "library": LIBRARY,
            "$skip_user_properties_sync": True,
        }
        # A machine open comes from the mail provider's proxy.
        if self._of_recipient and not row.get("sg_machine_open"):
            if _is_address(row.get("ip")):
                event["ip"] = row.pop("ip")
            if row.get("useragent"):
                event["user_agent"] = _cut(row.pop("useragent"))
        event["event_properties"] = self._properties(row, args)
        return AmplitudeEvent(user_id, orjson.dumps(event))

    def _properties(self, row: dict[str, Any], args: dict[str, str]) -> dict[str, object]:
        allowed = self._rules.allowed_args
        sent = args if allowed is None else {name: value for name, value in args.items() if name in allowed}
        properties = {
            name: _cut(value) for name, value in row.items() if name not in self._mapped and value not in _EMPTY
        }
        if self._rules.custom_args == "flat":
            return {name: _cut(value) for name, value in sent.items()} | properties
        if sent:
            properties["custom_args"] = _cut(sent)
        return properties

    def _usable(self, user_id: object) -> str:
        """An id that Amplitude takes; empty where it is none."""
        text = user_id.strip()[:LONGEST_TEXT] if isinstance(user_id, str) else ""
        return text if len(text) >= self._rules.min_id_length and text.lower() not in REFUSED_IDS else ""


def _cut(value: Any) -> Any:  # noqa: ANN401  any JSON value
    if type(value) is str:
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT]
    if type(value) is list:
        return [_cut(each) for each in value]
    return {name: _cut(each) for name, each in value.items()} if type(value) is dict else value


def _is_address(ip: object) -> bool:
    try:
        ip_address(ip if isinstance(ip, str) else "")
    except ValueError:
        return False
    return True


def _digest(event_id: str) -> str:
    return blake2b(event_id.encode(), digest_size=16).hexdigest()
