"""Calls of a sync: repeated while the other side cannot, for a while, and only as long as the sync is this worker's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.errors import Fatal, Retry
from streams.delivery import persistently

T = TypeVar("T")

_MOST_FAILURES = 12
"""In a row, which is about a minute: then this object fails, and the others have their turn."""


class LostError(Exception):
    """The sync is another worker's now."""


class IncompleteError(Fatal):
    """What was pulled may be published, but what is not among it need not be gone."""


class Calls:
    """Makes the calls of a sync.

    Args:
        is_ours: whether the sync is still this worker's.
        pause: waits for so many seconds.
    """

    def __init__(
        self, is_ours: Callable[[], bool] = lambda: True, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._is_ours = is_ours
        self.pause = pause

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until it succeeds.

        Args:
            what: for the log.
            call: what may raise Retry. A wait that the other side asks for does not count as a failure.

        Raises:
            LostError: the sync is another worker's.
            Fatal: it fails for too long, or as the call does.
            Reject: as the call does.
        """
        failures = 0

        async def attempt() -> T:
            nonlocal failures
            if not self._is_ours():
                raise LostError
            try:
                return await call()
            except Retry as error:
                failures += error.after is None
                if failures == _MOST_FAILURES:
                    raise Fatal(f"{what} failed {failures} times in a row: {error}") from error
                raise

        return await persistently(what, attempt, self.pause)
