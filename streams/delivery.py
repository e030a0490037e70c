"""The delivery loop: nothing leaves it before it is delivered or put aside."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from connectors.errors import Retry

log = structlog.get_logger()

T = TypeVar("T")

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0


async def persistently(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Do something that an outside system may not be able to do just now, for as long as it takes.

    Args:
        what: for the log.
        attempt: called again after each Retry. Reject and Fatal go to the caller.
    """
    pause = _FIRST_SECONDS
    while True:
        try:
            return await attempt()
        except Retry as error:
            wait = error.after if error.after is not None else pause * random.uniform(0.5, 1)  # noqa: S311  no secret
            log.warning("waiting to try again", what=what, seconds=round(wait, 1), reason=str(error))
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LONGEST_SECONDS)
