"""What a reader must not say, on statements as the engine writes them after parsing."""

import pytest

from connectors.embedded.engine.reader import Doors, permits

DOORS = Doors.among(
    {"file", "url", "numbers", "format", "brandNew"},
    {"aiGenerate"},
    {"additional_result_filter", "filter", "log_comment"},
)


@pytest.mark.parametrize(
    ("canonical", "door"),
    [
        ("SELECT file('/etc/passwd')", "file"),
        ("SELECT arrayMap(file, ['/etc/passwd'])", "file"),
        ("SELECT * APPLY file FROM (SELECT '/etc/passwd')", "file"),
        ("SELECT `FILE`('x')", "file"),
        ("SELECT * FROM url('http://127.0.0.1/')", "url"),
        ("SELECT * FROM `brandNew`('x')", "brandnew"),
        ("SELECT aiGenerate('x')", "aigenerate"),
        ("SELECT hasColumnInTable('host', 'user', 'password', 'd', 't', 'c')", "hascolumnintable"),
        ("SELECT 1 SETTINGS max_threads = 1, additional_result_filter = 'x'", "additional_result_filter"),
        ("SELECT * FROM (SELECT 1 SETTINGS filter = '1')", "filter"),
        ("SET filter = '1'", "filter"),
        ("SELECT url, t.file, 'file(1)' FROM click AS t WHERE filter = 1", None),
        ("SELECT format('{}', 1) FROM numbers(3) SETTINGS log_comment = 'file(1)'", None),
        ("SELECT 1 SETTINGS max_threads = 1", None),
    ],
)
def test_doors(canonical: str, door: str | None) -> None:
    assert DOORS.used_in(canonical.encode()) == door


def test_settings_in_the_url() -> None:
    assert DOORS.setting("FILTER")
    assert not DOORS.setting("log_comment")
    assert not DOORS.setting("max_threads")


@pytest.mark.parametrize(
    "canonical", ["SELECT 1", "WITH 1 AS x SELECT x", "SHOW TABLES", "USE db", "SET max_threads = 1"]
)
def test_what_a_reader_may_say(canonical: str) -> None:
    assert permits(canonical.encode(), None)


@pytest.mark.parametrize(
    "canonical",
    [
        *("", "SET", "SET ROLE owner", "SET DEFAULT ROLE r TO default", "SET TRANSACTION SNAPSHOT 1", "KILL QUERY"),
        *("SYSTEM FLUSH LOGS", "INSERT INTO t SELECT 1", "SELECT 1 INTO OUTFILE 'x'"),
    ],
)
def test_what_he_may_not(canonical: str) -> None:
    assert not permits(canonical.encode(), None)


def test_only_into_the_file_he_is_given() -> None:
    assert permits(b"SELECT 1 INTO OUTFILE '/dev/fd/9' APPEND", "/dev/fd/9")
    assert not permits(b"SELECT 1 INTO OUTFILE '/etc/x' APPEND", "/dev/fd/9")
    assert not permits(b"SELECT 'INTO OUTFILE \\'/dev/fd/9\\'' INTO OUTFILE '/etc/x'", "/dev/fd/9")
    assert not permits(b"SELECT 1", "/dev/fd/9")
