"""Where people are in ClickHouse: the rows of every table, as they lie in its parts, that tell of somebody.

No statement names a person: who is looked for stands in a table of its own as long as a search lasts. Statements would
stay, in the list of mutations and in the server's log of queries.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import orjson

from connectors.clickhouse import ClickHouse
from schemas.ddl import escaped, identifier
from schemas.privacy import ADDRESS, QUOTES, is_plain

PREFIX = "forgetting_"
"""Of the names of tables that are there while somebody is looked for."""
_PEOPLE = f"{PREFIX}people"
_BATCH = 255
"""Texts that ClickHouse looks for at once."""
_NAMES = ("email", "user_id", "anonymous_id")
"""Columns that hold an address or a user id and nothing else."""
_COLUMNS = """
SELECT table, groupArray((name, type)) FROM system.columns WHERE database = {database:String} GROUP BY table
"""
_TABLES = """
SELECT name, sorting_key FROM system.tables
WHERE database = {database:String} AND engine LIKE '%MergeTree' AND NOT startsWith(name, {own:String}) ORDER BY name
"""
_OWN = "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {own:String})"

Kind = Literal["address", "odd", "id"]
"""How they are looked for: among the words of a text; as they are, being no such word; or where they stand alone."""
_WORD = f"{ADDRESS}|[0-9a-f]{{32,}}"
"""What is an address or a mark."""


@dataclass(frozen=True, slots=True)
class Place:
    """A table in which people may be.

    Attributes:
        table: its name.
        key: the columns that it is sorted by, as SQL has them.
        names: columns that hold an address or a user id and nothing else.
        texts: expressions for everything that it says in words.
    """

    table: str
    key: str
    names: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, table: str, key: str, columns: Iterable[tuple[str, str]]) -> Self:
        """From the columns' names and types."""
        types = dict(columns)
        texts = [text for name, type_ in types.items() if (text := _text(identifier(name), type_))]
        if "event_id" in types:
            # Of millions of events all have an address, and most have it as their user id: these two are compared.
            texts.remove(_text(identifier("email"), types["email"]))
            user_id = _text(identifier("user_id"), types["user_id"])
            texts[texts.index(user_id)] = f"if(lower(user_id) = email, '', {user_id})"
        if {"payload", "encoding"} <= types.keys():
            texts.append("if(encoding = 'base64', tryBase64Decode(payload), '')")
        quoted = ", ".join(identifier(column.strip("`")) for column in key.strip("()").split(", "))
        return cls(table, quoted, tuple(name for name in _NAMES if name in types), tuple(texts))


def _text(name: str, type_: str) -> str:
    """An expression for what a column says in words; empty: it has none."""
    if "String" not in type_:
        return ""
    if type_ in ("String", "LowCardinality(String)"):
        return f"toString({name})"
    if type_.startswith("Map("):
        return f"arrayStringConcat(arrayConcat(mapKeys({name}), mapValues({name})), ' ')"
    if type_ in ("Array(String)", "Array(LowCardinality(String))"):
        return f"arrayStringConcat({name}, ' ')"
    # As text it has quotes of its own, in which it escapes others.
    return f"replaceAll(toString({name}), '\\\\\\'', '\\'')"


