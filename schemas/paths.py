"""Values of which parts are only known with a call: text that begins with `$.` is a path into it.

`$.properties.email`, `$.context.traits.name`, `$.properties.lines[0].sku`, `$.properties["first name"]`.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from schemas.columns import time_text
from schemas.segment import Call

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]""")
_ROOTS = (
    "type",
    "messageId",
    "userId",
    "anonymousId",
    "event",
    "timestamp",
    "receivedAt",
    "traits",
    "properties",
    "context",
)
"""What a call has, under Segment's names."""

Steps = tuple[str | int, ...]
Resolver = Callable[[Mapping[str, Any]], object]


def document(call: Call) -> dict[str, Any]:
    """A call under Segment's names: what paths lead into."""
    values = (
        call.type,
        call.message_id,
        call.user_id or None,
        call.anonymous_id or None,
        call.event,
        _iso(call.timestamp) if call.timestamp else None,
        _iso(call.received_at),
        call.traits,
        call.properties,
        call.context,
    )
    return dict(zip(_ROOTS, values, strict=True))


def is_path(value: object) -> bool:
    """Whether a value stands for something in the call."""
    return isinstance(value, str) and value.startswith("$.")


def steps(path: str) -> Steps:
    """The keys and positions that a path leads over.

    Raises:
        ValueError: it is no path, or leads to nothing that a call has.
    """
    found: list[str | int] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if not step:
            raise ValueError(f"found {path!r}, expected a path such as $.properties.email; it ends at character {at}")
        found.append(int(step[2]) if step[2] else step[1] or step[3] or step[4] or "")
        at = step.end()
    if found[0] not in _ROOTS:
        nearest = get_close_matches(str(found[0]), _ROOTS, n=1, cutoff=0)[0]
        raise ValueError(f"found {path!r}, expected $.{nearest} or another of {', '.join(_ROOTS)} after $.")
    return tuple(found)


def resolver(value: object) -> Resolver:
    """What makes a value of the call's document; what is not there becomes None, and is left out of tables and lists.

    Raises:
        ValueError: a path in it is none.
    """
    if isinstance(value, str) and is_path(value):
        way = steps(value)
        return lambda call: _at(call, way)
    if isinstance(value, Mapping):
        parts = {name: resolver(part) for name, part in value.items()}
        return lambda call: {name: made for name, part in parts.items() if (made := part(call)) is not None}
    if isinstance(value, list | tuple):
        members = [resolver(member) for member in value]
        return lambda call: [made for member in members if (made := member(call)) is not None]
    return lambda _: value


def without_paths(value: object) -> object:
    """What of a value is known without a call: None where it is a path; a table keeps its keys."""
    if is_path(value):
        return None
    if isinstance(value, Mapping):
        return {name: without_paths(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [known for member in value if (known := without_paths(member)) is not None]
    return value


def _at(call: Mapping[str, Any], way: Steps) -> object:
    value: Any = call
    for step in way:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _iso(ms: int) -> str:
    return time_text(ms).replace(" ", "T") + "Z"
