"""Calls of Segment's HTTP tracking API, and what they say about people and audiences.

Source: Segment's specification of its tracking API (identify, track, page, screen, group, alias; batch and import), of
Engage's audiences, and the default paths of its hosted SendGrid destination.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, cast, get_args

import orjson

from schemas.cohorts import Action, CohortBatch
from schemas.columns import UncertainError, milliseconds, time_text

CallType = Literal["identify", "track", "page", "screen", "group", "alias"]
TYPES = get_args(CallType)
SEVERAL = ("batch", "import")
"""Endpoints that take several calls at once."""

MOST_BYTES = 500 * 1024
"""Of a request's body, unpacked."""
MOST_CALL_BYTES = 32 * 1024
"""Of one call."""

_AUDIENCE_EVENTS: Mapping[str, Action] = {"Audience Entered": "enter", "Audience Exited": "exit"}
_COMPUTATIONS = ("audience", "journey_step")
_KEY_PROPERTIES = ("audience_key", "journey_step_key")
_ADDRESS_PATHS = {
    "address_line_1": ("line1", "street"),
    "address_line_2": ("line2",),
    "city": ("city",),
    "state_province_region": ("state",),
    "country": ("country",),
    "postal_code": ("postal_code", "postalCode"),
}
"""SendGrid's fields, and where `traits.address` has them."""
_OTHER_NAMES = {"first_name": "firstName", "last_name": "lastName", "phone_number": "phone"}
"""SendGrid's fields, and how Segment's own specification spells them."""
_AUDIENCE_NAMES = _OTHER_NAMES | {"address_line_1": "street", "state_province_region": "state"}
"""As the hosted lists destination finds them. Of an identify they are no defaults: a `state` may be any."""


