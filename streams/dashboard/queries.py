"""What panels' SQL is made of: counts that are exact whichever part of them was counted ahead, and their parameters."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from schemas.ddl import escaped, identifier
from schemas.events import EventType
from schemas.rollups import DIMENSIONS, FIRST, HOUR, IS_TEST, any_kind, event_of, firsts_of, kind, moment_text
from schemas.tables import HOURLY

_FEW_TABLES = 4
"""More than these are read together as `activity`, which ClickHouse plans faster than one by one."""
_TIME = "DateTime64(3, 'UTC')"
_PARAMETER = re.compile(r"\{(\w+):([^}]+)\}")

_START, _FIRST, _LAST, _END = (f"{{{name}:{_TIME}}}" for name in ("start", "counted_start", "counted_end", "end"))

Covered = tuple[int, int]
"""The hours whose counts are up to date: from the begin of the first to the end of the last, in seconds since 1970."""
NOTHING: Covered = (0, 0)


def parameters(start: int, end: int, covered: Covered) -> dict[str, str]:
    """The parameters of `counts` and `totals` for a stretch of time.

    Args:
        start: in seconds since 1970.
        end: not in it.
        covered: what has been counted ahead.
    """
    first, last = max(-(-start // HOUR) * HOUR, covered[0]), min(end // HOUR * HOUR, covered[1])
    if first >= last:
        first = last = end
    moments = {"start": start, "counted_start": first, "counted_end": last, "end": end}
    return {name: moment_text(moment) for name, moment in moments.items()}


def is_counted(values: Mapping[str, object]) -> bool:
    """Whether, with these parameters, everything is counted ahead."""
    return (values["counted_start"], values["counted_end"]) == (values["start"], values["end"])


def literal(sql: str, values: Mapping[str, object]) -> str:
    """A query with its parameters written out, so that it can be pasted anywhere."""

    def written(match: re.Match[str]) -> str:
        name, kind_ = match.groups()
        value = values[name]
        if isinstance(value, int):
            return str(value)
        text = escaped(str(value))
        return f"toDateTime64('{text}', 3, 'UTC')" if kind_ == _TIME else f"'{text}'"

    return _PARAMETER.sub(written, sql)


@dataclass(frozen=True, slots=True)
class Source:
    """A source's database, as the queries of panels name what is in it.

    Attributes:
        database: its name.
        step: how many seconds a point of a chart stands for.
        find: whose history is asked for. It decides on the query, and is never part of it.
        counted: whether everything is counted ahead, so that no event has to be looked at.
    """

    database: str
    step: int
    find: str = ""
    counted: bool = False

    def table(self, name: str) -> str:
        """A table's name, quoted."""
        return f"{identifier(self.database)}.{identifier(name)}"

    def counts(self, dimension: str, kinds: Sequence[str]) -> str:
        """A query for events by a dimension: event (the kind), time, value (list of texts), count.

        Hours that are counted come from `hourly`, the others from the events' tables.
        """
        hour = "hour + toIntervalMinute(toUInt8(each.value[1]))" if dimension == "minute" else "hour"
        columns = f"event, {hour} AS time, each.value AS value, each.count AS count"
        return _union(self._counted(_of(dimension, kinds), columns), *self._looked_at(dimension, kinds))

    def totals(self, each: Sequence[str], once: Sequence[str]) -> str:
        """A query for events, and for messages, each counted once a day at its first event of a kind: event, count.

        Args:
            each: kinds of which every event counts,
            once: and of which every message does.
        """
        return _union(
            self._counted(f"({_of('all', each)} OR {_of(FIRST, once)})", "event, each.count AS count"),
            *(f"SELECT event, count FROM ({rows})" for rows in self._looked_at("all", each)),
            *self._first_looked_at(once),
        )

    def _looked_at(self, dimension: str, kinds: Sequence[str]) -> Iterator[str]:
        """Queries for the events that are not counted ahead, of one or more tables each."""
        names = texts(kinds)
        declared = DIMENSIONS[dimension]
        tables = [(event.table, kind(event)) for event in _events(kinds)]
        if len(tables) > _FEW_TABLES:
            tables = [("activity", any_kind())]
        for table, name in () if self.counted else tables:
            yield (
                f"SELECT {name} AS event, timestamp AS time, arrayJoin({declared.values}) AS value, "
                f"toUInt64({declared.amount}) AS count\n"
                f"FROM {self.table(table)} AS events\n"
                f"WHERE ({_uncounted('timestamp')})\n"
                f"    AND ({name}) IN ({names}) AND ({{tests:UInt8}} OR NOT {IS_TEST})"
            )

    def _first_looked_at(self, kinds: Sequence[str]) -> Iterator[str]:
        """Queries for the messages that are not counted ahead, of one table each."""
        names = texts(kinds)
        rows = (
            f"timestamp >= toStartOfDay({_START}) AND timestamp < {_FIRST} AND {_START} < {_FIRST} "
            f"OR timestamp >= toStartOfDay({_LAST}) AND timestamp < {_END} AND {_LAST} < {_END}"
        )
        for event in () if self.counted else _events(kinds):
            yield (
                f"SELECT event, toUInt64(1) AS count\n"
                f"FROM ({firsts_of(self.database, event, rows, _uncounted('timestamp'))})\n"
                f"WHERE ({_uncounted('first')}) AND event IN ({names}) AND ({{tests:UInt8}} OR NOT is_test)"
            )

    def _counted(self, what: str, columns: str) -> str:
        return (
            f"SELECT {columns}\nFROM {self.table(HOURLY.name)} ARRAY JOIN counts AS each\n"
            f"WHERE {what} AND hour >= {_FIRST} AND hour < {_LAST}\n"
            "    AND ({tests:UInt8} OR NOT each.is_test)"
        )

    def within(self) -> str:
        """A condition on events of the stretch of time, with or without test events."""
        return f"timestamp >= {_START} AND timestamp < {_END} AND ({{tests:UInt8}} OR NOT {IS_TEST})"


def _of(dimension: str, kinds: Sequence[str]) -> str:
    return f"(dimension = '{dimension}' AND event IN ({texts(kinds)}))"


def _union(*queries: str) -> str:
    return "\nUNION ALL\n".join(queries)


def _uncounted(time: str) -> str:
    return f"{time} >= {_START} AND {time} < {_FIRST} OR {time} >= {_LAST} AND {time} < {_END}"


def _events(kinds: Sequence[str]) -> list[EventType]:
    return list(dict.fromkeys(map(event_of, kinds)))


def texts(values: Sequence[str]) -> str:
    """Texts of our own as a list in SQL."""
    return ", ".join(f"'{value}'" for value in values)
