"""One pull of one kind of object: kept apart until it is complete, then published.

What readers see stays as it was until everything has been pulled. Then the differences are published, by identity in
slices of limited size, each of which appears at once. To publish a slice again changes nothing, so a crash between any
two of these steps leaves states that SendGrid really had, and the next pull completes them.

A pull has tables of its own, which are dropped behind it: two pulls at the same time do not see each other, and of what
both publish the later one counts.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import orjson
import structlog
from clickhouse_connect.driver.query import QueryResult

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from schemas.columns import TIME, Column
from schemas.ddl import identifier
from schemas.objects import ObjectType, Row
from schemas.tables import EVENT_TABLES, OBJECT_TABLES
from streams.objects.calls import Calls

log = structlog.get_logger()

_INSERT_BYTES = 8 << 20
"""What is held in memory, whatever the number of objects."""
_SLICE_ROWS = 250_000
"""ClickHouse holds about so many identities of either side at a time."""
_FORGOTTEN_MS = 24 * 3600 * 1000
"""Older tables of a pull are left over from a crash."""
_SETTLED_SECONDS = 60
"""SendGrid's times are whole seconds of its own clock: what was changed just before it was seen may have been changed
again since, under the same time."""
_ONE_PART = "SETTINGS max_insert_threads = 1, join_use_nulls = 0"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a pull has found.

    Attributes:
        pulled: objects that are there.
        new: those that were not there before.
        changed: those that were, but not like this.
        gone: those that are not there any more.
    """

    pulled: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Slice:
    """A range of identities: behind one, up to another."""

    after: object = None
    last: object = None

    def condition(self, type_: str) -> str:
        bounds = (("id > {after:%s}", self.after), ("id <= {last:%s}", self.last))
        return " AND ".join(text % type_ for text, bound in bounds if bound is not None) or "1"

    @property
    def parameters(self) -> dict[str, object]:
        return {"after": self.after, "last": self.last}