class Search:
    """A search for some people in one database.

    Args:
        clickhouse: connected.
        database: of a source.
        addresses: in lower case.
        marks: that may stand for them.
        ids: user ids, in lower case.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        database: str,
        addresses: Collection[str],
        marks: Collection[str],
        ids: Collection[str] = (),
    ) -> None:
        self._clickhouse = clickhouse
        self._database = database
        odd = {each for each in addresses if not is_plain(each)}
        self._texts: dict[Kind, list[str]] = {
            "address": sorted(set(addresses) - odd | set(marks)),
            "odd": sorted(odd),
            "id": sorted(set(ids)),
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Have the table of who is looked for, as long as this lasts.

        Raises:
            Retry, Reject, Fatal: ClickHouse would not.
        """
        await self.close()
        await self.make_table(_PEOPLE, "text", columns="(text String, kind LowCardinality(String), batch UInt32)")
        rows = (
            {"text": text, "kind": kind, "batch": number // _BATCH}
            for kind, texts in self._texts.items()
            for number, text in enumerate(texts)
        )
        await self.insert(_PEOPLE, rows)
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Drop all tables of a search, also of one that was interrupted."""
        for (name,) in await self.query(_OWN, database=self._database, own=PREFIX):
            await self.query(f"DROP TABLE IF EXISTS {self.table(name)} SYNC")

    async def places(self) -> list[Place]:
        """All tables, those of older versions and of syncs that are under way included."""
        columns = dict(await self.query(_COLUMNS, database=self._database))
        tables = await self.query(_TABLES, database=self._database, own=PREFIX)
        return [Place.of(name, key, columns[name]) for name, key in tables]

    async def user_ids(self, place: Place) -> set[str]:
        """The user ids, in lower case, of rows that are about one of them."""
        if "user_id" not in place.names:
            return set()
        about = self._named("email") if "email" in place.names else self.condition(place)
        rows = self.table(place.table)
        found = await self.query(f"SELECT DISTINCT lower(user_id) FROM {rows} WHERE user_id != '' AND ({about})")
        return {user_id for (user_id,) in found}

    async def count(self, place: Place) -> int:
        """How many rows tell of one of them."""
        ((count,),) = await self.query(f"SELECT count() FROM {self.table(place.table)} WHERE {self.condition(place)}")
        return int(count)

    def condition(self, place: Place) -> str:
        """That a row of a table tells of one of them."""
        found = [self._named(name) for name in place.names]
        if place.texts and (self._texts["address"] or self._texts["odd"]):
            found += self._mentions(place)
        return " OR ".join(found) or "0"

    def _named(self, column: str) -> str:
        return f"lower({identifier(column)}) IN (SELECT text FROM {self.table(_PEOPLE)})"

    def _mentions(self, place: Place) -> list[str]:
        text = f"lower(concatWithSeparator(' ', '', {', '.join(place.texts)}))"
        decoded = f"if(position({text}, '%40') = 0, {text}, concat({text}, ' ', decodeURLComponent({text})))"
        # A row with a mark somewhere has it as its address as well, where it has one.
        pattern, may_be = (ADDRESS, f"multiSearchAny({text}, ['@', '%40']) AND ") if place.names else (_WORD, "")
        words = f"extractAll({decoded}, '{escaped(pattern)}')"
        people = f"(SELECT text FROM {self.table(_PEOPLE)} WHERE kind != 'id')"
        found = [f"({may_be}arrayExists(each -> trim(BOTH '{escaped(QUOTES)}' FROM each) IN {people}, {words}))"]
        odd = f"SELECT groupArray(text) FROM {self.table(_PEOPLE)} WHERE kind = 'odd'"
        batches = range(-(-len(self._texts["odd"]) // _BATCH))
        return [*found, *(f"multiSearchAny({decoded}, ({odd} AND batch = {batch}))" for batch in batches)]

    def table(self, name: str) -> str:
        """A table of the database, quoted."""
        return f"{identifier(self._database)}.{identifier(name)}"

    async def make_table(self, name: str, key: str, *, columns: str = "", query: str = "") -> str:
        """Make a table that is there as long as the search, empty even if it was left by one that was interrupted.

        Args:
            name: begins with PREFIX.
            key: that it is sorted by, as SQL has it.
            columns: in brackets,
            query: or the one that fills it and says what columns it has.

        Returns:
            Its name, quoted.
        """
        made = self.table(name)
        filled = f"AS {query}" if query else ""
        await self.query(f"DROP TABLE IF EXISTS {made} SYNC")
        await self.query(f"CREATE TABLE {made} {columns} ENGINE = MergeTree ORDER BY ({key}) {filled}")
        return made

    async def insert(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Insert rows into a table of the database, if there are any."""
        if lines := b"\n".join(map(orjson.dumps, rows)):
            await self._clickhouse.insert(self.table(name), [lines])

    async def query(self, sql: str, **parameters: object) -> list[Any]:
        """Run a statement; the rows of its result."""
        return list((await self._clickhouse.query(sql, parameters)).result_rows)
