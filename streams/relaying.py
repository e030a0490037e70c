"""The relay role: each POST goes on, byte for byte, to another consumer of the one Event URL.

At least once, in the order of a partition as far as some requests at once keep it; SendGrid itself keeps none. While
the consumer takes nothing, nothing more is begun. A POST that it refuses while it takes others is put into a topic of
its own, from which it is tried every few minutes, so that it holds up neither the others nor what is committed.
"""

import random
from asyncio import Semaphore
from collections.abc import AsyncIterable
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from connectors.errors import Retry
from connectors.kafka import Producer, Record
from connectors.relay import Consumer
from schemas import topics
from schemas.dead_letters import HEADER
from schemas.relay import Copy
from streams import metrics
from streams.aside import Aside
from streams.chunks import Chunk
from streams.delivery import persistently, waiting
from streams.outstanding import Outstanding, Ticket
from streams.pace import REAL_PACE, Pace
from streams.tasks import Tasks

log = structlog.get_logger()

_AT_ONCE = 8
_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0
_TRIES = 5
"""After so many a POST that others overtake goes into the topic of its own,"""
_LATER_SECONDS = 300.0
"""to be tried after so long."""
_SAY_SECONDS = 60.0
"""The same failure is logged only so often: many POSTs have it at once."""
_STEP_SECONDS = 10.0
_NOT_BEFORE = "not_before"
"""The header that says when it is to be tried, in milliseconds since 1970."""


class Relay:
    """Passes on the POSTs of one source to one consumer, while its context lasts.

    Args:
        name: of the relay.
        source: whose POSTs.
        consumer: open.
        aside: for what is not taken in time.
        producer: started.
        hours: so long after its receipt a POST is tried.
        pace: of its time.
    """

    def __init__(
        self,
        name: str,
        source: str,
        consumer: Consumer,
        aside: Aside,
        producer: Producer,
        hours: float,
        pace: Pace = REAL_PACE,
    ) -> None:
        self._name = name
        self._destination = f"relay.{name}"
        self._again = topics.relay(source)
        self._consumer = consumer
        self._aside = aside
        self._producer = producer
        self._window_ms = int(hours * 3600 * 1000)
        self._pace = pace
        self._taken = 0
        self._failure = ""
        self._failing_since = 0.0
        self._said_at = 0.0
        self._outstanding = Outstanding(self._destination, pace.now)
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()

    async def failure(self) -> None:
        """Return never.

        Raises:
            Fatal: nothing more can be relayed.
        """
        await self._tasks.failure()

    async def raw(self, stream: AsyncIterable[Chunk]) -> None:
        """The agent of the raw topic."""
        places = Semaphore(_AT_ONCE)
        async for chunk in stream:
            wanted = [record for record in chunk.records if not _replays_a_letter(record)]
            ticket = self._ticket(chunk, len(wanted))
            for record in wanted:
                copy = Copy.of_raw(record.headers, record.value or b"", record.timestamp)
                await self._begin(places, copy, record, ticket)

    async def again(self, stream: AsyncIterable[Chunk]) -> None:
        """The agent of the topic of what is to be sent again."""
        places = Semaphore(_AT_ONCE)
        async for chunk in stream:
            wanted = [(record, copy) for record in chunk.records if (copy := self._mine(record))]
            ticket = self._ticket(chunk, len(wanted))
            for record, copy in wanted:
                await self._until(int(dict(record.headers).get(_NOT_BEFORE, b"0")) / 1000)
                await self._begin(places, copy, record, ticket)

    def _mine(self, record: Any) -> Copy | None:  # noqa: ANN401  aiokafka's ConsumerRecord
        try:
            relay, copy = Copy.of_line(record.value)
        except ValueError as error:
            log.warning("skipped", topic=self._again, offset=record.offset, reason=str(error))
            return None
        return copy if relay == self._name else None

    def _ticket(self, chunk: Chunk, count: int) -> Ticket:
        ticket = Ticket(chunk, count)
        self._outstanding.add(ticket)
        return ticket

    async def _begin(self, places: Semaphore, copy: Copy, record: Any, ticket: Ticket) -> None:  # noqa: ANN401
        await places.acquire()
        task = self._tasks.begin(self._send(copy, record, ticket))
        task.add_done_callback(lambda _: places.release())

    async def _send(self, copy: Copy, record: Any, ticket: Ticket) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        """Pass on a POST, or put it aside or off; then it is settled."""
        await self._deliver(copy, record)
        ticket.settle()

    async def _deliver(self, copy: Copy, record: Any) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        enough = 1 if _replays_a_letter(record) else _TRIES
        taken_before = self._taken
        pause = _FIRST_SECONDS
        tries = 0
        reason = self._failure
        while not (self._is_late(copy) and (tries >= enough or self._is_away())):
            try:
                await self._consumer.post(copy)
            except Retry as error:
                tries += 1
                reason = self._failed(str(error))
                if tries >= _TRIES and self._taken > taken_before and not self._is_late(copy):
                    await self._put_off(copy, record)
                    return
                wait = max(min(error.after or 0, _LATER_SECONDS), pause * random.uniform(0.5, 1))  # noqa: S311  no secret
                await self._pace.sleep(wait)
                pause = min(pause * 2, _LONGEST_SECONDS)
            else:
                self._taken += 1
                self._failure = ""
                metrics.DELIVERED.labels(self._destination).inc()
                await self._aside.succeeded(record)
                return
        metrics.REFUSED.labels(self._destination, "too late").inc()
        await self._aside.put(record, copy.line(self._name), reason, copy.received_at)

    def _failed(self, reason: str) -> str:
        waiting()
        now = self._pace.now()
        if not self._failure:
            self._failing_since = now
        if reason != self._failure or now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            log.warning("not relayed yet", relay=self._name, since=round(now - self._failing_since), reason=reason)
        self._failure = reason
        return reason

    def _is_away(self) -> bool:
        """Whether nothing has been taken for so long that what has become too old need not wait for an answer each."""
        return bool(self._failure) and self._pace.now() - self._failing_since >= _LATER_SECONDS

    def _is_late(self, copy: Copy) -> bool:
        return self._pace.now() * 1000 >= copy.received_at + self._window_ms

    async def _put_off(self, copy: Copy, record: Any) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        at = str(int((self._pace.now() + _LATER_SECONDS) * 1000)).encode()
        letter = [(name, value) for name, value in record.headers if name == HEADER]
        later = Record(None, copy.line(self._name), [*letter, (_NOT_BEFORE, at)])
        await persistently("publishing what is relayed later", partial(self._producer.publish, self._again, later))

    async def _until(self, moment: float) -> None:
        while (left := moment - self._pace.now()) > 0:
            waiting()
            await self._pace.sleep(min(left, _STEP_SECONDS))


def _replays_a_letter(record: Any) -> bool:  # noqa: ANN401  aiokafka's ConsumerRecord
    """Whether somebody has asked for it. A raw record is then an element that is normalized again, and no POST."""
    return any(name == HEADER for name, _ in record.headers)
