"""One pull of one kind of object: kept apart until it is complete, then published.

What readers see stays as it was until everything has been pulled. Then the differences are published, by identity in
slices of limited size, each of which appears at once. To publish a slice again changes nothing, so a crash between any
two of these steps leaves states that SendGrid really had, and the next pull completes them.

A pull has tables of its own, which are dropped behind it: two pulls at the same time do not see each other, and of what
both publish the later one counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import orjson
import structlog
from clickhouse_connect.driver.query import QueryResult

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from schemas.objects import ObjectType, Row
from streams.objects.calls import Calls
from streams.objects.statements import FORGOTTEN, Slice, Statements
from streams.privacy.forgotten import Forgotten

log = structlog.get_logger()

_INSERT_BYTES = 1 << 20
"""What is held in memory of each table, whatever the number of objects; several times while it is inserted, as driver
and aiohttp copy it. Larger inserts would cost ClickHouse no less."""
_SLICE_ROWS = 250_000
"""ClickHouse holds about so many identities of either side at a time."""
_FORGOTTEN_MS = 24 * 3600 * 1000
"""Older tables of a pull are left over from a crash."""


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

    def __add__(self, more: "Counts") -> "Counts":
        return Counts(
            self.pulled + more.pulled, self.new + more.new, self.changed + more.changed, self.gone + more.gone
        )


class Staging:
    """An asynchronous context manager: its tables are there while it lasts.

    Args:
        kind: of the objects.
        source: whose they are.
        clickhouse: connected.
        calls: make its queries.
        pull: when it began, in milliseconds since 1970.
        forgotten: about whom nothing is kept; None where nobody is.
    """

    def __init__(
        self,
        kind: ObjectType,
        source: str,
        clickhouse: ClickHouse,
        calls: Calls,
        pull: int,
        forgotten: Forgotten | None = None,
    ) -> None:
        self._forgotten = forgotten
        self.kind = kind
        self._source = source
        self._clickhouse = clickhouse
        self._calls = calls
        self._pull = pull
        self._sql = Statements(kind, source, pull)
        self._held = {self._sql.pulled: bytearray(), self._sql.joined: bytearray()}

    async def __aenter__(self) -> Self:
        await self._drop_forgotten()
        for statement in self._sql.create():
            await self._query(statement)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for table in self._held:
                await self._clickhouse.query(f"DROP TABLE IF EXISTS {table} SYNC")
        except GridstreamError as error:  # the pull of tomorrow drops them
            log.warning("the tables of a pull stay behind", object=self.kind.name, reason=str(error))

    async def add(self, rows: Iterable[Row]) -> None:
        """Keep objects. One that is added again replaces itself."""
        if self._forgotten is not None:
            rows = map(dict, await self._forgotten.rows_without(rows))
        await self._hold(self._sql.pulled, rows)

    async def join(self, rows: Iterable[Row]) -> None:
        """Keep what is joined to objects by their identity. Of several rows of one object, lists are united."""
        await self._hold(self._sql.joined, rows)

    async def known(self, ids: Sequence[object]) -> Mapping[object, Row]:
        """Of objects that were there before: the marks of their content, and their details.

        Only of those of which the same marks certainly mean the same details.
        """
        found = await self._query(self._sql.known(), ids=list(ids))
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
        rest: Slice | None = Slice()
        while rest:
            part, rest = await self._cut(rest)
            total += await self._publish(part, is_complete=is_complete)
        return total

    async def _cut(self, rest: Slice) -> tuple[Slice, Slice | None]:
        """A slice from the beginning of the rest, and what remains of it."""
        ((count, last),) = (await self._query(self._sql.cut(rest, _SLICE_ROWS), **rest.parameters)).result_rows
        return (Slice(rest.after, last), Slice(last)) if count == _SLICE_ROWS else (rest, None)

    async def _publish(self, part: Slice, *, is_complete: bool) -> Counts:
        ((pulled, new, changed),) = (await self._query(self._sql.count(part), **part.parameters)).result_rows
        if new or changed:
            await self._query(self._sql.publish(part), **part.parameters)
        gone = 0
        if is_complete:
            ((gone,),) = (await self._query(self._sql.count_gone(part), **part.parameters)).result_rows
        if gone:
            await self._query(self._sql.publish_gone(part), **part.parameters)
        return Counts(pulled, new, changed, gone)

    async def _drop_forgotten(self) -> None:
        pattern = f"^(pulled|joined)_{self.kind.name}_[0-9]+$"
        before = self._pull - _FORGOTTEN_MS
        found = await self._query(FORGOTTEN, database=self._source, pattern=pattern, before=before)
        for (name,) in found.result_rows:
            await self._query(f"DROP TABLE IF EXISTS {self._sql.table(name)} SYNC")

    async def _hold(self, table: str, rows: Iterable[Row]) -> None:
        for row in rows:
            # One after the other into one buffer: what orjson returns keeps 4 KB each as long as it lives.
            self._held[table] += orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            if len(self._held[table]) >= _INSERT_BYTES:
                await self._insert(table)

    async def _insert(self, table: str) -> None:
        lines, self._held[table] = bytes(self._held[table]), bytearray()
        if lines:
            await self._calls("inserting", partial(self._clickhouse.insert, table, [lines]))

    async def _query(self, sql: str, **parameters: object) -> QueryResult:
        return await self._calls("asking ClickHouse", partial(self._clickhouse.query, sql, parameters))
