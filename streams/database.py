"""A source's database in ClickHouse, for what a role keeps there: asked and written for as long as it takes."""

from collections.abc import Iterable, Mapping
from functools import partial

import orjson
from clickhouse_connect.driver.query import QueryResult

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.tables import Table
from streams.delivery import persistently
from streams.privacy.forgotten import Forgotten


class Database:
    """Reads and writes one.

    Every method raises Reject or Fatal where ClickHouse refuses; while it is away it is waited for.

    Args:
        clickhouse: open.
        name: of the source.
        forgotten: about whom nothing is written; None where nobody is.
    """

    def __init__(self, clickhouse: ClickHouse, name: str, forgotten: Forgotten | None = None) -> None:
        self._clickhouse = clickhouse
        self._forgotten = forgotten
        self._name = identifier(name)

    async def query(self, sql: str, **parameters: object) -> QueryResult:
        """Run a statement.

        Args:
            sql: with `$db` for the database, and `{name:Type}` for parameters.
            parameters: by name.
        """
        ask = partial(self._clickhouse.query, sql.replace("$db", self._name), parameters)
        return await persistently("asking ClickHouse", ask)

    async def insert(self, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
        """Insert rows, if there are any."""
        if self._forgotten is not None:
            rows = await self._forgotten.rows_without(rows)
        # One after the other: each bytes object of orjson's occupies 4 kB as long as it is kept.
        lines = bytearray()
        for row in rows:
            lines += orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        if lines:
            name = f"{self._name}.{identifier(table.rows)}"
            await persistently("inserting", partial(self._clickhouse.insert, name, [bytes(lines)]))
