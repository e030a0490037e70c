"""Column types: one object says what ClickHouse stores and what the normalizer makes of a JSON value.

DDL and normalizer read the same object, so they cannot disagree.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = 19
_MOST_INT64 = 2**63 - 1
"""The parser gives integers down to the least Int64 and up to twice this."""
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER_TEXT = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_MILLISECONDS_FROM = 10**11
"""A number this large counts milliseconds: as seconds it would be the year 5138, as milliseconds it is 1973."""
_CLICKHOUSE_TIME_MS = range(-2_208_988_800_000, 10_413_791_999_999)
"""What DateTime64 holds: 1900 to 2299."""


_REMEMBERED_TIMES = 100_000


class UncertainError(ValueError):
    """A value does not certainly mean anything that its column could hold."""


class LostDigitsError(ValueError):
    """A number may have been an integer of more than 64 bits, which the fast parser rounds to a float."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a column holds.

    Attributes:
        clickhouse: the type that is stored.
        exact: a JSON value of exactly this Python type is stored as it is.
        convert: any other value but null. Raises UncertainError where the value does not certainly mean the same.
        frequent: what convert does with values of exactly these Python types, where most are of these: a shorter way.
        cast: the type that readers see; empty: the one that is stored.
    """

    clickhouse: str
    exact: type | None
    convert: Callable[[object], object]
    frequent: Mapping[type, Callable[[Any], object]] = field(default_factory=dict, hash=False)
    cast: str = ""

    @property
    def seen(self) -> str:
        """The type that readers see."""
        return self.cast or self.clickhouse


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table and where its value comes from.

    Attributes:
        name: its name in ClickHouse and in Kafka's records.
        type: what it holds.
        keys: SendGrid's keys for it, best first; a dot leads into a nested object. Without any, the key is the name.
            Only a column whose key differs says so: that is how a rename is seen.
        computed: gridstream makes the value; no key of a payload may set it.
        default: ClickHouse's expression for a value that the record does not have.
        of_recipient: it tells about the recipient's own device, not about a mail server or a robot.
    """

    name: str
    type: ColumnType
    keys: tuple[str, ...] = ()
    computed: bool = False
    default: str = ""
    of_recipient: bool = False

    @property
    def raw_keys(self) -> tuple[str, ...]:
        """The keys of a payload that this column takes."""
        return () if self.computed else self.keys or (self.name,)


def text(value: object) -> str:
    """Any JSON value as text: strings as they are, everything else as JSON.

    Raises:
        LostDigitsError: the value holds a float that may have been a longer integer.
        TypeError: nested more deeply than JSON can be written.
    """
    if type(value) is str:
        return value
    _refuse_lost_digits(value)
    return orjson.dumps(value).decode()


def _refuse_lost_digits(value: object) -> None:
    if type(value) is float:
        if abs(value) >= 2**63:
            raise LostDigitsError
    elif type(value) is dict:
        for member in value.values():
            _refuse_lost_digits(member)
    elif type(value) is list:
        for member in value:
            _refuse_lost_digits(member)


def milliseconds(value: object) -> int:
    """A point in time as milliseconds since 1970, from what senders write.

    Seconds or milliseconds, as a number or as text, and ISO 8601 (UTC unless it says otherwise).
    SendGrid documents seconds; Single Sends were seen with milliseconds as text and `send_at` as a float.

    Raises:
        UncertainError: it is none of these.
    """
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER_TEXT.fullmatch(value):
            return _iso_milliseconds(value)
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        raise UncertainError
    if not isfinite(number):
        raise UncertainError
    return int(number) if abs(number) >= _MILLISECONDS_FROM else round(number * 1000)


def _iso_milliseconds(value: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UncertainError from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def time_text(ms: int) -> str:
    """Milliseconds since 1970 as ClickHouse and Kafka's records have them: `2026-11-21 12:00:00.000`, in UTC.

    Raises:
        UncertainError: beyond what DateTime64 can hold.
    """
    if ms not in _CLICKHOUSE_TIME_MS:
        raise UncertainError
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:03}"


def _to_text(value: object) -> str:
    if isinstance(value, list | dict):
        raise UncertainError
    return text(value)


def _to_email(value: object) -> str:
    return _trimmed_lower(_to_text(value))


def _trimmed_lower(value: str) -> str:
    return value.strip().lower()


def _checked(value: int) -> int:
    if value > _MOST_INT64:
        raise UncertainError
    return value


def _integer_of_text(value: str) -> int:
    is_short = value.isdecimal() and value.isascii() and len(value) < _INT64_DIGITS
    return int(value) if is_short else _to_integer(value)


def _to_integer(value: object) -> int:
    if isinstance(value, str) and not _INTEGER_TEXT.fullmatch(value.strip()):
        raise UncertainError
    if isinstance(value, float) and not value.is_integer():
        raise UncertainError
    if not isinstance(value, str | float | int):  # a bool is an int: 0 or 1
        raise UncertainError
    number = int(value)
    if number not in _INT64:
        raise UncertainError
    return number


_FLAGS: dict[object, bool] = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}


def _to_flag(value: object) -> bool:
    key = value.strip().lower() if isinstance(value, str) else value
    if isinstance(key, list | dict) or key not in _FLAGS:
        raise UncertainError
    return _FLAGS[key]


def _to_tags(value: object) -> list[str]:
    return _texts(value) if isinstance(value, list) else _one_text(_to_text(value))


def _texts(members: list[object]) -> list[str]:
    return [member if type(member) is str else text(member) for member in members]


def _one_text(value: str) -> list[str]:
    return [value] if value else []


def _to_time(value: object) -> str:
    return time_text(milliseconds(value))


_known_time = lru_cache(_REMEMBERED_TIMES)(_to_time)
"""Most events share their times with many others."""


TEXT = ColumnType("String", str, _to_text)
LABEL = ColumnType("LowCardinality(String)", str, _to_text)
"""Text of few different values, by which readers group. An insert and each merge look up every row in a dictionary."""
EMAIL = ColumnType("String", None, _to_email, {str: _trimmed_lower})
"""SendGrid does not distinguish the case of addresses."""
INTEGER = ColumnType("Int64", None, _to_integer, {int: _checked, str: _integer_of_text})
OPTIONAL_INTEGER = ColumnType("Nullable(Int64)", None, _to_integer, {int: _checked, str: _integer_of_text})
"""Where 0 is a value of its own and must not stand for "not given"."""
FLAG = ColumnType("Bool", bool, _to_flag)
TIME = ColumnType("DateTime64(3, 'UTC')", None, _to_time, {int: _known_time, float: _known_time})
TAGS = ColumnType("Array(LowCardinality(String))", None, _to_tags, {str: _one_text, list: _texts})
ARGS = ColumnType("Map(String, String)", dict, _to_text, cast="Map(LowCardinality(String), String)")
"""Key-value pairs of the customer's (ClickHouse's own advice for them is a Map). Stored without the dictionary of keys:
merges look up each key of each row in it, which is a third of what they cost."""
TEXTS = ColumnType("Array(String)", None, _to_tags)
"""Ids, addresses: of many different values, unlike TAGS."""
DOCUMENT = ColumnType("String", str, text)
"""JSON, as text."""
UNSIGNED = ColumnType("UInt64", int, _to_integer)
IDENTITIES = ColumnType("Array(UInt64)", list, _to_tags)
COUNTS = ColumnType("Array(Tuple(value Array(String), is_test Bool, count UInt64))", list, _to_tags)
"""How many events had which value; `is_test` apart, so that SendGrid's test events can be left out."""
