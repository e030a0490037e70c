"""Where the parts of a ClickHouse statement lie: its data, its FORMAT clause, its end.

Pure: bytes in, positions out. The engine's own parser has the last word (see `results`); what is found here only says
where to cut. Bytes, not text, because the data of an INSERT may be anything.
"""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

_GAP = rb"[\x00-\x20]++ | --[^\n]*+ | \#[ !][^\n]*+ | /\*.*?(?:\*/|\Z)"
_GAPS = re.compile(rb"(?: " + _GAP + rb" )*+", re.DOTALL | re.VERBOSE)
_TOKEN = re.compile(
    rb"""
      (?P<gap> """
    + _GAP
    + rb""" )
    | (?P<string> '(?:[^'\\]|\\.|'')*+' | \xe2\x80\x98.*?\xe2\x80\x99 | (?P<tag>\$[^$]*+\$).*?(?P=tag) )
    | (?P<name> "(?:[^"\\]|\\.|"")*+" | `(?:[^`\\]|\\.|``)*+` | \xe2\x80\x9c.*?\xe2\x80\x9d )
    | (?P<unfinished> ['"`] )
    | (?P<word> [A-Za-z0-9_$]++ )
    | (?P<space> [\x80-\xff] )   # what isn't ASCII and isn't quoted can only be one of Unicode's spaces
    | (?P<mark> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_OPENING, _CLOSING = b"([{", b")]}"
_LINE_END = re.compile(rb"[ \t\f]*\r?\n?")


class Token(NamedTuple):
    """A piece of a statement: a string, name (quoted), word, mark, or group (a pair of brackets and all between)."""

    kind: str
    text: bytes
    start: int
    end: int

    def says(self, *words: bytes) -> bool:
        """Whether it is one of these words of the grammar (given in upper case), in any case, unquoted."""
        return self.kind == "word" and self.text.upper() in words

    def named(self) -> str | None:
        """The identifier it is, without quotes; None for what is no identifier."""
        return self.text.decode("utf-8", "replace").strip('`"“”') if self.kind in {"word", "name"} else None


class DataInsert(NamedTuple):
    """An INSERT that brings its rows along.

    Attributes:
        head: The statement up to VALUES or FORMAT.
        format: The input format: `Values`, or as it is named.
        data: Where in the text the rows begin.
    """

    head: bytes
    format: str
    data: int


class Led(NamedTuple):
    """A statement whose result is led elsewhere, and the format it comes in."""

    text: bytes
    format: str


def tokens(text: bytes) -> Iterator[Token]:
    """Cut a statement into its tokens, without spaces and comments. A quote that never closes ends it."""
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "unfinished":
            return
        if kind not in {"gap", "space"}:
            yield Token(kind, match[0], *match.span())


def outline(text: bytes) -> Iterator[Token]:
    """Cut a statement into tokens, each bracket with its content as one `group`."""
    depth, start = 0, 0
    for token in tokens(text):
        if token.kind == "mark" and token.text in _OPENING:
            start = start if depth else token.start
            depth += 1
        elif token.kind == "mark" and token.text in _CLOSING and depth:
            depth -= 1
            if not depth:
                yield Token("group", text[start : token.end], start, token.end)
        elif not depth:
            yield token


def data_insert(text: bytes) -> DataInsert | None:
    """Find the rows in `INSERT INTO t (a, b) SETTINGS … FORMAT CSV 1,2`; None for any other statement."""
    rest = outline(text)
    first = next(rest, None)
    if first is None or not first.says(b"INSERT"):
        return None
    next((token for token in rest if not token.says(b"INTO", b"TABLE", b"FUNCTION")), None)  # the target
    after_dot = False
    for token in rest:
        if after_dot or token.text == b".":  # db.table: even a word of the grammar is a name there
            after_dot = token.text == b"."
        elif token.says(b"SELECT", b"WITH", b"FROM", b"WATCH"):
            return None
        elif token.says(b"VALUES"):
            return DataInsert(text[: token.start], "Values", _end(_GAPS, text, token.end))
        elif token.says(b"FORMAT") and (named := next(rest, None)) and (name := named.named()):
            return DataInsert(text[: token.start], name, _end(_LINE_END, text, named.end))
    return None


def led(text: bytes, clause: bytes, default_format: str) -> Iterator[Led]:
    """Put an output clause where the grammar has it: before FORMAT, at the end where there is none.

    FORMAT may also be a column (`ORDER BY format DESC`); then the second offer is the right one.

    Args:
        text: One statement.
        clause: What to put in.
        default_format: For a statement without FORMAT.
    """
    found = [token for token in outline(text) if token.text != b";"]
    end = found[-1].end if found else 0
    for at in range(len(found) - 2, 0, -1):
        name = found[at + 1].named()
        if found[at].says(b"FORMAT") and name and all(token.says(b"SETTINGS") for token in found[at + 2 : at + 3]):
            start = found[at].start
            yield Led(b"%b%b %b" % (text[:start], clause, text[start:end]), name)
            break
    yield Led(b"%b %b FORMAT %b" % (text[:end], clause, default_format.encode()), default_format)


def takes_input(text: bytes) -> bool:
    """Whether the statement reads its rows with the table function `input`."""
    found = tokens(text)
    return any(a.named() == "input" and b.text == b"(" for a, b in itertools.pairwise(found))


def leads_out(text: bytes) -> bool:
    """Whether the statement has an INTO OUTFILE of its own."""
    found = outline(text)
    return any(a.says(b"INTO") and b.says(b"OUTFILE") for a, b in itertools.pairwise(found))


def _end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Where the text goes on after what a pattern finds at a place, if it finds anything."""
    found = pattern.match(text, start)
    return found.end() if found else start
