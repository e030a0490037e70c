"""The engine on its folder: the one file that knows chDB."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from connectors.embedded.engine import access
from connectors.embedded.engine.connection import Connection
from connectors.embedded.engine.reader import Doors
from connectors.embedded.engine.server_errors import ServerErrors


class CannotOpenError(Exception):
    """The engine can't work on its folder; the message says why."""


class Database:
    """The engine on its folder, open from construction to `close`. A process can open one.

    Attributes:
        version: ClickHouse's, `26.9.2.1`.
        timezone: The server's.
        name: The host's.
        formats: The format's right name and its Content-Type, by its name in lower case.
        doors: What a reader must not use.
    """

    def __init__(self, folder: Path, memory: access.Memory) -> None:
        """Open it.

        Raises:
            CannotOpenError: With the reason.
        """
        import chdb  # noqa: PLC0415 (half a second and half a gigabyte of library: only where it is used)

        self._chdb: Any = chdb
        self._errors = ServerErrors()
        with _stderr_kept() as complaints:
            try:
                access.write(folder, memory)
                os.chdir(folder)  # so that no character of the path can mean something in a connection string
                self._own = self.connect(f"?config-file={access.SETTINGS_FILE}")
            except (OSError, RuntimeError) as error:
                reason = complaints() or str(error)
                raise CannotOpenError(reason) from error
        facts = "SELECT version(), timezone(), hostName()"
        self.version, self.timezone, self.name = (str(fact) for fact in self._own.rows(facts)[0])
        outputs = self._own.rows("SELECT name, content_type FROM system.formats WHERE is_output")
        self.formats: dict[str, tuple[str, str]] = {name.lower(): (name, kind) for name, kind in outputs}
        self.doors = Doors.among(
            self._names("SELECT name FROM system.table_functions"),
            self._names("SELECT name FROM system.functions WHERE categories = 'AI' OR name ILIKE 'ai%'"),
            self._names("SELECT name FROM system.settings WHERE type IN ('String', 'Map', 'URI', 'Dialect')"),
        )

    def connect(self, options: str = "") -> Connection:
        """Open a connection; 0.3 ms when there is one already."""
        return Connection(self._chdb.connect(f".{options}"), self._errors)

    def kill(self, mark: str) -> None:
        """End the statements that have the comment `/* mark */`, from whatever connection."""
        self._own.run(f"KILL QUERY WHERE position(query, '/* {mark} */') > 0 AND query NOT LIKE 'KILL%' ASYNC".encode())

    def kill_all(self) -> None:
        """End every statement."""
        self._own.run(b"KILL QUERY WHERE query NOT LIKE 'KILL%' ASYNC")

    def close(self) -> None:
        """Close the engine; every other connection must be closed before."""
        self._own.close()

    def _names(self, query: str) -> set[str]:
        return {str(name) for (name,) in self._own.rows(query)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _stderr_kept() -> Iterator[Callable[[], str]]:
    """Keep what the library writes to stderr while it opens; what is yielded gives its first line."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def first_line() -> str:
            kept.seek(0)
            return kept.readline().decode(errors="replace").strip()

        try:
            yield first_line
        finally:
            os.dup2(real, 2)
            os.close(real)
