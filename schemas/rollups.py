"""What is counted ahead of time, by hour and by dimension, and the statements that count it.

The counts are taken through the exact views, and taken again when a row has come to their hour: so they are the tables'
numbers, also with repeats and late events.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.ddl import identifier
from schemas.events import EVENTS, UNKNOWN, EventType
from schemas.tables import EVENT_TABLES, HOURLY

HOUR, DAY = 3_600, 86_400

_KINDS = {
    "open": ("sg_machine_open", "machine_open", "open"),
    "bounce": ("type = 'blocked'", "blocked", "bounce"),
}
"""Events that are of two kinds: what tells them apart, the kind of those of which it is true, and of the others."""

IS_TEST = "startsWith(trimLeft(sg_message_id), '14c5d75ce93.dfd.64b469.filter0001')"
"""Whether an event is one that SendGrid's test button sends: these share one message id (observed)."""
DOMAIN = "splitByChar('@', email)[-1]"
MESSAGE = "(if(sg_message_id = '', event_id, sg_message_id), email)"
"""What one message to one recipient is."""
_CAMPAIGN = (
    "multiIf(marketing_campaign_name != '', marketing_campaign_name, "
    "singlesend_name != '', singlesend_name, singlesend_id)"
)
_HAS_CAMPAIGN = f"{_CAMPAIGN} != ''"
_ACCEPTED = r"reinterpretAsUInt32(reverse(unhex(extract(sg_message_id, '-([0-9A-F]{8})-[0-9A-F]+\\.[0-9]+$'))))"
"""When SendGrid accepted the message, as its id says in hexadecimal (observed, not documented)."""
_WAIT = f"toInt64(toUnixTimestamp(timestamp)) - {_ACCEPTED}"
_SLOWEST = 20
_STRETCH = "timestamp >= {start:DateTime64(3)} AND timestamp < {end:DateTime64(3)}"


