"""What has failed in the engine: the only way to know whether a streamed INSERT was stored.

chDB 4.4 ends one with success when its rows were read well and could not be written: no space, too many parts, a
constraint. The engine counts these errors nevertheless.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.embedded.engine.errors import CLIENT_ERRORS, QueryError

Counts = dict[int, int]
"""How often each error has happened since the engine began, by code."""

_CANCELED = {394, 696}
"""QUERY_WAS_CANCELLED; and ASYNC_LOAD_CANCELED: a SELECT that has read enough no longer loads marks, which the engine
counts as an error. An INSERT loads none."""
_NO_FAILURES = CLIENT_ERRORS | _CANCELED
_RECENT_SECONDS = 1.0
_NEVER: tuple[float, Counts] = (float("-inf"), {})


class ServerErrors:
    """The counts as they were seen last, by whichever connection.

    To ask for them costs 1.6 ms, a tenth of an INSERT of one row. What an INSERT saw at its end serves the next one as
    what there was before, for a second and as long as no statement fails: seen earlier, it hides no error of the
    INSERT's own, and what failed in the background meanwhile is taken for one.
    """

    def __init__(self) -> None:
        self._seen = _NEVER

    def before(self, ask: Callable[[], Counts]) -> Counts:
        """The counts at the beginning of a statement, or shortly before."""
        at, counts = self._seen
        return counts if time.monotonic() - at < _RECENT_SECONDS else self._ask(ask)

    def since(self, before: Counts, ask: Callable[[], Counts]) -> list[int]:
        """The codes of errors that have happened since and may be an INSERT's, by no fault of the client."""
        counts = self._ask(ask)
        return [code for code, count in counts.items() if count != before.get(code, 0) and code not in _NO_FAILURES]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise what the engine says as QueryError; the counts have to be asked for again."""
        try:
            yield
        except RuntimeError as error:  # chDB's own error is one
            self._seen = _NEVER
            raise QueryError.from_engine(str(error)) from None

    def _ask(self, ask: Callable[[], Counts]) -> Counts:
        at = time.monotonic()
        counts = ask()
        self._seen = (at, counts)
        return counts
