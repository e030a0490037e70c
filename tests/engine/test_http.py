"""ClickHouse's HTTP interface, byte by byte."""

import gzip
import json

import pytest

from connectors.embedded.engine.blocks import BlockDecoder, BlockEncoder
from tests.engine.conftest import Ask, Reply

ROWS = b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n'


@pytest.fixture(autouse=True)
async def _table(tell: Ask) -> None:
    await tell("CREATE OR REPLACE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")


def summary(reply: Reply) -> dict[str, str]:
    found: dict[str, str] = json.loads(reply.headers["X-ClickHouse-Summary"])
    return found


@pytest.mark.parametrize("path", ["", "ping", "replicas_status"])
async def test_it_says_that_it_is_there(ask: Ask, path: str) -> None:
    reply = await ask("", method="GET", path=path)

    assert (reply.status, reply.body) == (200, b"Ok.\n")


async def test_an_unknown_path(ask: Ask) -> None:
    reply = await ask("SELECT 1", path="nope")

    assert reply.status == 404
    assert b"There is no handle /nope" in reply.body


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("SELECT 1", {}),
        ("", {"query": "SELECT 1"}),
        ("+ 0", {"query": "SELECT 1"}),
        ("-- a comment\n/* one more */ select\t1 ; ", {}),
        (
            "",
            {"query": "SELECT 1 FORMAT", "default_format": "JSON"} | {"query": "SELECT 1"} | {"default_format": "CSV"},
        ),
        ("SELECT 1 FORMAT TSV", {"default_format": "JSON"}),
        ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", {}),
        ("(SELECT 1)", {}),
        ("SELECT format FROM (SELECT 1 AS format) ORDER BY format DESC", {}),
        ("WITH x AS (SELECT 1) SELECT * FROM x", {}),
    ],
)
async def test_where_a_statement_may_stand(ask: Ask, statement: str, params: dict[str, str]) -> None:
    reply = await ask(statement, **params)

    assert (reply.status, reply.body) == (200, b"1\n")


async def test_headers_of_a_result(ask: Ask) -> None:
    reply = await ask("SELECT number FROM numbers(3) FORMAT jsoncompact", query_id="mine")

    assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert reply.headers["X-ClickHouse-Format"] == "JSONCompact"
    assert reply.headers["X-ClickHouse-Query-Id"] == "mine"
    assert reply.headers["X-ClickHouse-Timezone"] == "UTC"
    assert reply.headers["X-ClickHouse-Server-Display-Name"]
    assert (summary(reply)["read_rows"], summary(reply)["result_rows"]) == ("3", "3")
    assert json.loads(reply.body)["data"] == [["0"], ["1"], ["2"]] or json.loads(reply.body)["data"] == [[0], [1], [2]]


async def test_headers_of_an_error(ask: Ask) -> None:
    reply = await ask("SELECT nope")

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (404, "47")
    assert reply.body.startswith(b"Code: 47. DB::Exception: Unknown expression identifier `nope`")


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("INSERT INTO t FORMAT JSONEachRow", ROWS),
        ("insert into t format JSONEachRow\n", ROWS),
        ("/* it's */ INSERT INTO t (a, b) SETTINGS async_insert = 0 FORMAT CSV", b"1,x\n2,y\n"),
        ("INSERT INTO t VALUES", b"(1, 'x'), (1 + 1, lower('Y'))"),
        ("INSERT INTO t VALUES (1, 'x'),", b"(2, 'y')"),
        ("INSERT INTO t FORMAT RowBinary", b"\x01\0\0\0\x01x\x02\0\0\0\x01y"),
    ],
)
@pytest.mark.parametrize("in_url", [True, False], ids=["head in the URL", "all in the body"])
async def test_rows_of_any_format(tell: Ask, head: str, rows: bytes, in_url: bool) -> None:  # noqa: FBT001
    reply = await (tell(rows, query=head) if in_url else tell(head.encode() + b"\n" + rows))

    assert (reply.status, reply.body) == (200, b"")
    assert summary(reply)["written_rows"] == "2"
    assert (await tell("SELECT * FROM t ORDER BY a")).body == b"1\tx\n2\ty\n"


@pytest.mark.parametrize(
    "output_format", ["Native", "Parquet", "RowBinaryWithNamesAndTypes", "ArrowStream", "CSVWithNames"]
)
async def test_what_comes_out_goes_in_again(tell: Ask, output_format: str) -> None:
    query = f"SELECT toUInt32(number) AS a, toString(number) AS b FROM numbers(200000) FORMAT {output_format}"
    rows = await tell(query)

    reply = await tell(rows.body, query=f"INSERT INTO t FORMAT {output_format}")

    assert reply.status == 200, reply.body
    assert (await tell("SELECT count(), sum(a), uniqExact(b) FROM t")).body == b"200000\t19999900000\t200000\n"