class BadCallError(ValueError):
    """A request is not what the API takes; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        type: what it is.
        message_id: the same when the same call comes again.
        user_id: the customer's; may be empty.
        anonymous_id: the library's; may be empty.
        event: a track call's; the name of a page or screen.
        timestamp: when it happened, in milliseconds since 1970; 0 where it does not say.
        received_at: when it came, in milliseconds since 1970.
        traits: what is known about the user, or the group.
        properties: of the event.
        context: what the library adds.
    """

    type: CallType
    message_id: str
    user_id: str
    anonymous_id: str
    event: str
    timestamp: int
    received_at: int
    traits: Mapping[str, Any]
    properties: Mapping[str, Any]
    context: Mapping[str, Any]

    @property
    def key(self) -> bytes | None:
        """As a record's key: one user's calls stay in order."""
        return (self.user_id or self.anonymous_id).encode() or None

    def line(self) -> bytes:
        """Its row in the table `calls`, as JSON."""
        texts = {name: getattr(self, name) for name in ("type", "message_id", "user_id", "anonymous_id", "event")}
        nested = {name: orjson.dumps(getattr(self, name)).decode() for name in ("traits", "properties", "context")}
        times = {name: time_text(getattr(self, name)) for name in ("timestamp", "received_at")}
        return orjson.dumps(texts | nested | times)

    def record(self) -> bytes:
        """All of it, as JSON."""
        return orjson.dumps(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Call":
        """From what `record` wrote, parsed."""
        return cls(**record)


def calls(endpoint: str, body: bytes, received_at: int) -> list[Call]:
    """Read a request.

    Args:
        endpoint: the last part of its path: a type, `batch` or `import`.
        body: unpacked.
        received_at: when it came, in milliseconds since 1970.

    Raises:
        BadCallError: it cannot be taken.
    """
    if len(body) > MOST_BYTES:
        raise BadCallError(f"the request has {len(body):,} bytes; at most {MOST_BYTES:,} are taken")
    document = _object(body)
    if endpoint not in SEVERAL:
        return [_call(document, cast("CallType", endpoint), received_at, len(body))]
    several = document.get("batch")
    if not isinstance(several, list):
        raise BadCallError('the request lacks "batch", a list of calls')
    shared = document.get("context")
    found = []
    for position, each in enumerate(several):
        if not isinstance(each, dict):
            raise BadCallError(f"batch[{position}] is not an object")
        kind = each.get("type")
        if kind not in TYPES:
            raise BadCallError(f"batch[{position}].type is {kind!r}; expected one of {', '.join(TYPES)}")
        if isinstance(shared, dict):
            own = each.get("context")
            each["context"] = shared | (own if isinstance(own, dict) else {})
        found.append(_call(each, cast("CallType", kind), received_at, len(orjson.dumps(each))))
    return found


def upsert(call: Call, events: Collection[str] = ()) -> tuple[str, dict[str, Any]] | None:
    """Whom an identify is about: the user id, and the traits under SendGrid's names; None where it says nothing.

    The default paths are those of Segment's hosted destination: names, address and phone from the traits, of a track
    call else from the properties.

    Args:
        call: of any type.
        events: of track calls that are to say something about the contact too.
    """
    traits = {**_dict(call.context.get("traits")), **call.traits}
    if call.type == "track" and call.event in events:
        traits = {**call.properties, **traits}
    elif call.type != "identify":
        return None
    return call.user_id, _flat(traits, _OTHER_NAMES)


def audience(call: Call, account: str) -> CohortBatch | None:
    """The change of an audience's membership that a call is, if it is one.

    Engage says it as an identify with a boolean trait named like the audience, or as a track, of `Audience Entered`,
    `Audience Exited` or whatever else, with such a property; `context.personas` names the audience. A track of a
    journey's step has no such property: nobody but who enters is told of.
    """
    personas = _dict(call.context.get("personas"))
    key, computation = personas.get("computation_key"), personas.get("computation_class")
    facts, action = call.traits, None
    if call.type == "track":
        facts, action = call.properties, _AUDIENCE_EVENTS.get(call.event)
        key = next((name for each in _KEY_PROPERTIES if (name := facts.get(each))), key)
        if computation == "journey_step":
            action = "enter"
    elif call.type != "identify":
        return None
    if not isinstance(key, str) or not key:
        return None
    if (action or computation in _COMPUTATIONS) and isinstance(said := facts.get(key), bool):
        action = "enter" if said else "exit"
    if action is None:
        return None
    traits = _flat({**facts, **_dict(call.context.get("traits")), **call.traits}, _AUDIENCE_NAMES)
    return CohortBatch(
        account=account,
        received_at=call.received_at,
        id=str(personas.get("computation_id") or key),
        name=key,
        action=action,
        computed_at=call.timestamp or call.received_at,
        message_id=call.message_id,
        users=[(call.user_id, {name: value for name, value in traits.items() if name not in (key, *_KEY_PROPERTIES)})],
    )


def _call(document: Mapping[str, Any], kind: CallType, received_at: int, size: int) -> Call:
    if size > MOST_CALL_BYTES:
        raise BadCallError(f"a call has {size:,} bytes; at most {MOST_CALL_BYTES:,} are taken")
    user_id, anonymous_id = _text(document.get("userId")), _text(document.get("anonymousId"))
    if not (user_id or anonymous_id):
        raise BadCallError(f"a call of type {kind} needs userId or anonymousId")
    event = _text(document.get("event") if kind == "track" else document.get("name"))
    if kind == "track" and not event:
        raise BadCallError("a call of type track needs event")
    if kind == "alias":
        event = _text(document.get("previousId"))
    return Call(
        type=kind,
        message_id=_text(document.get("messageId")) or _digest(document),
        user_id=user_id,
        anonymous_id=anonymous_id,
        event=event,
        timestamp=_time(document.get("timestamp")),
        received_at=received_at,
        traits=_dict(document.get("traits")),
        properties=_dict(document.get("properties")),
        context=_dict(document.get("context")),
    )


def _flat(traits: Mapping[str, Any], other_names: Mapping[str, str]) -> dict[str, Any]:
    """Traits with SendGrid's own fields under SendGrid's names; what is there under these names already stays."""
    sendgrids = dict(_sendgrids(traits, other_names))
    return sendgrids | {name: value for name, value in traits.items() if name != "address"}


def _sendgrids(traits: Mapping[str, Any], other_names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, other in other_names.items():
        if other in traits:
            yield name, traits[other]
    home = _dict(traits.get("address"))
    for name, others in _ADDRESS_PATHS.items():
        for other in others:
            if other in home:
                yield name, home[other]
                break


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadCallError(f"malformed JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadCallError("the request is not a JSON object")
    return document


def _digest(document: object) -> str:
    return blake2b(orjson.dumps(document), digest_size=16).hexdigest()


def _time(value: object) -> int:
    try:
        time = milliseconds(value)
        time_text(time)
    except UncertainError:
        return 0
    return time


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
