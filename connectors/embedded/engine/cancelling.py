"""Queries in hand by their query_id, so that who sent one can end it: DBeaver's and JDBC's cancel button.

To the engine a query has an id of the engine's own. So `KILL QUERY WHERE query_id = '…'` is understood here, and in
this form only; any other KILL goes to the engine.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.embedded.engine.request import Request
from connectors.embedded.engine.users import User

_KILL = re.compile(rb"\s*KILL\s+QUERY\s+WHERE\s+query_id\s*=\s*'([^'\\]+)'\s*(?:A?SYNC)?\s*;?\s*", re.IGNORECASE)


def asked_for(text: bytes) -> str | None:
    """The query_id that a statement wants to end; None if it is no such statement."""
    found = _KILL.fullmatch(text)
    return found[1].decode("utf-8", "replace") if found else None


class Queries:
    """What runs. Used from the event loop alone, so it needs no lock."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[User, str]] = {}

    @contextmanager
    def listed(self, user: User, request: Request) -> Iterator[None]:
        """Have a request in the list for as long as it runs."""
        self._running[request.query_id] = user, request.mark
        try:
            yield
        finally:
            self._running.pop(request.query_id, None)

    def mark(self, user: User, query_id: str) -> str | None:
        """The mark of a running query that this user may end: a reader only a reader's."""
        owner, mark = self._running.get(query_id, (None, None))
        return mark if user in {owner, User.OWNER} else None
