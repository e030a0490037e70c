"""The reader's locked doors: out of the data, and into writing."""

from pathlib import Path

import pytest

from tests.engine.conftest import Ask
from tests.engine.process import Engine

SECRET = "a secret of the machine"


@pytest.fixture(scope="module")
def secret(engine: Engine) -> Path:
    file = engine.folder.with_name("secret.txt")
    file.write_text(SECRET)
    return file


@pytest.fixture(autouse=True)
async def _tables(tell: Ask) -> None:
    await tell("CREATE OR REPLACE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a")
    await tell("CREATE OR REPLACE VIEW v AS SELECT a FROM t SETTINGS max_threads = 1")


OUTWARD = [
    "SELECT file('{file}')",
    "SELECT `file`('{file}')",
    "SELECT \"fi\\x6ce\"('{file}')",
    "SELECT file /* ( */ ( '{file}' )",
    "WITH file('{file}') AS x SELECT x",
    "SELECT arrayMap(file, ['{file}'])",
    "SELECT arrayMap(x -> file(x), ['{file}'])",
    "SELECT * APPLY file FROM (SELECT '{file}')",
    "SELECT * APPLY(x -> file(x)) FROM (SELECT '{file}')",
    "SELECT * REPLACE(file('{file}') AS x) FROM (SELECT '' AS x)",
    "SELECT 1 ORDER BY 1 WITH FILL FROM toUInt8(length(file('{file}')))",
    "SELECT sum(1) OVER (PARTITION BY file('{file}'))",
    "SELECT throwIf(1, file('{file}'))",
    "SELECT * FROM view(SELECT file('{file}'))",
    "SELECT * FROM viewExplain('EXPLAIN PLAN', '', (SELECT file('{file}')))",
    "SELECT * FROM (EXPLAIN SELECT file('{file}'))",
    "EXPLAIN PLAN SELECT file('{file}')",
    "EXPLAIN QUERY TREE SELECT file('{file}')",
    "SELECT * FROM file('{file}', 'LineAsString')",
    "SELECT * FROM eval('SELECT file(''{file}'')') SETTINGS allow_experimental_eval_table_function = 1",
    "SELECT 1 FROM numbers(1) WHERE 1 IN (SELECT length(line) FROM file('{file}', 'LineAsString'))",
    "DESCRIBE TABLE file('{file}')",
    "SELECT * FROM filesystem('{folder}')",
    "SELECT * FROM sqlite('{file}', 't')",
    "SELECT * FROM executable('cat', 'LineAsString', 'x String')",
    "SELECT * FROM python('x')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
    "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV', 'x String')",
    "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
    "SELECT * FROM cluster('default', 'system', 'one')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT hasColumnInTable('127.0.0.1', 'u', 'p', 'd', 't', 'c')",
    "SELECT aiGenerate('x')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM `{file}`",
    "SELECT * FROM default.`{file}`",
    "SELECT 1 INTO OUTFILE '{folder}/out'",
    "SELECT 1 INTO/**/OUTFILE '{folder}/out' TRUNCATE FORMAT CSV",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{file}'",
    "SELECT 1 FORMAT Template SETTINGS `format_template\\x5fresultset` = '{file}'",
    "SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(\\'{file}\\'))'",
    "SELECT * FROM (SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'file(\\'{file}\\') = 1'}})",
    "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{file}:M'",
    "SELECT $ ' $, 1 FORMAT TSV INTO OUTFILE '{folder}/out' $ ' $",
    "SELECT count(DISTINCT '{file}') SETTINGS count_distinct_implementation = 'file'",
    "SELECT 1 SETTINGS output_format_schema = '{folder}/out'",
    "SELECT * FROM format('CSV', 'x') SETTINGS input_format_record_errors_file_path = '{folder}/out'",
    "SET additional_result_filter = '1'",
    "SET dialect = 'prql'",
]


@pytest.mark.parametrize("statement", OUTWARD)
async def test_nothing_leads_out_of_the_data(ask: Ask, secret: Path, statement: str) -> None:
    before = sorted(secret.parent.iterdir())

    reply = await ask(statement.format(file=secret, folder=secret.parent))

    assert reply.status >= 400, reply.body
    assert SECRET.encode() not in reply.body
    assert sorted(secret.parent.iterdir()) == before


@pytest.mark.parametrize(
    "params",
    [
        {"additional_result_filter": "throwIf(1, file('{file}'))"},
        {"format_template_row": "{file}", "default_format": "Template"},
        {"format_schema": "{file}:M", "default_format": "Protobuf"},
        {"dialect": "prql"},
        {"filter": "file('{file}') = ''"},
        {"default_format": "CSV SETTINGS format_template_row = '{file}'"},
        {"default_format": "Template SETTINGS format_template_row = '{file}'"},
        {"max_memory_usage": "0"},
        {"readonly": "0", "query": "DROP TABLE t --"},
        {"session_id": "s", "additional_result_filter": "throwIf(1, file('{file}'))"},
        {"param_x": "{file}", "query": "SELECT * FROM {{x:Identifier}} --"},
    ],
)
async def test_nor_does_the_url(ask: Ask, secret: Path, params: dict[str, str]) -> None:
    reply = await ask("SELECT 1", **{name: value.format(file=secret) for name, value in params.items()})

    assert reply.status >= 400, reply.body
    assert SECRET.encode() not in reply.body


