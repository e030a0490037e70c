"""A lane: what waits for one of Amplitude's APIs, and which of it may go now.

No clock, no task: the caller says what time it is.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from connectors.amplitude import Api
from schemas.amplitude import AmplitudeEvent
from streams.outstanding import Ticket

_MARGIN = 0.9
"""Of a documented rate: Amplitude averages over a time that it does not tell, and others may send for the same user."""
_BURST_SECONDS = 1.0
_REMEMBERED_IDS = 100_000


@dataclass(slots=True, eq=False)
class Item:
    """One event on its way.

    Attributes:
        event: what is sent.
        record: what it was made of: aiokafka's ConsumerRecord.
        ticket: of its chunk.
        size: bytes that it holds.
    """

    event: AmplitudeEvent
    record: Any
    ticket: Ticket
    size: int


class Lane:
    """Gives out what may go in the order it came, but for ids that have had their share: these wait apart.

    Args:
        api: and its limits.
        overhead: bytes of a request besides its events.
        most: events in one request.
        linger: seconds that the first event waits for others.
        patience: events of one id that may wait apart; more go another way. None is any number.
        most_held: and so many of all ids.
    """

    def __init__(
        self,
        api: Api,
        overhead: int,
        *,
        most: int,
        linger: float,
        patience: int | None = None,
        most_held: int = 0,
    ) -> None:
        self.api = api
        self._overhead = overhead
        self._most = min(most, api.events)
        self._linger = linger
        self._patience = patience
        self._most_held = most_held
        self._interval = 1 / (api.per_second * _MARGIN)
        self._ready: deque[Item] = deque()
        self._ready_at = 0.0
        self._apart: dict[str, deque[Item]] = {}
        self._due: list[tuple[float, str]] = []
        self._spent: dict[str, float] = {}
        self._lumps: dict[str, int] = {}
        self.held = 0

    def put(self, items: Iterable[Item], now: float) -> None:
        """Events come."""
        if not self._ready:
            self._ready_at = now + self._linger
        self._ready.extend(items)

    def hold(self, items: Iterable[Item], until: float) -> None:
        """Events come back: Amplitude has their ids wait, of which then half as many go at once."""
        by_id: dict[str, list[Item]] = {}
        for item in items:
            by_id.setdefault(item.event.user_id, []).append(item)
        for user_id, some in by_id.items():
            free = until + _BURST_SECONDS
            self._set_apart(user_id, free).extendleft(reversed(some))
            self._spent[user_id] = free  # also of one that is apart already and was to go before
            self._lumps[user_id] = max(1, len(some) // 2)
            self.held += len(some)

    def next_at(self) -> float | None:
        """When there is something to take; None: not before something comes."""
        times = [self._ready_at if len(self._ready) < self._most else 0.0] if self._ready else []
        if self._due:
            times.append(self._due[0][0])
        return min(times, default=None)

    def take(self, now: float) -> tuple[list[Item], list[Item]]:
        """What goes now, in one request; and what must go another way, as too much of its id waits here."""
        batch = _Batch(self._most, self.api.bytes - self._overhead)
        self._take_due(now, batch)
        others: list[Item] = []
        while self._ready and not batch.is_full_for(self._ready[0]):
            item = self._ready.popleft()
            user_id = item.event.user_id
            if user_id not in self._apart and self._may(user_id, now):
                batch.add(item)
            elif self._is_too_much(user_id):
                others.append(item)
            else:
                self._set_apart(user_id, self._spent.get(user_id, now)).append(item)
                self.held += 1
        self._ready_at = now
        return batch.items, others

    def _take_due(self, now: float, batch: "_Batch") -> None:
        while self._due and self._due[0][0] <= now:
            user_id = self._due[0][1]
            waiting = self._apart[user_id]
            lump = self._lumps.get(user_id, self._most)
            while waiting and lump and not batch.is_full_for(waiting[0]) and self._may(user_id, now):
                batch.add(waiting.popleft())
                self.held -= 1
                lump -= 1
            if waiting and lump and batch.is_full_for(waiting[0]):
                return
            heappop(self._due)
            if waiting:
                heappush(self._due, (max(self._spent[user_id], now + _BURST_SECONDS), user_id))
            else:
                del self._apart[user_id]
                self._lumps.pop(user_id, None)

    def _set_apart(self, user_id: str, until: float) -> deque[Item]:
        if user_id not in self._apart:
            self._apart[user_id] = deque()
            heappush(self._due, (until, user_id))
        return self._apart[user_id]

    def _is_too_much(self, user_id: str) -> bool:
        if self._patience is None:
            return False
        return self.held >= self._most_held or len(self._apart.get(user_id, ())) >= self._patience

    def _may(self, user_id: str, now: float) -> bool:
        """Whether an id may send one more, which counts: a second's worth at once, then so many a second."""
        spent = max(self._spent.get(user_id, now), now)
        if spent - now > _BURST_SECONDS - self._interval:
            return False
        if len(self._spent) >= _REMEMBERED_IDS:
            self._spent = {name: at for name, at in self._spent.items() if at > now}
        self._spent[user_id] = spent + self._interval
        return True


class _Batch:
    """The events of one request."""

    def __init__(self, most: int, room: int) -> None:
        self.items: list[Item] = []
        self._most = most
        self._room = room

    def is_full_for(self, item: Item) -> bool:
        """Whether there is no room for one more. An empty one takes any: Amplitude then says what it thinks of it."""
        return bool(self.items) and (len(self.items) >= self._most or len(item.event.content) >= self._room)

    def add(self, item: Item) -> None:
        self.items.append(item)
        self._room -= len(item.event.content) + 1
