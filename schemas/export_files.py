"""A file of an export, read as it arrives: compressed or plain, CSV or JSON lines.

SendGrid documents neither for certain: its files are normally compressed, whatever they are called, and were seen not
to be. So the first bytes decide. Nothing of a file is kept but its last, unfinished line.
"""

import csv
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from schemas.payload import Malformed, lenient_elements

Record = dict[str, Any]

_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 1 << 17
"""Of decompressed data at a time: a small file may decompress to a huge one."""
_LONGEST_LINE = 8 << 20
"""A line that is longer is none: something is wrong with the file."""
_SHOWN = 100


class BadFileError(ValueError):
    """A file is not what an export's file is; the message says where."""


class ExportFile:
    """Reads one file. Feed it, then finish it."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._gzip: Any = None
        self._lines: _JsonLines | _Csv | None = None

    def feed(self, data: bytes) -> Iterator[list[Record]]:
        """The records that are complete now, in lists of limited size.

        Raises:
            BadFileError: it is no such file.
        """
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_GZIP):
                self._head = data
                return
            self._head = None
            self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if data.startswith(_GZIP) else None
        yield from filter(None, map(self._read, self._plain(data)))

    def finish(self) -> Iterator[list[Record]]:
        """The rest.

        Raises:
            BadFileError: the file broke off, or it is no such file.
        """
        head, self._head = self._head, None
        if head:
            yield from filter(None, [self._read(head)])
        if self._gzip and not self._gzip.eof:
            raise BadFileError("it broke off")
        if self._lines:
            yield from filter(None, [self._lines.finish()])

    def _plain(self, data: bytes) -> Iterator[bytes]:
        if self._gzip is None:
            yield data
            return
        try:
            while data:
                yield self._gzip.decompress(data, _PIECE_BYTES)
                data = self._gzip.unconsumed_tail
                if self._gzip.eof:
                    # Compressed files that follow each other are one (RFC 1952); whole zeros behind them are padding.
                    data = self._gzip.unused_data.lstrip(b"\0")
                    if data:
                        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        except zlib.error as error:
            raise BadFileError(f"it cannot be decompressed: {error}") from None

    def _read(self, data: bytes) -> list[Record]:
        if self._lines is None:
            data = data.removeprefix(b"\xef\xbb\xbf").lstrip()
            if not data:
                return []
            self._lines = _JsonLines() if data.startswith(b"{") else _Csv()
        return self._lines.feed(data)


class _JsonLines:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Record]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        _refuse_endless(len(self._rest))
        return [self._record(line) for line in lines if not line.isspace() and line]

    def finish(self) -> list[Record]:
        rest, self._rest = self._rest.strip(), b""
        return [self._record(rest)] if rest else []

    @staticmethod
    def _record(line: bytes) -> Record:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            found = lenient_elements(line)
            record = found[0] if len(found) == 1 and not isinstance(found[0], Malformed) else None
        if not isinstance(record, dict):
            raise BadFileError(f"a line of it is not a JSON object: {line[:_SHOWN]!r}")
        return record


class _Csv:
    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._header: list[str] | None = None

    def feed(self, data: bytes) -> list[Record]:
        return self._rows(self._decoder.decode(data), is_last=False)

    def finish(self) -> list[Record]:
        return self._rows(self._decoder.decode(b"", final=True), is_last=True)

    def _rows(self, text: str, *, is_last: bool) -> list[Record]:
        *lines, rest = (self._rest + text).split("\n")
        if is_last and rest:
            lines, rest = [*lines, rest], ""
        whole: list[str] = []
        begun: list[str] = []
        is_quoted = False
        for line in lines:
            begun.append(line + "\n")
            # Inside quotes a line break is part of the value, and a quote is written twice.
            is_quoted ^= bool(line.count('"') % 2)
            if not is_quoted:
                whole += begun
                begun = []
        self._rest = "".join(begun) + rest
        if is_last and self._rest:
            raise BadFileError("it broke off inside of quotes")
        _refuse_endless(len(self._rest))
        return list(self._records(whole))

    def _records(self, lines: Iterable[str]) -> Iterator[Record]:
        try:
            for values in csv.reader(lines, strict=True):
                if self._header is None:
                    self._header = values
                elif len(values) == len(self._header):
                    yield dict(zip(self._header, values, strict=True))
                elif values:
                    raise BadFileError(f"a line of it has {len(values)} values, its header {len(self._header)}")
        except csv.Error as error:
            raise BadFileError(f"it is not CSV: {error}") from None


def _refuse_endless(length: int) -> None:
    if length > _LONGEST_LINE:
        raise BadFileError(f"a line of it is longer than {_LONGEST_LINE} bytes")
