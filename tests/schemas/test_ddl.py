"""The statements for a cluster of ClickHouse servers: one server reads what it can of them, and each is checked."""

import re

import pytest

from connectors.clickhouse import ClickHouse
from schemas import ddl
from schemas.ddl import identifier
from schemas.tables import EVENT_TABLES, TABLES, Table

CLUSTER = "main-cluster"
ON_CLUSTER = f" ON CLUSTER {identifier(CLUSTER)}"
STATEMENTS = list(ddl.statements("sendgrid", ddl.FOREVER, CLUSTER, {table.rows: {"x": "String"} for table in TABLES}))


def test_every_server_of_the_cluster_gets_every_statement() -> None:
    for statement in STATEMENTS:
        assert statement.count(ON_CLUSTER) == 1, statement


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_identity_alone_decides_the_shard(table: Table) -> None:
    (distributed,) = [each for each in STATEMENTS if f"`{table.rows}`{ON_CLUSTER}\nAS " in each]
    (stored,) = [each for each in STATEMENTS if f"`{table.rows}_local`{ON_CLUSTER}\n(" in each]
    identity = re.search(r"ORDER BY \((.*)\)", stored)

    assert identity
    assert distributed.endswith(
        f"ENGINE = Distributed(`{CLUSTER}`, `sendgrid`, `{table.rows}_local`, cityHash64({identity[1]}))"
    )
    assert f"ENGINE = ReplicatedReplacingMergeTree(`{table.version.name}`)" in stored


def test_what_is_stored_has_no_reader_beside_the_distributed_table() -> None:
    for statement in STATEMENTS:
        if "VIEW" in statement:
            assert "_local" not in statement


def test_one_server_has_none_of_it() -> None:
    for statement in ddl.statements("sendgrid"):
        assert not re.search("ON CLUSTER|Replicated|Distributed|_local", statement)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_older_table_gets_what_it_lacks_on_every_shard_and_before_them(table: Table) -> None:
    first, *others = ddl.stored_columns(table)
    live = {column.name: column.type.clickhouse for column in others}
    lacking = list(ddl.alter_columns("sendgrid", table, live, CLUSTER))
    other_type = list(ddl.alter_columns("sendgrid", table, live | {first.name: "UUID"}))

    added = f"ADD COLUMN IF NOT EXISTS {identifier(first.name)} {first.type.clickhouse}"
    assert [each.split("\n")[0] for each in lacking] == [
        f"ALTER TABLE `sendgrid`.`{name}`{ON_CLUSTER}" for name in (f"{table.rows}_local", table.rows)
    ]
    assert all(added in each for each in lacking)
    assert [each.count("MODIFY COLUMN") for each in other_type] == [1]
    assert not list(ddl.alter_columns("sendgrid", table, live | {first.name: first.type.clickhouse}, CLUSTER))


async def test_clickhouse_reads_every_statement(clickhouse: ClickHouse) -> None:
    for statement in STATEMENTS:
        ((formatted,),) = (await clickhouse.query("SELECT formatQuery({sql:String})", {"sql": statement})).result_rows
        assert "ON CLUSTER" in formatted


async def test_clickhouse_runs_what_one_server_can(clickhouse: ClickHouse, source: str) -> None:
    """Without the cluster and its Keeper; a view over the local table stands where the Distributed one would."""
    for statement in ddl.statements(source, cluster=CLUSTER):
        alone = statement.replace(ON_CLUSTER, "").replace("ENGINE = Replicated", "ENGINE = ")
        if distributed := re.fullmatch(r"(CREATE TABLE .*)\nAS (.*)\nENGINE = Distributed\(.*\)", alone):
            alone = f"{distributed[1]} AS {distributed[2]} ENGINE = ReplacingMergeTree ORDER BY tuple()"
        await clickhouse.query(alone)
    ((tables,),) = (
        await clickhouse.query(
            "SELECT count() FROM system.tables WHERE database = {source:String} AND name LIKE '%\\_local'",
            {"source": source},
        )
    ).result_rows

    assert tables == len(TABLES)


async def test_what_an_insert_writes_is_one_file(clickhouse: ClickHouse, source: str) -> None:
    for statement in ddl.statements(source):
        await clickhouse.query(statement)
    table = EVENT_TABLES["open"]
    await clickhouse.insert(f"{identifier(source)}.{identifier(table.rows)}", [b'{"event_id":"1"}\n'])
    parts = await clickhouse.query(
        "SELECT part_type, part_storage_type FROM system.parts WHERE active AND database = {source:String}",
        {"source": source},
    )

    assert parts.result_rows == [("Compact", "Packed")]