async def test_rows_through_a_select_are_refused(tell: Ask) -> None:
    reply = await tell("1,x\n2,y\n", query="INSERT INTO t SELECT a + 1, b FROM input('a UInt32, b String') FORMAT CSV")

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (501, "48")


async def test_a_wrong_row_stores_none(tell: Ask) -> None:
    reply = await tell(ROWS * 10_000 + b'{"a":"x"}\n' + ROWS, query="INSERT INTO t FORMAT JSONEachRow")

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert (await tell("SELECT count() FROM t")).body == b"0\n"


async def test_one_post_is_one_part(tell: Ask) -> None:
    await tell(ROWS * 50_000, query="INSERT INTO t FORMAT JSONEachRow", async_insert=0, optimize_on_insert=0)

    assert (await tell("SELECT count(), uniqExact(_part) FROM t")).body == b"100000\t1\n"


async def test_settings_of_an_insert(tell: Ask) -> None:
    row = b'{"a":1,"b":"x","c":1}\n'
    strict = await tell(row, query="INSERT INTO t FORMAT JSONEachRow", input_format_skip_unknown_fields=0)
    lax = await tell(row, query="INSERT INTO t FORMAT JSONEachRow", input_format_skip_unknown_fields=1)
    unknown = await tell(row, query="INSERT INTO t FORMAT JSONEachRow", nope=1)

    assert (strict.headers["X-ClickHouse-Exception-Code"], lax.status) == ("117", 200)
    assert (unknown.status, unknown.headers["X-ClickHouse-Exception-Code"]) == (404, "115")


async def test_the_database_of_a_request(tell: Ask, ask: Ask) -> None:
    await tell("CREATE DATABASE IF NOT EXISTS db")
    await tell("CREATE OR REPLACE TABLE t (a UInt8) ENGINE = Memory", database="db")
    await tell(b"7\n", query="INSERT INTO t FORMAT CSV", headers={"X-ClickHouse-Database": "db"})

    assert (await ask("SELECT a FROM t", database="db")).body == b"7\n"
    assert (await ask("SELECT 1", database="no`pe")).headers["X-ClickHouse-Exception-Code"] == "81"


async def test_compressed_both_ways(tell: Ask) -> None:
    gzipped = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    await tell(gzip.compress(ROWS), query="INSERT INTO t FORMAT JSONEachRow", headers=gzipped)
    reply = await tell(gzip.compress(b"SELECT count() FROM t"), headers=gzipped, enable_http_compression=1)

    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.body) == b"2\n"


async def test_half_a_compressed_body_stores_nothing(tell: Ask) -> None:
    reply = await tell(
        gzip.compress(ROWS * 1000)[:-4], query="INSERT INTO t FORMAT JSONEachRow", headers={"Content-Encoding": "gzip"}
    )

    assert reply.headers["X-ClickHouse-Exception-Code"] == "271"
    assert (await tell("SELECT count() FROM t")).body == b"0\n"


@pytest.mark.parametrize("method", ["LZ4", "ZSTD", "NONE"])
async def test_compressed_in_blocks(tell: Ask, method: str) -> None:
    await tell(BlockEncoder(method).encode(ROWS), query="INSERT INTO t FORMAT JSONEachRow", decompress=1)
    good = await tell("SELECT count() FROM t", compress=1, network_compression_method=method)
    bad = await tell("SELECT nope", compress=1, network_compression_method=method)

    assert BlockDecoder().decode(good.body) == b"2\n"
    assert BlockDecoder().decode(bad.body).startswith(b"Code: 47.")


async def test_get_only_reads(ask: Ask, tell: Ask) -> None:
    allowed = await tell("", method="GET", query="SELECT 1")
    refused = await tell("", method="GET", query="DROP TABLE t")
    insert = await tell("", method="GET", query="INSERT INTO t VALUES (1, 'x')", session_id="g")

    assert allowed.body == b"1\n"
    for reply in (refused, insert):
        assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
        assert b"method GET implies readonly" in reply.body
    assert (await ask("EXISTS TABLE t")).body == b"1\n"


async def test_a_wrong_password(ask: Ask) -> None:
    reply = await ask("SELECT 1", user="gridstream", password="wrong")

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (403, "516")