WRITES = [
    "INSERT INTO t VALUES (2)",
    "INSERT INTO t SELECT 2",
    "WITH 2 AS x INSERT INTO t SELECT x",
    "INSERT INTO FUNCTION file('/tmp/gridstream-never', 'CSV', 'x UInt8') VALUES (1)",
    "CREATE TABLE u (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE u (a UInt8)",
    "CREATE VIEW u AS SELECT 1",
    "CREATE FUNCTION f AS x -> x",
    "CREATE DATABASE u",
    "CREATE USER u",
    "GRANT owner TO default",
    "ALTER TABLE t DELETE WHERE 1",
    "ALTER TABLE t ADD COLUMN b UInt8",
    "DELETE FROM t WHERE 1",
    "UPDATE t SET a = 2 WHERE 1",
    "TRUNCATE TABLE t",
    "OPTIMIZE TABLE t FINAL",
    "RENAME TABLE t TO u",
    "DETACH TABLE t",
    "DROP TABLE t",
    "DROP DATABASE default",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "BACKUP TABLE t TO Disk('default', 'x')",
    "SET ROLE owner",
    "SET DEFAULT ROLE owner TO default",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "EXECUTE AS default SELECT 1",
    "SELECT 1; DROP TABLE t",
    "SELECT 1 -- \n; DROP TABLE t",
    "SELECT '\\'; DROP TABLE t --'; DROP TABLE t",
]


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("session", ["", "s"], ids=["", "in a session"])
async def test_a_reader_writes_nothing(ask: Ask, tell: Ask, statement: str, session: str) -> None:
    if session:
        await ask("SET max_threads = 2", session_id=session)
    reply = await ask(statement, session_id=session)

    assert reply.status >= 400, reply.body
    assert (await tell("SELECT groupArray(a) FROM t")).body == b"[1]\n"
    assert (await ask("SELECT currentRoles(), getSetting('readonly')", session_id=session)).body == b"['reader']\t2\n"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM v",
        "SELECT a AS url, 'file(1)' FROM t WHERE a = 1 SETTINGS max_threads = 1, log_comment = 'file(1)'",
        "SELECT format('{}', a) FROM merge(currentDatabase(), '^t$') AS m, numbers(1) AS n",
        "SHOW TABLES",
        "SHOW CREATE TABLE t",
        "DESCRIBE TABLE t",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN AST SELECT a FROM t",
        "EXISTS TABLE t",
        "CHECK GRANT SELECT ON default.t",
        "SELECT count() FROM system.columns",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x SETTINGS final = 1",
        "USE system",
        "SET max_threads = 1",
    ],
)
async def test_a_reader_reads(ask: Ask, statement: str) -> None:
    reply = await ask(statement, max_execution_time=60, session_timezone="Europe/Berlin")

    assert reply.status == 200, reply.body


@pytest.mark.parametrize(
    "statement",
    [
        "-- { serverError 47 }\nSELECT a FROM t -- { clientError 62 }",
        "SELECT * FROM ((SELECT a FROM t) UNION ALL (SELECT 2 AS a)) ORDER BY a",
        "SELECT CASE WHEN a = 1 THEN 'it''s \\\\\\n' ELSE $$x$$ END, [a, 2][1], (a, 'b').1, a::String, 'é‘' FROM t",
        "SELECT toDate('2026-01-31') + INTERVAL 1 MONTH, DATE '2026-01-01', -a, NOT a, a IN (1), a ? 1 : 2 FROM t",
        "WITH x AS (SELECT * FROM t) SELECT x.*, y.a AS `b c` FROM x LEFT JOIN t AS y USING (a) LIMIT 1 BY a",
        "SELECT a, sum(a) OVER (ORDER BY a ROWS UNBOUNDED PRECEDING) AS s FROM t QUALIFY s > 0 FORMAT JSON",
        "SELECT a, count() FROM t GROUP BY a WITH TOTALS HAVING a BETWEEN 0 AND 1 ORDER BY a DESC SETTINGS final = 1",
        "SELECT COLUMNS('a') APPLY(x -> x + 1), arrayMap((x, y) -> x + y, [1], [2]), {p:UInt8}, `a` AS \"q\" FROM t",
    ],
)
async def test_a_reader_sees_what_the_owner_sees(ask: Ask, tell: Ask, statement: str) -> None:
    """The reader's statement runs as the engine writes it, the owner's as it is."""
    names = {"output_format_write_statistics": 0, "default_format": "JSONCompact", "param_p": 7}

    read, owned = await ask(statement, **names), await tell(statement, **names)

    assert (read.status, read.body) == (200, owned.body)
