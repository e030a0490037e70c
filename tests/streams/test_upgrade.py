"""`schema apply` on a database that the first version of gridstream made: its DDL and rows are kept in first_version.

They were written by that version's own code: `ddl.statements("sendgrid")`, and what its normalizer made of the samples.
"""

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import pytest

from connectors.clickhouse import ClickHouse
from schemas import ddl
from schemas.ddl import FOREVER, identifier
from schemas.tables import DELIVERIES, TABLES
from streams.datafolder import DataFolder
from streams.schema import apply, missing_columns
from streams.settings import Settings
from tests.pipeline import running
from tests.samples import sample

_FIRST = Path(__file__).parent / "first_version"
_ROWS = [json.loads(line) for line in (_FIRST / "rows.jsonl").read_text().splitlines()]
_READ = ("click", "_open", "bounce", "unknown", "activity", "deliveries", "dead_letters")


@pytest.fixture
async def first(clickhouse: ClickHouse, source: str) -> str:
    """A database as the first version left it, each row inserted twice."""
    for statement in (_FIRST / "schema.sql").read_text().split(";\n"):
        if statement.strip():
            await clickhouse.query(statement.replace("`sendgrid`", identifier(source)))
    by_table = defaultdict(list)
    for row in _ROWS:
        by_table[row["table"]].append(json.dumps(row["row"]).encode())
    for _ in range(2):
        for table, lines in by_table.items():
            await clickhouse.insert(f"{identifier(source)}.{identifier(table)}", [b"\n".join(lines)])
    return source


async def parts(database: str, clickhouse: ClickHouse) -> set[tuple[str, str]]:
    """The parts that a database's rows are stored in, of all tables."""
    sql = "SELECT table, name FROM system.parts WHERE active AND database = {database:String}"
    return {tuple(row) for row in (await clickhouse.query(sql, {"database": database})).result_rows}


async def counts(database: str, clickhouse: ClickHouse) -> tuple[int, ...]:
    selects = ", ".join(f"(SELECT count() FROM {identifier(database)}.{identifier(name)})" for name in _READ)
    return tuple((await clickhouse.query(f"SELECT {selects}")).result_rows[0])


async def test_a_database_of_the_first_version_becomes_what_is_declared(first: str, clickhouse: ClickHouse) -> None:
    assert await missing_columns(first, clickhouse)

    await apply({first: FOREVER}, clickhouse)

    assert await missing_columns(first, clickhouse) == []
    sql = "SELECT table, name, type FROM system.columns WHERE database = {database:String}"
    live = {(table, name): kind for table, name, kind in (await clickhouse.query(sql, {"database": first})).result_rows}
    for table in TABLES:
        for column in ddl.stored_columns(table):
            found, declared = live[table.rows, column.name], column.type.clickhouse
            assert ddl.without_dictionaries(found) == ddl.without_dictionaries(declared), (table.rows, column.name)


async def test_nothing_is_rewritten_and_no_reader_disturbed(first: str, clickhouse: ClickHouse) -> None:
    for table in {row["table"] for row in _ROWS} - {DELIVERIES.rows}:
        await clickhouse.query(f"SYSTEM STOP MERGES {identifier(first)}.{identifier(table)}")
    before = await parts(first, clickhouse)
    expected = await counts(first, clickhouse)
    read: list[tuple[int, ...]] = []

    async def reading() -> None:
        while True:
            read.append(await counts(first, clickhouse))

    reader = asyncio.create_task(reading())
    await apply({first: FOREVER}, clickhouse)
    enough = len(read) + 3
    while len(read) < enough and not reader.done():
        await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    assert set(read) == {expected}
    assert expected == (1, 1, 1, 1, 4, 4, 1)
    # Two columns of deliveries were unsigned and may now be below zero: ClickHouse converts these, and these alone.
    kept = {part for part in before if part[0] != DELIVERIES.rows}
    assert kept
    assert kept <= await parts(first, clickhouse)


async def test_a_second_time_there_is_nothing_to_alter(first: str, clickhouse: ClickHouse) -> None:
    await apply({first: FOREVER}, clickhouse)
    sql = "SELECT table, groupArray((name, type)) FROM system.columns WHERE database = {database:String} GROUP BY table"
    found = (await clickhouse.query(sql, {"database": first})).result_rows
    live = {table: dict(columns) for table, columns in found}

    for table in TABLES:
        assert list(ddl.alter_columns(first, table, live[table.rows])) == []


async def test_the_upgraded_database_goes_on(
    first: str, servers: Settings, data: DataFolder, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    before = await counts(first, clickhouse)
    async with running(servers, data, first, tmp_path) as pipeline:
        assert await pipeline.post(sample("dropped")) == 200
        assert await pipeline.post(sample("click")) == 200  # as there already is one
        await pipeline.settled()

        assert await pipeline.count("dropped") == 1
        assert await counts(first, clickhouse) == (*before[:4], before[4] + 1, before[5] + 2, before[6])
