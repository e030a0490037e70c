"""The delivery loop: nothing leaves it before it is delivered or put aside."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from connectors.errors import Fatal, Retry
from streams import metrics

log = structlog.get_logger()

T = TypeVar("T")

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0
_COST = 10
"""Accepted ones that make up for a refused one."""
_FIRST_REFUSALS = 10
"""So that a process that is started again and again puts little aside each time, and yet gets past a few bad ones."""
_MOST_REFUSALS = 100


class _Retries:
    """The last time that something outside could not, by the monotonic clock."""

    last = 0.0


RETRIES = _Retries()


class Refusals:
    """How many refusals are still the fault of what was refused.

    Beyond that the step itself must be wrong, say a deployment with another schema: it stops instead of putting a whole
    topic aside. Allowed are a tenth of what is processed, and a burst of a hundred when all was well before.
    """

    def __init__(self) -> None:
        self._allowance = _FIRST_REFUSALS * _COST

    def accepted(self, count: int) -> None:
        """So many were taken."""
        self._allowance = min(self._allowance + count, _MOST_REFUSALS * _COST)

    def refused(self, what: str, reason: str) -> None:
        """One was refused.

        Raises:
            Fatal: one too many.
        """
        self._allowance -= _COST
        if self._allowance < 0:
            raise Fatal(f"too many {what} are refused: nothing more is put aside before somebody has looked. {reason}")


def waiting() -> None:
    """Note that something outside has this process wait: for the watchdog that is progress."""
    RETRIES.last = time.monotonic()


async def persistently(
    what: str, attempt: Callable[[], Awaitable[T]], wait_for: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Do something that an outside system may not be able to do just now, for as long as it takes.

    Args:
        what: for the log.
        attempt: called again after each Retry. Reject and Fatal go to the caller.
        wait_for: waits for so many seconds.
    """
    pause = _FIRST_SECONDS
    while True:
        try:
            return await attempt()
        except Retry as error:
            waiting()
            metrics.RETRIES.labels(what).inc()
            wait = max(error.after or 0, pause * random.uniform(0.5, 1))  # noqa: S311  no secret
            log.warning("waiting to try again", what=what, seconds=round(wait, 1), reason=str(error))
            await wait_for(wait)
            pause = min(pause * 2, _LONGEST_SECONDS)
