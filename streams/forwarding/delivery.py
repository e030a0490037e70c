"""The delivery of a source's events to Amplitude: each is taken, or put aside with Amplitude's own reason."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from connectors.amplitude import BATCH, HTTP_V2, Amplitude, Verdict
from schemas.amplitude import without
from streams import metrics
from streams.aside import Aside
from streams.delivery import Refusals, persistently, waiting
from streams.forwarding.lane import Item, Lane
from streams.outstanding import Outstanding, Ticket
from streams.pace import REAL_PACE, Pace
from streams.tasks import Tasks

log = structlog.get_logger()

BEHIND_SECONDS = 60.0
"""An event that is older is not live any more: it goes through Batch, which takes more and shows it later."""

_LINGER_SECONDS = 0.5
_AT_ONCE = 4
"""Requests under way in each lane."""
_HELD_BYTES = 64 << 20
"""Of events that wait; more is left in Kafka."""
_PATIENCE_SECONDS = 10
"""An id's events may wait so long for HTTP V2; what would wait longer goes through Batch."""
_MOST_HELD = 10_000
_QUOTA_SECONDS = 3600.0
"""So long an id is not tried again that had its day's quota: the quota is of rolling 24 hours."""
_REMEMBERED_IDS = 10_000


class Delivery:
    """Delivers while its context lasts.

    Args:
        destination: its name in metrics and the log.
        amplitude: open.
        aside: for what is not taken.
        max_events: in a request of HTTP V2.
        pace: of its time.
    """

    def __init__(
        self, destination: str, amplitude: Amplitude, aside: Aside, max_events: int, pace: Pace = REAL_PACE
    ) -> None:
        self.destination = destination
        self._amplitude = amplitude
        self._aside = aside
        self._pace = pace
        self._live = Lane(
            HTTP_V2,
            amplitude.overhead,
            most=max_events,
            linger=_LINGER_SECONDS,
            patience=_PATIENCE_SECONDS * HTTP_V2.per_second,
            most_held=_MOST_HELD,
        )
        self._bulk = Lane(BATCH, amplitude.overhead, most=BATCH.events, linger=_LINGER_SECONDS)
        self._came = {lane.api: asyncio.Event() for lane in (self._live, self._bulk)}
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._outstanding = Outstanding(destination, pace.now)
        self._refusals = Refusals()
        self._out: dict[str, tuple[float, str]] = {}
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        for lane in (self._live, self._bulk):
            self._tasks.begin(self._pump(lane))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()

    async def failure(self) -> None:
        """Return never.

        Raises:
            Fatal: nothing more can be delivered.
        """
        await self._tasks.failure()

    async def put(self, items: Sequence[Item], ticket: Ticket) -> None:
        """Have events delivered; returns when there is room for more, which may be before they are.

        Args:
            items: of one chunk.
            ticket: theirs.
        """
        while self._held_bytes >= _HELD_BYTES:
            self._room.clear()
            await self._room.wait()
        self._outstanding.add(ticket)
        self._held_bytes += sum(item.size for item in items)
        live_since = (self._pace.now() - BEHIND_SECONDS) * 1000
        live: list[Item] = []
        late: list[Item] = []
        for item in items:  # with headers: of a replay
            is_live = item.record.timestamp >= live_since and not item.record.headers
            (live if is_live else late).append(item)
        self._queue(self._live, live)
        self._queue(self._bulk, late)

    def _queue(self, lane: Lane, items: Iterable[Item]) -> None:
        lane.put(items, self._pace.now())
        self._came[lane.api].set()

    async def _pump(self, lane: Lane) -> None:
        """Send what a lane gives out, some requests at once."""
        places = asyncio.Semaphore(_AT_ONCE)
        while True:
            await places.acquire()
            task = self._tasks.begin(self._deliver(lane, await self._next(lane)))
            task.add_done_callback(lambda _: places.release())

    async def _next(self, lane: Lane) -> list[Item]:
        came = self._came[lane.api]
        while True:
            now, at = self._pace.now(), lane.next_at()
            if at is None or at > now:
                if lane.held:
                    waiting()
                came.clear()
                await self._pace.wait(came, None if at is None else at - now)
                continue
            items, others = lane.take(now)
            self._queue(self._bulk, others)
            if items:
                return items

    async def _deliver(self, lane: Lane, items: list[Item]) -> None:
        """Send events until Amplitude has taken them, or something else has become of each."""
        while items := await self._without_outs(items):
            send = partial(self._amplitude.send, lane.api, [item.event for item in items])
            verdict = await persistently("forwarding events", send, self._pace.sleep)
            if verdict.what == "taken":
                await self._taken(items)
                return
            if verdict.what == "some":
                items = await self._sort(lane, items, verdict)
            elif len(items) > 1:
                middle = len(items) // 2
                await self._deliver(lane, items[:middle])
                items = items[middle:]
            elif verdict.what == "too large" and lane is self._live:
                self._queue(self._bulk, items)
                return
            else:
                await self._refuse(items[0], verdict.reason, str(verdict.status))
                return

    async def _sort(self, lane: Lane, items: Sequence[Item], verdict: Verdict) -> list[Item]:
        """Do with each event what the answer says of it; returns those that may be sent again at once."""
        rest: list[Item] = []
        held: list[Item] = []
        refused: list[Coroutine[Any, Any, None]] = []
        for index, item in enumerate(items):
            if fault := verdict.faults.get(index):
                if repaired := without(item.event, fault.field):
                    item.event = repaired
                    rest.append(item)
                else:
                    refused.append(self._refuse(item, fault.reason, f"{verdict.status} {fault.field}"))
            elif index in verdict.refused:
                self._note_out(item.event.user_id, verdict.reason)
                rest.append(item)
            elif index in verdict.throttled:
                held.append(item)
            else:
                rest.append(item)
        if held:
            lane.hold(held, self._pace.now() + lane.api.pause)
            self._came[lane.api].set()
        await asyncio.gather(*refused)
        return rest

    def _note_out(self, user_id: str, reason: str) -> None:
        """An id has had its day's quota, or is silenced: what it has is put aside for a while, without asking."""
        now = self._pace.now()
        if len(self._out) >= _REMEMBERED_IDS:
            self._out = {name: out for name, out in self._out.items() if out[0] > now}
        self._out[user_id] = now + _QUOTA_SECONDS, reason

    async def _without_outs(self, items: list[Item]) -> list[Item]:
        if not self._out:
            return items
        now = self._pace.now()
        rest: list[Item] = []
        out: list[Coroutine[Any, Any, None]] = []
        for item in items:
            until, reason = self._out.get(item.event.user_id, (0.0, ""))
            if until > now:
                out.append(self._put_aside(item, f"{reason} (the user's daily quota, or silenced)", "quota"))
            else:
                rest.append(item)
        await asyncio.gather(*out)
        return rest

    async def _taken(self, items: Sequence[Item]) -> None:
        self._refusals.accepted(len(items))
        metrics.DELIVERED.labels(self.destination).inc(len(items))
        await asyncio.gather(*(self._aside.succeeded(item.record) for item in items if item.record.headers))
        for item in items:
            self._settle(item)

    async def _refuse(self, item: Item, reason: str, kind: str) -> None:
        """Put aside an event that is at fault itself.

        Raises:
            Fatal: one too many: something else must be wrong.
        """
        self._refusals.refused("events", reason)
        await self._put_aside(item, reason, kind)

    async def _put_aside(self, item: Item, reason: str, kind: str) -> None:
        metrics.REFUSED.labels(self.destination, kind).inc()
        await self._aside.put(item.record, item.record.value, reason, item.record.timestamp)
        self._settle(item)

    def _settle(self, item: Item) -> None:
        item.ticket.settle()
        self._held_bytes -= item.size
        self._room.set()
