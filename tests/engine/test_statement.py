"""The cuts in a statement, however it is spaced, commented and capitalized."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.embedded.engine.statement import data_insert, leads_out, led, tokens

GAPS = ["", " ", "\n", "\t", "\r\n", " ", "/* FORMAT CSV; ' */", "/**/", "-- VALUES ' \n", "#! INSERT\n", "# it's\n"]
QUOTED = ["'FORMAT CSV'", r"'it\'s'", "'it''s'", "$$ VALUES $$", "$x$ $$ ' $x$", "‘INTO OUTFILE’"]
TARGETS = ["t", "db.t", "`FORMAT`", '"we""ird"', "db.values", "format", "{t:Identifier}", "`a\\`b`.`VALUES`"]

gaps = st.lists(st.sampled_from(GAPS), min_size=1, max_size=3).map("".join)
spaces = gaps.filter(lambda gap: not gap.isalnum() and gap != "")


def cased(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.lower(), word.title()])


@st.composite
def insert_heads(draw: st.DrawFn) -> str:
    parts = [draw(gaps), draw(cased("INSERT")), draw(spaces), draw(cased("INTO")), draw(spaces)]
    if draw(st.booleans()):
        parts += [draw(cased("TABLE")), draw(spaces)]
    parts.append(draw(st.sampled_from(TARGETS)))
    if draw(st.booleans()):
        parts += [draw(gaps), "(", draw(gaps), "a,`FORMAT`,", draw(gaps), '"VALUES"', ")"]
    if draw(st.booleans()):
        quoted = draw(st.sampled_from(QUOTED))
        parts += [draw(spaces), draw(cased("SETTINGS")), draw(spaces), f"log_comment{draw(gaps)}=", quoted]
    return "".join([*parts, draw(spaces)])


@given(insert_heads(), cased("FORMAT"), spaces, st.sampled_from(["CSV", "JSONEachRow", "`Native`"]), st.binary())
def test_rows_begin_on_the_line_after_the_format(head: str, word: str, gap: str, name: str, rows: bytes) -> None:
    text = f"{head}{word}{gap}{name}\n".encode() + rows

    found = data_insert(text)

    assert found
    assert (found.head, found.format, text[found.data :]) == (head.encode(), name.strip("`"), rows)


@given(insert_heads(), cased("VALUES"), gaps, st.binary())
def test_rows_begin_at_the_first_value(head: str, word: str, gap: str, rows: bytes) -> None:
    text = f"{head}{word}{gap}".encode() + b"(1," + rows

    found = data_insert(text)

    assert found
    assert (found.head, found.format, text[found.data :]) == (head.encode(), "Values", b"(1," + rows)


def test_rows_may_follow_on_the_same_line() -> None:
    text = b'INSERT INTO t FORMAT JSONEachRow {"a":1}'

    found = data_insert(text)

    assert found
    assert text[found.data :] == b'{"a":1}'


@pytest.mark.parametrize(
    "text",
    [
        *("", ";", "-- INSERT INTO t VALUES", "SELECT 1", "EXPLAIN INSERT INTO t VALUES (1)"),
        *("INSERT", "INSERT INTO", "INSERT INTO t", "INSERT INTO t SELECT 1", "INSERT INTO t FORMAT"),
        *("INSERT INTO t (a) SELECT a FROM s FORMAT CSV", "INSERT INTO t WITH 1 AS x SELECT x"),
        *("INSERT INTO t FROM INFILE 'f' FORMAT CSV", "INSERT INTO t (a) (SELECT 1)"),
    ],
)
def test_other_statements_bring_no_rows(text: str) -> None:
    assert data_insert(text.encode()) is None


@given(
    st.sampled_from(["SELECT 1", "WITH 1 AS x SELECT 'FORMAT CSV'", "SELECT (SELECT 1 FORMAT) AS format"]),
    st.sampled_from(["", " SETTINGS max_threads = 1"]),
    cased("FORMAT"),
    spaces,
    spaces,
    st.sampled_from(["", ";", " ; -- end"]),
)
def test_output_clause_goes_before_the_format(select: str, settings: str, word: str, a: str, b: str, end: str) -> None:
    tail = f"{word}{b}JSON{settings}"

    first = next(led(f"{select}{a}{tail}{end}".encode(), b"INTO OUTFILE 'x'", "TSV"))

    assert first == (f"{select}{a}INTO OUTFILE 'x' {tail}".encode(), "JSON")


@given(st.sampled_from(["SELECT 1", "SELECT 1 SETTINGS max_threads=1", "SELECT format FROM t"]), gaps)
def test_output_clause_goes_to_the_end(select: str, gap: str) -> None:
    offers = list(led(f"{select}{gap};{gap}".encode(), b"INTO OUTFILE 'x'", "TSV"))

    assert offers == [(f"{select} INTO OUTFILE 'x' FORMAT TSV".encode(), "TSV")]


def test_a_column_named_format_leaves_a_second_offer() -> None:
    offers = list(led(b"SELECT format FROM t ORDER BY format DESC", b"INTO OUTFILE 'x'", "TSV"))

    assert offers[-1] == (b"SELECT format FROM t ORDER BY format DESC INTO OUTFILE 'x' FORMAT TSV", "TSV")


@given(spaces)
def test_into_outfile_is_seen(gap: str) -> None:
    assert leads_out(f"SELECT 1 into{gap}OUTFILE 'x'".encode())
    assert not leads_out(b"SELECT 'INTO OUTFILE' /* INTO OUTFILE */")


@given(st.binary() | st.text(alphabet="'\"`$/*-#\\ \n()x;").map(str.encode))
def test_any_bytes_are_cut_in_order(text: bytes) -> None:
    end = 0
    for token in tokens(text):
        assert end <= token.start < token.end
        assert text[token.start : token.end] == token.text
        end = token.end
    data_insert(text)
    list(led(text, b"x", "TSV"))
