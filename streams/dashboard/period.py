"""Which stretch of time a view is about, from what its URL says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400

RANGES = {
    "15m": ("Last 15 minutes", 15 * _MINUTE),
    "1h": ("Last hour", _HOUR),
    "6h": ("Last 6 hours", 6 * _HOUR),
    "24h": ("Last 24 hours", _DAY),
    "today": ("Today (UTC)", _DAY),
    "yesterday": ("Yesterday (UTC)", _DAY),
    "7d": ("Last 7 days", 7 * _DAY),
    "30d": ("Last 30 days", 30 * _DAY),
    "90d": ("Last 90 days", 90 * _DAY),
}
"""What people pick: its name in the URL, its title, its seconds."""
DEFAULT = "24h"
_SHORT = 6 * _HOUR
_STEPS = ((_SHORT, _MINUTE), (25 * _HOUR, 5 * _MINUTE), (32 * _DAY, _HOUR))
"""Up to so many seconds a chart has a point for so many."""
_LONGEST = 3660 * _DAY


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time, in seconds since 1970; the end is not in it.

    Attributes:
        start: its begin.
        end: its end.
        before: where the stretch begins that it is compared with,
        before_end: and where that ends.
        live: whether it ends now.
    """

    start: int
    end: int
    before: int
    before_end: int
    live: bool

    @property
    def step(self) -> int:
        """How many seconds a point of a chart stands for."""
        return _step(self.end - self.start)


def period(query: Mapping[str, str], now: float) -> Period:
    """What a URL's parameters `range`, or `from` and `to`, mean.

    Raises:
        ValueError: nothing that could be shown.
    """
    if "from" in query or "to" in query:
        return _between(_moment(query, "from", 0), _moment(query, "to", int(now) + 1))
    name = query.get("range", DEFAULT)
    if name not in RANGES:
        raise ValueError(f"range: found {name!r}, expected one of {', '.join(RANGES)}")
    end = int(now) + 1
    today = end // _DAY * _DAY
    if name == "yesterday":
        return Period(today - _DAY, today, today - 2 * _DAY, today - _DAY, live=False)
    if name == "today":
        return Period(today, end, today - _DAY, end - _DAY, live=True)
    length = RANGES[name][1]
    whole = max(_step(length), _HOUR) if length > _SHORT else _MINUTE  # hours that are counted ahead are whole
    start = (end - length) // whole * whole
    return Period(start, end, start + (start - end) // whole * whole, start, live=True)


def _between(start: int, end: int) -> Period:
    if not 0 < end - start <= _LONGEST:
        raise ValueError("to: expected a time after `from`, and at most ten years after it")
    return Period(start, end, 2 * start - end, start, live=False)


def _moment(query: Mapping[str, str], name: str, default: int) -> int:
    if name not in query:
        return default
    try:
        moment = datetime.fromisoformat(query[name])
    except ValueError:
        raise ValueError(f"{name}: found {query[name]!r}, expected ISO 8601, such as 2026-11-21T12:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _step(length: int) -> int:
    return next((step for longest, step in _STEPS if length <= longest), _DAY)
