"""The files of exports, in every form that was ever seen, cut into pieces anywhere."""

import csv
import gzip
import io
import itertools
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import export_files
from schemas.export_files import BadFileError, ExportFile, Record

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["EMAIL", "CITY", "Plan"]), TEXTS, min_size=1), max_size=8)


def read(pieces: Iterable[bytes]) -> list[Record]:
    file = ExportFile()
    found = [record for piece in pieces for records in file.feed(piece) for record in records]
    return found + [record for records in file.finish() for record in records]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def as_csv(records: Iterable[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["EMAIL", "CITY", "Plan"], restval="")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def as_lines(records: Iterable[Record]) -> bytes:
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


@given(RECORDS, st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
def test_json_lines_are_read_whatever_the_pieces(records: list[Record], places: list[int], compressed: bool) -> None:  # noqa: FBT001
    data = as_lines(records)

    assert read(cut(gzip.compress(data) if compressed else data, places)) == records


@given(RECORDS, st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
def test_csv_is_read_whatever_the_pieces(records: list[Record], places: list[int], compressed: bool) -> None:  # noqa: FBT001
    data = as_csv(records)
    expected = [{"EMAIL": "", "CITY": "", "Plan": ""} | record for record in records]

    assert read(cut(gzip.compress(data) if compressed else data, places)) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_bad_file(data: bytes) -> None:
    try:
        found = read([data])
    except BadFileError:
        return
    assert all(isinstance(record, dict) for record in found)


def test_a_byte_order_mark_and_the_line_ends_of_windows() -> None:
    assert read([b"\xef\xbb\xbfEMAIL,CITY\r\nada@example.com,Paris\r\n"]) == [
        {"EMAIL": "ada@example.com", "CITY": "Paris"}
    ]


def test_compressed_files_that_follow_each_other_are_one() -> None:
    assert read([gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n') + b"\0\0"]) == [{"a": 1}, {"a": 2}]


def test_json_that_only_a_strict_parser_refuses_is_read() -> None:
    assert read([b'{"email":"a\\ud800@example.com"}\n']) == [{"email": "a\ufffd@example.com"}]


@pytest.mark.parametrize("size", [2, 11, 30, -1])
def test_a_compressed_file_that_breaks_off_is_noticed(size: int) -> None:
    whole = gzip.compress(as_lines({"email": f"{number}@example.com"} for number in range(100)))

    with pytest.raises(BadFileError, match="broke off"):
        read([whole[:size]])


def test_an_empty_file_has_nobody() -> None:
    assert read([]) == read([b""]) == read([gzip.compress(b"")]) == read([b"EMAIL\n"]) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}\nnothing\n", "not a JSON object"),
        (b"{}\n[]\n", "not a JSON object"),
        (b"EMAIL,CITY\na@b\n", "1 values, its header 2"),
        (b'EMAIL\n"a@b\n', "inside of quotes"),
        (b'EMAIL,CITY\n"a"b,"c"\n', "not CSV"),
        (b"\x1f\x8bno", "broke off|decompressed"),
    ],
)
def test_what_is_no_export_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(BadFileError, match=reason):
        read([data])


def test_a_line_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "_LONGEST_LINE", 100)

    for data in (b'{"a":"' + b"x" * 200, b'EMAIL\n"' + b"x" * 200):
        with pytest.raises(BadFileError, match="longer than"):
            read([data])
