"""Threads for the engine's blocking calls, so many and no more waiting than a bound."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from connectors.embedded.engine.errors import QueryError

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A pool of threads for one kind of work, with a bounded queue before it.

    Args:
        name: Of its threads.
        threads: How much of it runs at a time.
        places: How many requests may be at it, running or waiting.
    """

    def __init__(self, name: str, threads: int, places: int) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = places
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places for as long as a request needs it.

        Raises:
            QueryError: 202, all are taken.
        """
        if self._taken >= self._places:
            raise QueryError(
                202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"Too many simultaneous queries. Maximum: {self._places}"
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Run in a thread as soon as one is free."""
        return self._threads.submit(work, *args, **kwargs)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in a thread and wait for it, to the end even when cancelled: a thread can't be stopped."""
        future = asyncio.wrap_future(self.start(work, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._threads.shutdown()
