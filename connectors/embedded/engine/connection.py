"""A connection of chDB, with the types it lacks and ClickHouse's errors."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.server_errors import Counts, ServerErrors

_SETTING_NAME = re.compile(r"\w+(\.\w+)*")
_OUR_QUESTION = re.compile(r": In scope SELECT .*(?=\. \()", re.DOTALL)
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "'": "\\'"})
_ERROR_COUNTS = b"SELECT code, value FROM system.errors WHERE NOT remote"  # short, as each insert asks
_LAST_ERROR = "SELECT name, last_error_message FROM system.errors WHERE NOT remote AND code = "
_READ_ONLY, _CONTROL = 0, 3  # of chDB's query classes


class Outcome(NamedTuple):
    """What a finished statement did, and its result where that was asked for in one piece."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed: float = 0.0
    body: bytes = b""

    def summary(self) -> str:
        """The value of `X-ClickHouse-Summary`."""
        counts = {
            "read_rows": self.read_rows,
            "read_bytes": self.read_bytes,
            "written_rows": self.written_rows,
            "written_bytes": self.written_bytes,
            "total_rows_to_read": self.read_rows,
            "result_rows": self.result_rows,
            "result_bytes": len(self.body),
            "elapsed_ns": int(self.elapsed * 1e9),
        }
        return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


class Verdict(NamedTuple):
    """What the engine's parser makes of a text.

    Attributes:
        statements: How many it holds; 0 if it can't be parsed, or not told what it is.
        reads: Whether it leaves no trace: SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK without INTO OUTFILE.
        controls: Whether it changes the session or the server, or writes outside: SET, USE, SYSTEM, KILL, INTO OUTFILE.
    """

    statements: int
    reads: bool
    controls: bool


class Insert:
    """An INSERT in progress. Rows count only after `finish`.

    Args:
        stream: chDB's.
        errors: of the engine.
        failures: since the INSERT began.
    """

    def __init__(
        self,
        stream: Any,  # noqa: ANN401
        errors: ServerErrors,
        failures: Callable[[], Iterable[QueryError]],
    ) -> None:
        self._stream = stream
        self._errors = errors
        self._failures = failures

    def append(self, data: bytes) -> None:
        """Hand over the next bytes; waits while the engine is busy with those before.

        Raises:
            QueryError: A row before or in `data` is wrong.
        """
        try:
            self._stream.append(data)
        except RuntimeError as error:
            self.finish()  # fails too, and knows the reason
            raise QueryError.from_engine(str(error)) from None

    def finish(self) -> Outcome:
        """End the data; what was handed over is stored when this returns.

        Raises:
            QueryError: Nothing is stored, or, of data larger than a block (a million rows), the blocks before. Where
                another statement failed about the same time for a reason of the server's, all may be stored.
        """
        with self._errors.told():
            done = self._stream.finish()
        for failure in self._failures():
            raise failure
        return Outcome(done.rows_written, done.bytes_written, done.rows_written, done.bytes_written, 0, done.elapsed)

    def cancel(self) -> None:
        """Drop what isn't stored yet."""
        with self._errors.told():
            self._stream.cancel()


class Connection:
    """A connection to the engine: settings and temporary tables of its own, one statement at a time.

    Args:
        raw: chDB's.
        errors: of the engine.
    """

    def __init__(self, raw: Any, errors: ServerErrors) -> None:  # noqa: ANN401
        self._raw = raw
        self._errors = errors

    def run(self, text: bytes, default_format: str = "Null", parameters: Mapping[str, str] | None = None) -> Outcome:
        """Run a statement and wait for its end.

        Raises:
            QueryError: As ClickHouse says it.
        """
        with self._errors.told():
            result = self._raw.query(text, default_format, params=dict(parameters or {}))
        return Outcome(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            elapsed=result.elapsed(),
            body=result.bytes() or b"",
        )

    def rows(self, query: str) -> list[list[Any]]:
        """The result of a small query."""
        data: list[list[Any]] = json.loads(self.run(query.encode(), "JSONCompact").body)["data"]
        return data

    def insert(self, head: bytes, input_format: str) -> Insert:
        """Begin an INSERT whose rows follow.

        Raises:
            QueryError: As ClickHouse says it.
        """
        before = self._errors.before(self._error_counts)

        def failures() -> Iterator[QueryError]:
            for code in self._errors.since(before, self._error_counts):
                ((name, message),) = self.rows(f"{_LAST_ERROR}{code}")
                yield QueryError.from_engine(f"Code: {code}. DB::Exception: {message}. ({name})")

        with self._errors.told():
            return Insert(self._raw.send_insert(head, input_format), self._errors, failures)

    def _error_counts(self) -> Counts:
        lines = self.run(_ERROR_COUNTS, "TSV").body.splitlines()
        return {int(code): int(count) for code, count in (line.split(b"\t") for line in lines)}

    def set(self, values: Mapping[str, str]) -> None:
        """SET settings, and parameters by the name `param_x`.

        Raises:
            QueryError: 115 for a setting that doesn't exist, and what ClickHouse says about a value.
        """
        _check_names(values)
        if values:
            self.run(b"SET " + b", ".join(f"{name} = '{_escaped(value)}'".encode() for name, value in values.items()))

    def settings(self, names: Iterable[str]) -> dict[str, str]:
        """What some settings are now.

        Raises:
            QueryError: 115, there is no such setting.
        """
        names = list(names)
        _check_names(names)
        if not names:
            return {}
        with _about_the_request():
            values = self.rows("SELECT " + ", ".join(f"toString(getSetting('{name}'))" for name in names))[0]
        return {name: str(value) for name, value in zip(names, values, strict=True)}

    def use(self, database: str) -> None:
        """Make a database the current one.

        Raises:
            QueryError: 81, UNKNOWN_DATABASE.
        """
        self.run(f"USE `{_escaped(database).replace('`', '``')}`".encode())

    def become_reader(self) -> None:
        """Give up, for the life of the connection, every right but reading."""
        self.run(b"SET ROLE reader")
        self.run(b"SET readonly = 2")

    def verdict(self, text: bytes) -> Verdict:
        """Have the engine's parser judge a text. Costs 0.05 ms."""
        found = self._raw._conn.classify_query(text, "")  # noqa: SLF001 (in chDB's type stubs, not in its wrapper)
        kind = int(found["query_class"])
        return Verdict(found["statement_count"], kind == _READ_ONLY, kind == _CONTROL)

    def canonical(self, text: bytes) -> bytes:
        """The statement as the engine writes it after parsing: comments gone, one way of quoting. Costs 1 ms.

        Raises:
            QueryError: 62, SYNTAX_ERROR.
        """
        parameters = {"text": _escaped(text.decode("utf-8", "replace"))}
        with _about_the_request():
            return self.run(b"SELECT formatQuerySingleLine({text:String})", "RawBLOB", parameters).body

    def close(self) -> None:
        """Close it; what runs on it is cancelled."""
        self._raw.close()


def _check_names(settings: Iterable[str]) -> None:
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise QueryError(115, "UNKNOWN_SETTING", f"Setting {name} is neither a builtin setting nor a custom one")


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


@contextmanager
def _about_the_request() -> Iterator[None]:
    """Leave out of an error the query of our own that met it."""
    try:
        yield
    except QueryError as error:
        raise QueryError.from_engine(_OUR_QUESTION.sub("", error.text)) from None
