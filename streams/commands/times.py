"""Times on the command line: ISO 8601 or an age."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime | None = None) -> datetime:
    """A point in time: `2026-11-21`, `2026-11-21T12:00+01:00` (UTC unless it says otherwise), or an age: `30m`, `2h`.

    Raises:
        typer.BadParameter: it is none of these.
    """
    try:
        if age := _AGE.fullmatch(text.strip()):
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: float(age[1])})
        parsed = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"expected a date, a date-time or an age (30m, 2h, 1d), found {text!r}") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def moment_ms(text: str) -> int:
    """The same, in milliseconds since 1970."""
    return int(moment(text).timestamp() * 1000)