class Staging:
    """An asynchronous context manager: its tables are there while it lasts.

    Args:
        kind: of the objects.
        source: whose they are.
        clickhouse: connected.
        calls: make its queries.
        pull: when it began, in milliseconds since 1970.
    """

    def __init__(self, kind: ObjectType, source: str, clickhouse: ClickHouse, calls: Calls, pull: int) -> None:
        self.kind = kind
        self._clickhouse = clickhouse
        self._calls = calls
        self._pull = pull
        self._source = source
        self._database = identifier(source)
        self._rows = self._table(OBJECT_TABLES[kind.name].rows)
        self._pulled = self._table(f"pulled_{kind.name}_{pull}")
        self._joined = self._table(f"joined_{kind.name}_{pull}")
        self._held = {self._pulled: bytearray(), self._joined: bytearray()}
        self._id_type = kind.listed[0].type.clickhouse
        names = [identifier(column.name) for column in (*kind.listed[1:], *kind.detailed, *kind.joined)]
        self._state = f"cityHash64({', '.join(names)})"

    async def __aenter__(self) -> Self:
        await self._drop_forgotten()
        await self._query(
            f"CREATE TABLE IF NOT EXISTS {self._pulled} AS {self._rows} ENGINE = ReplacingMergeTree ORDER BY id"
        )
        if self.kind.joined:
            await self._query(
                f"CREATE TABLE IF NOT EXISTS {self._joined} AS {self._rows} ENGINE = MergeTree ORDER BY id"
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for table in self._held:
                await self._clickhouse.query(f"DROP TABLE IF EXISTS {table} SYNC")
        except GridstreamError as error:  # the pull of tomorrow drops them
            log.warning("the tables of a pull stay behind", object=self.kind.name, reason=str(error))

    async def add(self, rows: Iterable[Row]) -> None:
        """Keep objects. One that is added again replaces itself."""
        await self._hold(self._pulled, rows)

    async def join(self, rows: Iterable[Row]) -> None:
        """Keep what is joined to objects by their identity. Of several rows of one object, lists are united."""
        await self._hold(self._joined, rows)

    async def known(self, ids: Sequence[object]) -> Mapping[object, Row]:
        """Of objects that were there before: the marks of their content, and their details.

        Only of those of which the same marks certainly mean the same details.
        """
        types = {column.name: column.type for column in self.kind.listed}
        times = [f"stored.{mark}" for mark in self.kind.content_marks if types[mark] is TIME]
        wanted = [f"toString(stored.{mark})" for mark in self.kind.content_marks]
        wanted += [f"stored.{identifier(column.name)}" for column in self.kind.detailed]
        found = await self._query(
            f"SELECT stored.id, {', '.join(wanted)} FROM {self._rows} AS stored FINAL\n"
            f"WHERE stored.id IN {{ids:Array({self._id_type})}} AND NOT stored.is_deleted\n"
            f"AND stored.received_at > arrayMax([{', '.join(times)}]) + toIntervalSecond({_SETTLED_SECONDS})",
            ids=list(ids),
        )
        names = (*self.kind.content_marks, *(column.name for column in self.kind.detailed))
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in found.result_rows}

    async def publish(self, *, is_complete: bool) -> Counts:
        """Let readers see what was pulled.

        Args:
            is_complete: whether what was not pulled is gone.
        """
        for table in self._held:
            await self._insert(table)
        total = Counts()
        following: _Slice | None = _Slice()
        while following:
            part, following = await self._cut(following)
            counts = await self._publish(part, is_complete=is_complete)
            total = Counts(
                total.pulled + counts.pulled,
                total.new + counts.new,
                total.changed + counts.changed,
                total.gone + counts.gone,
            )
        return total

    async def _cut(self, rest: _Slice) -> tuple[_Slice, _Slice | None]:
        """A slice from the beginning of the rest, and what remains of it."""
        where = rest.condition(self._id_type)
        ids = [
            f"SELECT id FROM {table} WHERE {where} ORDER BY id LIMIT {_SLICE_ROWS}"
            for table in (self._pulled, self._rows)
        ]
        sql = (
            f"SELECT count(), max(id) FROM (SELECT id FROM ({' UNION ALL '.join(ids)}) ORDER BY id LIMIT {_SLICE_ROWS})"
        )
        ((count, last),) = (await self._query(sql, **rest.parameters)).result_rows
        if count < _SLICE_ROWS:
            return rest, None
        return _Slice(rest.after, last), _Slice(last)

    async def _publish(self, part: _Slice, *, is_complete: bool) -> Counts:
        where = part.condition(self._id_type)
        compared = (
            f"FROM (SELECT *, {self._state} AS state FROM ({self._pulled_state(where)})) AS pulled\n"
            "LEFT JOIN (\n"
            f"    SELECT id, pull, is_deleted, {self._state} AS state FROM {self._rows} FINAL WHERE {where}\n"
            ") AS known ON known.id = pulled.id"
        )
        is_new = "(known.pull = 0 OR known.is_deleted)"
        gone = (
            f"FROM {self._rows} AS known FINAL\nWHERE NOT known.is_deleted AND known.pull < {self._pull}\n"
            f"AND {where.replace('id ', 'known.id ')} AND known.id NOT IN (SELECT id FROM {self._pulled} WHERE {where})"
        )
        ((pulled, new, changed),) = (
            await self._query(
                f"SELECT count(), countIf(known.pull < {self._pull} AND {is_new}),\n"
                f"    countIf(known.pull < {self._pull} AND NOT {is_new} AND known.state != pulled.state)\n{compared}",
                **part.parameters,
            )
        ).result_rows
        is_older = f"known.pull < {self._pull}"
        columns = [identifier(column.name) for column in (*self.kind.listed, *self.kind.detailed, *self.kind.joined)]
        into = f"INSERT INTO {self._rows} ({', '.join(columns)}, received_at, is_deleted, pull)\n"
        if new or changed:
            await self._query(
                f"{into}SELECT {', '.join(f'pulled.{name}' for name in columns)}, now64(3), false, {self._pull}\n"
                f"{compared}\nWHERE {is_older} AND ({is_new} OR known.state != pulled.state)\n{_ONE_PART}",
                **part.parameters,
            )
        vanished = 0
        if is_complete:
            ((vanished,),) = (await self._query(f"SELECT count() {gone}", **part.parameters)).result_rows
        if vanished:
            await self._query(
                f"{into}SELECT {', '.join(f'known.{name}' for name in columns)}, now64(3), true, {self._pull}\n"
                f"{gone}\n{_ONE_PART}",
                **part.parameters,
            )
        return Counts(pulled, new, changed, vanished)

    def _pulled_state(self, where: str) -> str:
        """Of a slice: the objects with everything that is joined to them."""
        names = [f"items.{identifier(column.name)}" for column in (*self.kind.listed, *self.kind.detailed)]
        selected = {name: name for name in names}
        joins = []
        if self.kind.joined:
            unions = [f"{_union(column)} AS {identifier(column.name)}" for column in self.kind.joined]
            selected |= {f"items.{identifier(c.name)}": f"joined.{identifier(c.name)}" for c in self.kind.joined}
            joins.append(
                f"LEFT JOIN (SELECT part.id AS id, {', '.join(unions)} FROM {self._joined} AS part "
                f"WHERE {where.replace('id ', 'part.id ')} GROUP BY part.id) AS joined ON joined.id = items.id"
            )
        for column, event in self.kind.activities.items():
            table = EVENT_TABLES[event]
            by_person = " AND NOT sg_machine_open" if any(c.name == "sg_machine_open" for c in table.columns) else ""
            # Repeats among the rows do not matter to a maximum.
            joins.append(
                f"LEFT JOIN (SELECT email, max(timestamp) AS at FROM {self._table(table.rows)}\n"
                f"    WHERE email IN (SELECT email FROM {self._pulled} WHERE {where} AND email != ''){by_person}\n"
                f"    GROUP BY email) AS {column} ON {column}.email = items.email"
            )
            selected[f"items.{identifier(column)}"] = f"greatest(items.{identifier(column)}, {column}.at)"
        values = ", ".join(f"{value} AS {name.removeprefix('items.')}" for name, value in selected.items())
        return (
            f"SELECT {values}\nFROM (SELECT * FROM {self._pulled} FINAL WHERE {where}) AS items\n{chr(10).join(joins)}"
        )

    async def _drop_forgotten(self) -> None:
        found = await self._query(
            "SELECT name FROM system.tables WHERE database = {database:String}\n"
            "AND match(name, {pattern:String}) AND toUInt64OrZero(extract(name, '[0-9]+$')) < {before:UInt64}",
            database=self._source,
            pattern=f"^(pulled|joined)_{self.kind.name}_[0-9]+$",
            before=self._pull - _FORGOTTEN_MS,
        )
        for (name,) in found.result_rows:
            await self._query(f"DROP TABLE IF EXISTS {self._table(name)} SYNC")

    async def _hold(self, table: str, rows: Iterable[Row]) -> None:
        for row in rows:
            # One after the other into one buffer: what orjson returns keeps 4 KB each as long as it lives.
            self._held[table] += orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            if len(self._held[table]) >= _INSERT_BYTES:
                await self._insert(table)

    async def _insert(self, table: str) -> None:
        lines, self._held[table] = bytes(self._held[table]), bytearray()
        if lines:
            await self._calls("inserting", partial(self._clickhouse.insert, table, lines))

    async def _query(self, sql: str, **parameters: Any) -> QueryResult:  # noqa: ANN401  the driver's
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._calls("asking ClickHouse", partial(self._clickhouse.query, sql, given))

    def _table(self, name: str) -> str:
        return f"{self._database}.{identifier(name)}"


def _union(column: Column) -> str:
    name = f"part.{identifier(column.name)}"
    return f"arraySort(groupUniqArrayArray({name}))" if column.type.clickhouse.startswith("Array") else f"max({name})"


def now() -> int:
    """In milliseconds since 1970."""
    return int(time.time() * 1000)
