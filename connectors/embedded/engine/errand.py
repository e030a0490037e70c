"""One request on its way to the engine, and the connection it gets there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from connectors.embedded.engine.connection import Connection
from connectors.embedded.engine.database import Database
from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.sessions import Session
from connectors.embedded.engine.users import User


@dataclass(frozen=True)
class Errand:
    """Who wants what, where.

    Attributes:
        reads: Why it must not write, in ClickHouse's words; "" if it may.
    """

    database: Database
    user: User
    session: Session | None
    request: Request
    reads: str

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection with its rights, database and settings. Blocks: for a thread of a lane.

        What a request says in its URL is gone with it, also in a session; what it says in SQL stays in the session.

        Raises:
            QueryError: The database or a setting doesn't exist, or a reader must not set it.
        """
        if self.user is User.READER:
            for name in filter(self.database.doors.setting, self.request.settings):
                raise QueryError(452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name} should not be changed")
        connection = self.session.connection if self.session else None
        if connection is None:
            connection = self.database.connect()
            if self.user is User.READER:
                connection.become_reader()
        if self.session is None:
            try:
                _apply(connection, self.request.database, self.request.settings)
                yield connection
            finally:
                connection.close()
            return
        self.session.connection = connection
        before = _current(connection, self.request)
        try:
            _apply(connection, self.request.database, self.request.settings)
            yield connection
        finally:
            try:
                _apply(connection, *before)
            except QueryError:  # the database is gone that was the session's: it begins anew
                connection.close()
                self.session.connection = None

    def readonly(self) -> QueryError:
        """The error for a statement that writes and must not."""
        return QueryError(164, "READONLY", f"{self.user.value}: Cannot execute query in readonly mode. {self.reads}")


def _apply(connection: Connection, database: str, settings: Mapping[str, str]) -> None:
    if database:
        connection.use(database)
    connection.set(settings)


def _current(connection: Connection, request: Request) -> tuple[str, dict[str, str]]:
    """What the request is about to change, so that it can be changed back."""
    database = str(connection.rows("SELECT currentDatabase()")[0][0]) if request.database else ""
    return database, connection.settings(request.settings)
