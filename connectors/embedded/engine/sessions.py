"""HTTP sessions: connections that last from request to request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from connectors.embedded.engine.connection import Connection
from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.request import SessionWish
from connectors.embedded.engine.users import User

_MOST_SESSIONS = 1000


@dataclass
class Session:
    """What lasts from request to request: a connection with its temporary tables and SETs."""

    connection: Connection | None = None
    busy: bool = False
    expires: float = 0.0


class Sessions:
    """The sessions by user and id. Used from the event loop alone, so it needs no lock."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[User, str], Session] = {}

    @contextmanager
    def joined(self, user: User, wish: SessionWish | None) -> Iterator[Session | None]:
        """Have a request's session for itself; None if it wants none.

        Raises:
            QueryError: 372 if it must exist and doesn't, 373 while another request is in it.
        """
        if wish is None:
            yield None
            return
        key = (user, wish.id)
        session = self._sessions.get(key)
        if session is None:
            if wish.must_exist:
                raise QueryError(372, "SESSION_NOT_FOUND", f"Session {wish.id} not found")
            if len(self._sessions) >= _MOST_SESSIONS:
                raise QueryError(290, "LIMIT_EXCEEDED", f"Too many sessions. Maximum: {_MOST_SESSIONS}")
            session = self._sessions[key] = Session()
        if session.busy:
            raise QueryError(373, "SESSION_IS_LOCKED", f"Session {wish.id} is locked by a concurrent client")
        session.busy = True
        try:
            yield session
        finally:
            session.busy = False
            session.expires = time.monotonic() + (0 if wish.ends else wish.timeout)

    def expired(self) -> list[Connection]:
        """Forget the sessions that nobody used for their time; returns their connections, to be closed."""
        now = time.monotonic()
        gone = [key for key, session in self._sessions.items() if not session.busy and session.expires <= now]
        sessions = [self._sessions.pop(key) for key in gone]
        return [session.connection for session in sessions if session.connection]

    def all(self) -> list[Connection]:
        """Forget every session, when no request is left; returns their connections, to be closed."""
        connections = [session.connection for session in self._sessions.values() if session.connection]
        self._sessions.clear()
        return connections
