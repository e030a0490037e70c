"""The time of a fake: real by default, and a test can step it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from heapq import heappop, heappush
from itertools import count


class Clock:
    """What time it is, and what is to happen later.

    What is due happens when somebody looks: at each request, at `advance` and at `settle`, in the order of its time.

    Args:
        start: seconds since 1970; with it, time stands still but for `advance`. Without it, it is the time of day.
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = start
        self._ahead = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._happening_at: float | None = None
        self._stepped = asyncio.Event()

    def now(self) -> float:
        """Seconds since 1970; for what is happening late, when it was due."""
        return self._present() if self._happening_at is None else self._happening_at

    def iso(self) -> str:
        """Now, as the services write it."""
        return iso(self.now())

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that is due in it."""
        self._ahead += seconds
        self.settle()
        self._stepped.set()
        self._stepped = asyncio.Event()

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Have something happen so many seconds from now."""
        heappush(self._due, (self.now() + seconds, next(self._order), then))

    def settle(self) -> None:
        """Let happen what is due."""
        if self._happening_at is not None:
            return
        try:
            while self._due and self._due[0][0] <= self._present():
                self._happening_at, _, then = heappop(self._due)
                then()
        finally:
            self._happening_at = None

    async def sleep(self, seconds: float) -> None:
        """Wait until so many seconds have passed, by themselves or by `advance`."""
        until = self.now() + seconds
        while (left := until - self.now()) > 0:
            try:
                async with asyncio.timeout(left if self._start is None else None):
                    await self._stepped.wait()
            except TimeoutError:
                pass

    def _present(self) -> float:
        return (time.time() if self._start is None else self._start) + self._ahead


@lru_cache(maxsize=10_000)
def iso(at: float) -> str:
    """A time as the services write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
