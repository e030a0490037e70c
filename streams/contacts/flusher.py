"""The cadence: every so often, the lists of which something was said are synced, each by one worker at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from schemas.cohorts import list_key
from streams.contacts.account import Account
from streams.contacts.list_sync import ListSync, LostError
from streams.contacts.memberships import Cohort
from streams.delivery import Refusals

log = structlog.get_logger()

_AT_ONCE = 3
"""Lists that are synced at the same time: each holds one page of people in memory."""
_LONGEST_SECONDS = 600.0
"""Between two tries at a list that cannot be synced."""


class Flusher:
    """Syncs the lists of all accounts.

    Args:
        accounts: by name, their SendGrid open.
        pause: waits for so many seconds.
    """

    def __init__(
        self, accounts: Mapping[str, Account], pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._accounts = accounts
        self._pause = pause
        self._due: set[tuple[str, str]] = set()
        self._mine: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._refusals = {name: Refusals() for name in accounts}
        self._stopping = False

    def notice(self, account: str, cohort: str) -> None:
        """Something was said of a list."""
        self._due.add((account, cohort))

    async def run(self, owns: Callable[[bytes], bool]) -> None:
        """Sync until cancelled; then let what is being done come to a point where it can be left.

        Args:
            owns: whether records of a key are this worker's at the moment.
        """
        try:
            await asyncio.gather(*(self._keep(account, owns) for account in self._accounts.values()))
        finally:
            self._stopping = True
            if self._running:
                await asyncio.wait(self._running.values())

    async def _keep(self, account: Account, owns: Callable[[bytes], bool]) -> None:
        while True:
            await self._pause(account.settings.flush_seconds)
            await self.flush(account, owns)

    async def flush(self, account: Account, owns: Callable[[bytes], bool]) -> list[asyncio.Task[None]]:
        """Begin to sync every list of an account that is due, and is not being synced already."""
        cohorts = {(account.name, cohort.id): cohort for cohort in await account.memberships.cohorts()}
        mine = {key for key in cohorts if owns(list_key(*key))}
        # What another worker has left behind is only in ClickHouse.
        self._due |= mine - self._mine
        self._mine = mine | {key for key in self._mine if key[0] != account.name}
        begun = []
        for key in sorted(mine & self._due):
            if key not in self._running and self._failures.get(key, (0, 0.0))[1] <= time.monotonic():
                self._due.discard(key)
                task = asyncio.ensure_future(self._sync(account, cohorts[key], owns))
                self._running[key] = task
                task.add_done_callback(partial(self._ended, key))
                begun.append(task)
        return begun

    async def _sync(self, account: Account, cohort: Cohort, owns: Callable[[bytes], bool]) -> None:
        key = (account.name, cohort.id)

        def owned() -> bool:
            return not self._stopping and owns(list_key(*key))

        async with self._places:
            try:
                done = await ListSync(account, cohort, owned, self._refusals[account.name], self._pause).run()
            except LostError:
                return
        if done:
            self._failures.pop(key, None)
            return
        failures = self._failures.get(key, (0, 0.0))[0] + 1
        wait = min(account.settings.flush_seconds * 2**failures, _LONGEST_SECONDS)
        self._failures[key] = (failures, time.monotonic() + wait)
        self._due.add(key)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._running[key]
        if not task.cancelled() and (error := task.exception()):
            log.error("syncing a list failed", account=key[0], cohort=key[1], exc_info=error)
            self._due.add(key)
