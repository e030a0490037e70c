"""What is said to ClickHouse about one pull of one kind of object."""

from dataclasses import dataclass

from schemas.columns import TIME, Column
from schemas.ddl import identifier
from schemas.objects import ObjectType
from schemas.tables import EVENT_TABLES, OBJECT_TABLES

SETTLED_SECONDS = 60
"""SendGrid's times are whole seconds of its own clock: what was changed just before it was seen may have been changed
again since, under the same time."""

_ONE_PART = "SETTINGS max_insert_threads = 1, join_use_nulls = 0"
FORGOTTEN = """
SELECT name FROM system.tables
WHERE database = {database:String} AND match(name, {pattern:String})
    AND toUInt64OrZero(extract(name, '[0-9]+$')) < {before:UInt64}
"""
"""The tables of pulls that began long ago."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of identities: behind one, up to another; None where there is no bound."""

    after: object = None
    last: object = None

    def condition(self, type_: str, table: str) -> str:
        """That a row of a table is in it; the bounds are parameters."""
        bounds = (("{}.id > {{after:{}}}", self.after), ("{}.id <= {{last:{}}}", self.last))
        return " AND ".join(text.format(table, type_) for text, bound in bounds if bound is not None) or "1"

    @property
    def parameters(self) -> dict[str, object]:
        """Of its condition."""
        return {name: bound for name, bound in (("after", self.after), ("last", self.last)) if bound is not None}


