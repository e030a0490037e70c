"""An unmodified clickhouse-connect on the engine."""

import asyncio
from datetime import UTC, datetime

import clickhouse_connect
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.engine.process import Engine

NOW = datetime(2026, 11, 21, 12, 0, 0, 678000, tzinfo=UTC)
ROW = [1, "a'\\\n", NOW, {"k": "v"}, "low", None, ["q", "q"]]


@pytest.fixture(scope="module", autouse=True)
def _tables(writer: Client) -> None:
    writer.command(
        "CREATE TABLE t (a UInt32, b String, c DateTime64(3, 'UTC'), d Map(LowCardinality(String), String),"
        " e LowCardinality(String), f Nullable(Float64), g Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY a"
    )


@pytest.fixture(autouse=True)
def _empty(writer: Client, _tables: None) -> None:
    writer.command("TRUNCATE TABLE t")


def test_it_meets_a_server(reader: Client) -> None:
    assert reader.server_version
    assert str(reader.server_tz) == "UTC"
    assert reader.command("SELECT version()") == reader.server_version


@pytest.mark.parametrize("compress", ["", "lz4", "zstd", "gzip"])
def test_insert_and_query(engine: Engine, compress: str) -> None:
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=engine.port, username="gridstream", password=engine.password, compress=compress or False
    ) as client:
        summary = client.insert("t", [ROW])

        found = client.query("SELECT * FROM t", column_formats={}).result_rows
        assert summary.written_rows == 1
        assert [*found[0][:2], found[0][2].replace(tzinfo=UTC), *found[0][3:]] == ROW
        assert len(client.query("SELECT number, toString(number) FROM numbers(300000)").result_rows) == 300_000


def test_raw_insert(writer: Client) -> None:
    summary = writer.raw_insert("t", ["a", "b"], b'{"a":5,"b":"x"}\n{"a":6,"b":"y"}\n', fmt="JSONEachRow")

    assert summary.written_rows == 2
    assert writer.query("SELECT a, b FROM t ORDER BY a").result_rows == [(5, "x"), (6, "y")]


def test_arrow(writer: Client, reader: Client) -> None:
    writer.insert_arrow("t", pa.table({"a": pa.array([7], pa.uint32()), "b": ["arrow"]}))

    assert reader.query_arrow("SELECT a, b FROM t").to_pylist() == [{"a": 7, "b": "arrow"}]


def test_parameters_are_bound_by_the_server(reader: Client) -> None:
    parameters = {"i": 41, "s": "it's\n\\x", "l": ["x", "y'z"], "t": NOW}
    query = "SELECT {i:UInt32} + 1, {s:String}, {l:Array(String)}, {t:DateTime64(3, 'UTC')}"

    (row,) = reader.query(query, parameters=parameters).result_rows

    assert row[:3] == (42, "it's\n\\x", ["x", "y'z"])
    assert row[3].replace(tzinfo=UTC) == NOW


def test_parameters_in_a_form(engine: Engine) -> None:
    with clickhouse_connect.get_client(host="127.0.0.1", port=engine.port, form_encode_query_params=True) as client:
        assert client.query("SELECT {x:String}", parameters={"x": "é" * 5000}).result_rows == [("é" * 5000,)]


def test_parameters_of_an_insert(writer: Client) -> None:
    writer.command("INSERT INTO t (a, b) VALUES ({a:UInt32}, {b:String})", parameters={"a": 8, "b": "it's"})

    assert writer.query("SELECT a, b FROM t").result_rows == [(8, "it's")]


def test_streams(reader: Client) -> None:
    with reader.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        assert sum(len(block) for block in blocks) == 1_000_000
    with reader.raw_stream("SELECT number FROM numbers(1000000)", fmt="CSV") as stream:
        assert len(stream.read()) == 6_888_890


@pytest.mark.parametrize("compress", ["", "lz4", "zstd", "gzip"])
def test_an_error_in_the_middle_of_a_stream(engine: Engine, compress: str) -> None:
    query = "SELECT throwIf(number = 3000000), randomString(8) FROM numbers(5000000)"
    with (
        clickhouse_connect.get_client(host="127.0.0.1", port=engine.port, compress=compress or False) as client,
        pytest.raises(StreamFailureError, match=r"Code: 395.*FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        client.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT nope", 47),
        ("SELECT * FROM nope", 60),
        ("SELECT * FROM a.b", 81),
        ("SELEC 1", 62),
        ("SELECT f(1)", 46),
    ],
)
def test_errors_have_their_code(reader: Client, query: str, code: int) -> None:
    with pytest.raises(DatabaseError) as error:
        reader.query(query)

    assert error.value.code == code
    assert "(version 26." in str(error.value)


def test_settings(reader: Client) -> None:
    assert reader.query("SELECT getSetting('max_threads')", settings={"max_threads": 3}).result_rows == [(3,)]
    assert reader.query("SELECT getSetting('max_threads') = 3").result_rows == [(0,)]
    with pytest.raises(DatabaseError) as error:
        reader.query("SELECT 1", settings={"nope": 1, "max_threads": 1})
    assert error.value.code == 115


def test_a_session_keeps_what_is_said_in_sql(writer: Client) -> None:
    writer.command("CREATE TEMPORARY TABLE s (a UInt8)")
    writer.command("INSERT INTO s VALUES (1), (2)")
    writer.command("SET max_block_size = 77")

    assert writer.query("SELECT sum(a), getSetting('max_block_size') FROM s").result_rows == [(3, 77)]


def test_a_reader_is_told_how_to_write(reader: Client) -> None:
    with pytest.raises(DatabaseError, match=r"be the user gridstream, whose password is in .*\.password") as error:
        reader.insert("t", [ROW])

    assert error.value.code == 164


def test_statements_without_a_result(writer: Client) -> None:
    writer.command("CREATE DATABASE db")
    writer.command("CREATE TABLE db.x ENGINE = Memory AS SELECT 1 AS a")

    assert writer.command("EXISTS TABLE db.x") == 1
    assert writer.query("SHOW TABLES FROM db").result_rows == [("x",)]
    assert writer.query("SELECT * FROM x", settings={"database": "db"}).result_rows == [(1,)]
    writer.command("DROP DATABASE db")


async def test_the_async_client(engine: Engine) -> None:
    async with await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=engine.port, username="gridstream", password=engine.password
    ) as client:
        await client.insert("t", [[9, "async"]], column_names=["a", "b"])
        results = await asyncio.gather(
            *(client.query("SELECT b, {n:UInt8} FROM t", parameters={"n": n}) for n in range(8))
        )
        assert [result.result_rows for result in results] == [[("async", n)] for n in range(8)]
        async with await client.query_row_block_stream("SELECT number FROM numbers(500000)") as blocks:
            assert sum([len(block) async for block in blocks]) == 500_000
        with pytest.raises(DatabaseError) as error:
            await client.command("SELECT nope")
        assert error.value.code == 47
