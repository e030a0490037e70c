"""What is stored of somebody: the rows of every table, as readers see them."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.privacy import Marks
from schemas.tables import TABLES, Table
from streams.privacy.searching import Search
from streams.sections import Source


async def export(
    clickhouse: ClickHouse, source: Source, address: str, marks: Marks | None
) -> AsyncGenerator[tuple[Table, list[Mapping[str, Any]]]]:
    """The rows of each table of a source that tell of somebody; tables without any are left out.

    Args:
        clickhouse: connected.
        source: whose database.
        address: in lower case.
        marks: where there is a key: what stands for the address counts as well.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not say.
    """
    tables = {table.rows: table for table in TABLES}
    async with Search(clickhouse, source.name, {address}, {marks(address)} if marks else ()).open() as search:
        for place in await search.places():
            if (table := tables.get(place.table)) and (place.texts or place.names):
                columns = ", ".join(f"stored.{identifier(column.name)}" for column in table.columns)
                sql = (
                    f"SELECT {columns} FROM {search.table(table.rows)} AS stored FINAL WHERE {search.condition(place)}"
                )
                if rows := list((await clickhouse.query(sql)).named_results()):
                    yield table, [{name.removeprefix("stored."): value for name, value in row.items()} for row in rows]