def moment_text(moment: int) -> str:
    """A moment, in seconds since 1970, as a parameter of type DateTime64(3)."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S.000}"


def shortened(answer: str) -> str:
    """An expression for what a server said without what differs from mail to mail: addresses, tokens, queue ids."""
    return (
        rf"substringUTF8(replaceRegexpAll({answer}, "
        r"'[\\w.+-]+@[\\w.-]+|[0-9]+(?:\\.[0-9]+){3}|[0-9a-f]{8,}\\w*|\\w*(?:[0-9]\\w*){5,}', '…'), 1, 200)"
    )


_ANSWER = shortened("if(response != '', response, reason)")


@dataclass(frozen=True, slots=True)
class Dimension:
    """What events are counted by.

    Attributes:
        name: in the table `hourly`.
        meaning: one line for people.
        values: expression for an event's values, each a list of texts.
        events: wire names of the events that are counted by it; empty: all.
        amount: expression for what an event adds to the count.
        most: so many values with the highest counts are kept of an hour; 0: all.
    """

    name: str
    meaning: str
    values: str
    events: tuple[str, ...] = ()
    amount: str = "1"
    most: int = 0

    def counts(self, event: EventType) -> bool:
        """Whether events of this type are counted by it."""
        return not self.events or event.name in self.events


_MAIL = tuple(event.name for event in EVENTS if event.name not in ("account_status_change", "unknown"))

DIMENSIONS = {
    dimension.name: dimension
    for dimension in (
        Dimension("all", "nothing: the events of the hour", "[['']]"),
        Dimension("minute", "minute of the hour", "[[toString(toMinute(timestamp))]]"),
        Dimension("domain", "receiving domain", f"[[{DOMAIN}]]", ("deferred", "delivered", "bounce")),
        Dimension("answer", "receiving domain, and what it said, shortened", f"[[{DOMAIN}, {_ANSWER}]]", ("deferred",)),
        Dimension(
            "cause",
            "classification, and what the receiving server said, shortened",
            f"[[bounce_classification, {shortened('reason')}]]",
            ("bounce",),
        ),
        Dimension("reason", "why SendGrid did not try", "[[reason]]", ("dropped",)),
        Dimension("link", "URL without its query", "[[cutQueryStringAndFragment(url)]]", ("click",)),
        Dimension("category", "category", "arrayMap(each -> [each], arrayDistinct(category))", _MAIL),
        Dimension("campaign", "campaign or Single Send", f"if({_HAS_CAMPAIGN}, [[{_CAMPAIGN}]], [])", _MAIL),
        Dimension(
            "wait",
            "recipient, message and time of the slowest deliveries; the count is the seconds since SendGrid had it",
            f"if({_ACCEPTED} > 0, [[email, sg_message_id, toString(timestamp), event_id]], [])",
            ("delivered",),
            amount=f"toUInt64(greatest({_WAIT}, 0))",
            most=_SLOWEST,
        ),
    )
}
"""By name. Beside them there is `first`: messages, each counted once a day (UTC), in the hour of its first event."""

FIRST = "first"
FIRST_EVENTS = ("open", "click")


def kind(event: EventType) -> str:
    """An expression for what an event counts as: its wire name, but opens by machines and blocks are kinds."""
    if event.name not in _KINDS:
        return f"'{event.name}'"
    condition, yes, no = _KINDS[event.name]
    return f"if({condition}, '{yes}', '{no}')"


def kinds(event: EventType) -> tuple[str, ...]:
    """What events of this type count as."""
    return _KINDS[event.name][1:] if event.name in _KINDS else (event.name,)


def any_kind() -> str:
    """The same for rows of `activity AS events`, where types that nobody declared have names of their own."""
    special = ", ".join(
        f"events.event = '{name}', if({condition}, '{yes}', '{no}')" for name, (condition, yes, no) in _KINDS.items()
    )
    declared = ", ".join(f"'{event.name}'" for event in EVENTS)
    return f"multiIf({special}, events.event NOT IN ({declared}), '{UNKNOWN.name}', events.event)"


def event_of(name: str) -> EventType:
    """The type of the events of a kind."""
    return next(event for event in EVENTS if name in kinds(event))


class Day(NamedTuple):
    """A day (UTC) of which some hours are to be counted: when it begins, the first of them, and the end of the last."""

    begin: int
    first: int
    end: int


def by_day(hours: Iterable[int]) -> list[Day]:
    """The days of hours, oldest first; all in seconds since 1970."""
    days: dict[int, list[int]] = {}
    for hour in hours:
        days.setdefault(hour // DAY * DAY, []).append(hour)
    return [Day(day, min(of), max(of) + HOUR) for day, of in sorted(days.items())]


def counting(database: str, day: Day, until: int = 0) -> Iterator[tuple[str, dict[str, object]]]:
    """Statements, with their parameters, that count the hours of a day and replace what was counted.

    Args:
        database: of the source.
        day: with its hours.
        until: as far as messages are counted for `first`: they are of the hour of their first event on that day, so
            that what comes to an hour may take them from later ones.
    """
    for statements, start, end in (
        (_count_hours, day.first, day.end),
        (_count_firsts, day.begin, max(day.end, until)),
    ):
        for statement in statements(database):
            yield statement, {"start": moment_text(start), "end": moment_text(end)}


def _count_hours(database: str) -> Iterator[str]:
    """Statements that count all hours from {start} to {end} (DateTime64, full hours) and replace what was counted."""
    for event in EVENTS:
        dimensions = [each for each in DIMENSIONS.values() if each.counts(event)]
        yield _replacing(database, event, [each.name for each in dimensions], _counted(database, event, dimensions))


def _count_firsts(database: str) -> Iterator[str]:
    """Statements that count messages for `first`, for the hours from {start}, the begin of a day, to {end}."""
    for event in EVENTS:
        if event.name in FIRST_EVENTS:
            firsts = (
                f"SELECT '{FIRST}' AS dimension, event, toStartOfHour(first) AS hour, [''] AS value, is_test, "
                f"count() AS count\nFROM ({firsts_of(database, event, _STRETCH)})\n"
                "GROUP BY dimension, event, hour, value, is_test"
            )
            yield _replacing(database, event, [FIRST], firsts)


def firsts_of(database: str, event: EventType, rows: str, of: str = "") -> str:
    """A query for the first event of each message on each day: event, first, is_test.

    Args:
        database: of the source.
        event: their type.
        rows: condition for which events are looked at; of each day all from its begin.
        of: condition for events whose messages alone are of interest; empty: all.
    """
    table, stored = (
        f"{identifier(database)}.{identifier(name)}" for name in (event.table, EVENT_TABLES[event.name].rows)
    )
    # What is stored has more messages than what is seen: that is no harm here, and planned in half of the time.
    only = f"\n    AND {MESSAGE} IN (SELECT {MESSAGE} FROM {stored} WHERE {of})" if of else ""
    return (
        f"SELECT {kind(event)} AS event, min(timestamp) AS first, {IS_TEST} AS is_test\n"
        f"FROM {table}\nWHERE ({rows}){only}\n"
        f"GROUP BY event, is_test, toDate(timestamp), {MESSAGE}"
    )


def _counted(database: str, event: EventType, dimensions: list[Dimension]) -> str:
    values = ", ".join(f"('{each.name}', {each.values}, {each.amount}, {each.most})" for each in dimensions)
    counts = (
        "SELECT counted.1 AS dimension, event, hour, arrayJoin(counted.2) AS value, is_test, "
        "sum(counted.3) AS count, any(counted.4) AS most\n"
        f"FROM (SELECT {kind(event)} AS event, toStartOfHour(timestamp) AS hour, {IS_TEST} AS is_test, "
        f"arrayJoin([{values}]) AS counted\n"
        f"    FROM {identifier(database)}.{identifier(event.table)}\n"
        f"    WHERE {_STRETCH})\n"
        "GROUP BY dimension, event, hour, value, is_test"
    )
    if not any(each.most for each in dimensions):
        return counts
    return (
        f"SELECT dimension, event, hour, value, is_test, count FROM ({counts})\n"
        "QUALIFY most = 0 OR most >= "
        "row_number() OVER (PARTITION BY dimension, event, hour, is_test ORDER BY count DESC, value)"
    )


def _replacing(database: str, event: EventType, dimensions: list[str], counted: str) -> str:
    """A row for each dimension and hour, also where nothing is left to count."""
    names = ", ".join(f"'{name}'" for name in dimensions)
    events = ", ".join(f"'{name}'" for name in kinds(event))
    return (
        f"INSERT INTO {identifier(database)}.{identifier(HOURLY.rows)} (dimension, event, hour, counts)\n"
        "SELECT dimension, event, hour, groupArrayArray(each) AS counts FROM (\n"
        "SELECT dimension, event, toDateTime64(hour, 3, 'UTC') AS hour, "
        "groupArray(CAST((value, is_test, count), 'Tuple(value Array(String), is_test Bool, count UInt64)')) AS each\n"
        f"FROM ({counted})\nGROUP BY dimension, event, hour\n"
        "UNION ALL\n"
        f"SELECT arrayJoin([{names}]) AS dimension, arrayJoin([{events}]) AS event,\n"
        "    toDateTime64(arrayJoin(range(toUnixTimestamp({start:DateTime64(3)}), toUnixTimestamp({end:DateTime64(3)}),"
        " 3600)), 3, 'UTC') AS hour, [] AS each\n"
        ")\nGROUP BY dimension, event, hour"
    )