async def test_url_settings_are_gone_after_the_request(ask: Ask) -> None:
    query = "SELECT getSetting('max_threads'), getSetting('join_use_nulls'), currentDatabase()"
    await ask("SET max_threads = 3", session_id="s")

    first = await ask(query, session_id="s", max_threads=2, join_use_nulls=1, database="system")
    second = await ask(query, session_id="s")

    assert (first.body, second.body) == (b"2\ttrue\tsystem\n", b"3\tfalse\tdefault\n")


async def test_sessions_end(ask: Ask) -> None:
    missing = await ask("SELECT 1", session_id="new", session_check=1)
    await ask("SET max_threads = 3", session_id="new")
    kept = await ask("SELECT getSetting('max_threads')", session_id="new", session_check=1, close_session=1)

    assert missing.headers["X-ClickHouse-Exception-Code"] == "372"
    assert kept.body == b"3\n"


async def test_a_form(ask: Ask) -> None:
    boundary = "-----x"
    fields = {"query": "SELECT {a:UInt8} + {b:UInt8}", "param_a": "40", "param_b": "2"}
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    form = "".join([*parts, f"--{boundary}--\r\n"])

    reply = await ask(form, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})

    assert reply.body == b"42\n"


@pytest.mark.parametrize("statement", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE t"])
async def test_one_statement_at_a_time(tell: Ask, statement: str) -> None:
    reply = await tell(statement)

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "62")


async def test_no_outfile(tell: Ask) -> None:
    reply = await tell("SELECT 1 INTO OUTFILE 'x'")

    assert reply.headers["X-ClickHouse-Exception-Code"] == "358"


async def test_a_long_statement(ask: Ask) -> None:
    numbers = ",".join(map(str, range(100_000)))

    short = await ask(f"SELECT length([{numbers}])")
    long = await ask(f"SELECT length([{numbers}])", max_query_size=10_000_000)

    assert short.headers["X-ClickHouse-Exception-Code"] == "62"
    assert long.body == b"100000\n"


async def test_the_whole_result_or_the_error(ask: Ask) -> None:
    bad = await ask("SELECT throwIf(number = 3000000) FROM numbers(5000000)", wait_end_of_query=1)
    good = await ask("SELECT number FROM numbers(3000000)", wait_end_of_query=1)

    assert (bad.status, bad.headers["X-ClickHouse-Exception-Code"]) == (500, "395")
    assert (len(good.body), summary(good)["read_rows"]) == (22_888_890, "3000000")


async def test_the_first_question_of_clickhouse_go(ask: Ask) -> None:
    question = "SELECT displayName(), version(), revision(), timezone()"

    plain = await ask(question, default_format="Native")
    flagged = await ask(question, default_format="Native", client_protocol_version=54460)

    assert plain.body[:2] == b"\x04\x01"
    assert flagged.body[:10] == b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01"
    assert b"\x0arevision()\x06UInt32\0\0\0\0" in plain.body
    assert b"\x0arevision()\x06UInt32\0\0\0\0\0" in flagged.body


async def test_rows_that_were_read_well_and_cannot_be_written_are_an_error(tell: Ask) -> None:
    await tell("CREATE TABLE small (n UInt64, CONSTRAINT is_small CHECK n < 5) ENGINE = MergeTree ORDER BY n")
    numbers = 3, 9, 8, 4, 9
    replies = [await tell(b'{"n":%d}' % each, query="INSERT INTO small FORMAT JSONEachRow") for each in numbers]

    assert [reply.status for reply in replies] == [200, 500, 500, 200, 500]
    assert replies[1].headers["X-ClickHouse-Exception-Code"] == "469"
    assert b"VIOLATED_CONSTRAINT" in replies[1].body
    assert (await tell("SELECT n FROM small ORDER BY n")).body == b"3\n4\n"


async def test_what_another_statement_did_wrong_before_is_no_error_of_an_insert(tell: Ask) -> None:
    await tell("CREATE TABLE innocent (n UInt64) ENGINE = MergeTree ORDER BY n")
    insert = "INSERT INTO innocent FORMAT JSONEachRow"
    first = await tell(b'{"n":1}', query=insert)
    failed = await tell("SELECT count() FROM numbers(100000000) GROUP BY number SETTINGS max_memory_usage = 1000000")
    second = await tell(b'{"n":2}', query=insert)

    assert [first.status, failed.status, second.status] == [200, 500, 200]


async def test_too_many_parts_are_an_error(tell: Ask) -> None:
    settings = "parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1"
    await tell(f"CREATE TABLE full (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS {settings}")
    await tell("SYSTEM STOP MERGES full")
    replies = [await tell(b'{"n":1}', query="INSERT INTO full FORMAT JSONEachRow") for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 500]
    assert b"TOO_MANY_PARTS" in replies[1].body
    assert (await tell("SELECT count() FROM full")).body == b"1\n"
