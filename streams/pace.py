"""The time that a delivery goes by: the real one, or a test's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


class Pace(NamedTuple):
    """Reads the time and lets it pass.

    Attributes:
        now: seconds since 1970.
        sleep: for so many seconds.
        wait: for an event, for so many seconds at most; None is any number.
    """

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    wait: Callable[[asyncio.Event, float | None], Awaitable[None]]


REAL_PACE = Pace(time.time, asyncio.sleep, _wait)
