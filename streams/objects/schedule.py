"""When objects are synced: every so often, each source at another time, by one worker."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.sendgrid_objects import SendGridObjects
from schemas.ddl import identifier
from schemas.objects import OBJECTS
from streams.clock import now
from streams.delivery import persistently
from streams.objects.calls import Calls, LostError
from streams.objects.sync import ObjectSync, Outcome
from streams.privacy.forgotten import Forgotten
from streams.sections import Source

log = structlog.get_logger()

_AGAIN_SECONDS = 600.0
"""After a failure, or where a worker was killed in the middle."""
_LOOK_SECONDS = 1.0
"""How soon a worker notices that it is its turn."""
_LAST = """
SELECT object, toUnixTimestamp64Milli(max(started)), argMax(error = '' AND toUnixTimestamp(finished) > 0, started)
FROM {database}.syncs GROUP BY object
"""


class Last(NamedTuple):
    """The last sync of one kind of object: when it began, in milliseconds since 1970, and whether it went well."""

    started: int
    is_good: bool


def due_at(last: Last | None, every: float, offset: float) -> float:
    """When a kind of object is to be synced next, in seconds since 1970.

    Times are counted from 1970, not from the last sync: so neither restarts nor other workers shift them, and each
    source keeps its distance from the others.

    Args:
        last: sync; None where there was none.
        every: so many seconds.
        offset: of this source, in seconds.
    """
    if last is None:
        return 0.0
    started = last.started / 1000
    following = ((started - offset) // every + 1) * every + offset
    return following if last.is_good else min(following, started + _AGAIN_SECONDS)


class Schedule:
    """Keeps the objects of all sources up to date.

    Args:
        sources: with their SendGrid open.
        clickhouse: connected.
        every: so many seconds.
        pause: waits for so many seconds.
        forgotten: about whom nothing is kept; None where nobody is.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Source, SendGridObjects]],
        clickhouse: ClickHouse,
        every: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        forgotten: Forgotten | None = None,
    ) -> None:
        self._sources = sources
        self._forgotten = forgotten
        self._clickhouse = clickhouse
        self._every = every
        self._pause = pause

    async def run(self, is_ours: Callable[[], bool]) -> None:
        """Sync until cancelled.

        Args:
            is_ours: whether it is this worker that does it at the moment.
        """
        distance = self._every / len(self._sources)
        await asyncio.gather(
            *(self._keep(source, api, number * distance, is_ours) for number, (source, api) in enumerate(self._sources))
        )

    async def _keep(self, source: Source, api: SendGridObjects, offset: float, is_ours: Callable[[], bool]) -> None:
        calls = Calls(is_ours, self._pause)
        sync = ObjectSync(source, api, self._clickhouse, calls, forgotten=self._forgotten)
        while True:
            await self._pause(_LOOK_SECONDS)
            if not is_ours():
                continue
            last = await persistently("asking when objects were synced", partial(self._last, source))
            try:
                due = {name: due_at(each, self._every, offset) for name, each in last.items()}
                ready = [name for name, at in due.items() if at <= now() / 1000]
                if ready:
                    await sync.run(ready, _report)
                else:
                    await self._wait(min(due.values()), is_ours)
            except LostError:
                log.info("another worker syncs objects now", source=source.name)
            except GridstreamError as error:
                log.warning("objects cannot be synced now", source=source.name, reason=str(error))
                await self._pause(_AGAIN_SECONDS)

    async def _wait(self, until: float, is_ours: Callable[[], bool]) -> None:
        while is_ours() and now() / 1000 < until:
            await self._pause(_LOOK_SECONDS)

    async def _last(self, source: Source) -> Mapping[str, Last | None]:
        answer = await self._clickhouse.query(_LAST.format(database=identifier(source.name)))
        found = {name: Last(started, bool(is_good)) for name, started, is_good in answer.result_rows}
        return {kind.name: found.get(kind.name) for kind in OBJECTS}


def _report(outcome: Outcome) -> None:
    about = {"source": outcome.source, "object": outcome.object}
    if outcome.error:
        log.error("objects could not be synced", **about, reason=outcome.error)
    else:
        counts = outcome.counts
        log.info(
            outcome.note or "objects synced",
            **about,
            pulled=counts.pulled,
            new=counts.new,
            changed=counts.changed,
            gone=counts.gone,
            seconds=(outcome.finished - outcome.started) / 1000,
        )
