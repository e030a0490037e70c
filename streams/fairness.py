"""How those who share something get their parts of it, so that one who wants all of it leaves the others theirs."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_TIMES_FREE = 3


def has_enough(own: int, free: int) -> bool:
    """Whether an owner has so much of something that the rest is to be left to the others.

    Each may have three times what is free. So one alone gets three quarters, two get three sevenths each, and there
    is always something left for one who comes later: dynamic thresholds, as switches share their memory (Choudhury
    and Hahne, 1998).

    Args:
        own: what it has.
        free: what nobody has.
    """
    return own > _TIMES_FREE * free


class Turns:
    """Places that may be taken at the same time. For those that wait, owners take turns, however many each has waiting.

    Args:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order in which owners are served

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Holds one of the places."""
        if self._free:
            self._free -= 1
        else:
            await self._turn(owner)
        try:
            yield
        finally:
            self._pass_on()

    async def _turn(self, owner: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given the place just then
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            owner = next(iter(self._waiting))
            waiting = self._waiting.pop(owner)
            turn = waiting.popleft()
            if waiting:
                self._waiting[owner] = waiting  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