class Statements:
    """The statements of one pull.

    Attributes:
        pulled: the table of what was pulled, quoted.
        joined: the table of what is joined to it, quoted.
    """

    def __init__(self, kind: ObjectType, source: str, pull: int) -> None:
        self._kind = kind
        self._pull = pull
        self._database = identifier(source)
        self._rows = self.table(OBJECT_TABLES[kind.name].rows)
        self.pulled = self.table(f"pulled_{kind.name}_{pull}")
        self.joined = self.table(f"joined_{kind.name}_{pull}")
        self._id_type = kind.listed[0].type.clickhouse
        self._columns = [identifier(column.name) for column in (*kind.listed, *kind.detailed, *kind.joined)]
        self._state = f"cityHash64({', '.join(self._columns[1:])}) AS state"
        """By which two rows are compared."""

    def table(self, name: str) -> str:
        """A table of the source's database, quoted."""
        return f"{self._database}.{identifier(name)}"

    def create(self) -> list[str]:
        """Make the pull's own tables. They are local ones, also where those of the objects are distributed."""
        made = [f"CREATE TABLE IF NOT EXISTS {self.pulled} AS {self._rows} ENGINE = ReplacingMergeTree ORDER BY id"]
        if self._kind.joined:
            made.append(f"CREATE TABLE IF NOT EXISTS {self.joined} AS {self._rows} ENGINE = MergeTree ORDER BY id")
        return made

    def known(self) -> str:
        """Of the objects among `ids`: the marks of their content, and their details."""
        types = {column.name: column.type for column in self._kind.listed}
        times = [f"stored.{mark}" for mark in self._kind.content_marks if types[mark] is TIME]
        wanted = [f"toString(stored.{mark})" for mark in self._kind.content_marks]
        wanted += [f"stored.{identifier(column.name)}" for column in self._kind.detailed]
        return (
            f"SELECT stored.id, {', '.join(wanted)} FROM {self._rows} AS stored FINAL\n"
            f"WHERE stored.id IN {{ids:Array({self._id_type})}} AND NOT stored.is_deleted\n"
            f"AND stored.received_at > arrayMax([{', '.join(times)}]) + toIntervalSecond({SETTLED_SECONDS})"
        )

    def cut(self, rest: Slice, rows: int) -> str:
        """How many of the first identities of a slice there are, up to so many, and the last of them."""
        ids = " UNION ALL ".join(
            f"SELECT part.id AS id FROM {table} AS part WHERE {rest.condition(self._id_type, 'part')}\n"
            f"ORDER BY part.id LIMIT {rows}"
            for table in (self.pulled, self._rows)
        )
        return f"SELECT count(), max(id) FROM (SELECT id FROM ({ids}) ORDER BY id LIMIT {rows})"

    def count(self, part: Slice) -> str:
        """How many objects of a slice there are, how many of them are new, and how many have changed."""
        return (
            f"SELECT count(), countIf({self._older} AND {self._new}),\n"
            f"    countIf({self._older} AND NOT {self._new} AND known.state != pulled.state)\n"
            f"{self._compared(part)}\n{_ONE_PART}"
        )

    def publish(self, part: Slice) -> str:
        """Write what is new in a slice or has changed."""
        return (
            f"{self._into}\n{self._select('pulled', is_deleted='false')}\n"
            f"{self._compared(part)}\n"
            f"WHERE {self._older} AND ({self._new} OR known.state != pulled.state)\n{_ONE_PART}"
        )

    def count_gone(self, part: Slice) -> str:
        """How many objects of a slice are gone."""
        return f"SELECT count()\n{self._gone(part)}"

    def publish_gone(self, part: Slice) -> str:
        """Mark them."""
        return f"{self._into}\n{self._select('known', is_deleted='true')}\n{self._gone(part)}\n{_ONE_PART}"

    @property
    def _into(self) -> str:
        return f"INSERT INTO {self._rows} ({', '.join(self._columns)}, received_at, is_deleted, pull)"

    @property
    def _older(self) -> str:
        """What a later pull has written stays."""
        return f"known.pull < {self._pull}"

    @property
    def _new(self) -> str:
        return "(known.pull = 0 OR known.is_deleted)"

    def _select(self, table: str, is_deleted: str) -> str:
        columns = ", ".join(f"{table}.{name}" for name in self._columns)
        return f"SELECT {columns}, now64(3), {is_deleted}, {self._pull}"

    def _gone(self, part: Slice) -> str:
        return (
            f"FROM {self._rows} AS known FINAL\n"
            f"WHERE NOT known.is_deleted AND {self._older} AND {part.condition(self._id_type, 'known')}\n"
            f"AND known.id NOT IN "
            f"(SELECT part.id FROM {self.pulled} AS part WHERE {part.condition(self._id_type, 'part')})"
        )

    def _compared(self, part: Slice) -> str:
        return (
            f"FROM (SELECT *, {self._state} FROM ({self._whole(part)})) AS pulled\n"
            f"LEFT JOIN (\n    SELECT id, pull, is_deleted, {self._state} FROM {self._rows} AS part FINAL\n"
            f"    WHERE {part.condition(self._id_type, 'part')}\n) AS known ON known.id = pulled.id"
        )

    def _whole(self, part: Slice) -> str:
        """The objects of a slice, with everything that is joined to them."""
        where = part.condition(self._id_type, "part")
        values = {name: f"items.{name}" for name in self._columns}
        joins = []
        if self._kind.joined:
            unions = [f"{_union(column)} AS {identifier(column.name)}" for column in self._kind.joined]
            values |= {name: f"joined.{name}" for name in (identifier(column.name) for column in self._kind.joined)}
            joins.append(
                f"LEFT JOIN (\n    SELECT part.id AS id, {', '.join(unions)} FROM {self.joined} AS part\n"
                f"    WHERE {where} GROUP BY part.id\n) AS joined ON joined.id = items.id"
            )
        for column, event in self._kind.activities.items():
            table = EVENT_TABLES[event]
            by_person = " AND NOT sg_machine_open" if any(c.name == "sg_machine_open" for c in table.columns) else ""
            people = f"SELECT part.email FROM {self.pulled} AS part WHERE part.email != '' AND {where}"
            # Repeats among an event's rows do not matter to a maximum.
            joins.append(
                f"LEFT JOIN (\n    SELECT email, max(timestamp) AS at FROM {self.table(table.rows)}\n"
                f"    WHERE email IN ({people}){by_person} GROUP BY email\n"
                f") AS {column} ON {column}.email = items.email"
            )
            values[identifier(column)] = f"greatest(items.{identifier(column)}, {column}.at)"
        selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
        items = f"FROM (SELECT * FROM {self.pulled} AS part FINAL WHERE {where}) AS items"
        return "\n".join((f"SELECT {selected}", items, *joins))


def _union(column: Column) -> str:
    name = f"part.{identifier(column.name)}"
    return f"arraySort(groupUniqArrayArray({name}))" if column.type.clickhouse.startswith("Array") else f"max({name})"
