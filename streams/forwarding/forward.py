"""The agents of the forward role: chunks of events become events for Amplitude."""

from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any

import orjson

from connectors.kafka import Headers
from schemas.amplitude import AmplitudeEvent, Mapper, Rules, Skip
from schemas.dead_letters import HEADER
from schemas.events import EVENTS, UNKNOWN, EventType
from schemas.topics import FORWARD_HEADER, REPLAY_HEADER
from streams import metrics
from streams.aside import Aside
from streams.chunks import Chunk
from streams.forwarding.delivery import Delivery
from streams.forwarding.lane import Item
from streams.outstanding import Ticket


class Forward:
    """Forwards the events of one source.

    Args:
        delivery: begun.
        rules: how events are mapped.
        aside: for records that are no events.
    """

    def __init__(self, delivery: Delivery, rules: Rules, aside: Aside) -> None:
        self._name = delivery.destination
        self._mappers = {event.name: Mapper(event, rules) for event in EVENTS}
        self._delivery = delivery
        self._aside = aside

    def of(self, event: EventType) -> Callable[[AsyncIterable[Chunk]], Awaitable[None]]:
        """The agent of the topic of one event type."""
        mapper = self._mappers[event.name]
        return partial(self._agent, lambda _: mapper, _reason_to_skip)

    async def again(self, stream: AsyncIterable[Chunk]) -> None:
        """The agent of the topic of events that are to be forwarded again, of any type."""
        await self._agent(self._mapper_of, lambda _: "", stream)

    async def _agent(
        self,
        mapper_of: Callable[[bytes], Mapper],
        reason_to_skip: Callable[[Headers], str],
        stream: AsyncIterable[Chunk],
    ) -> None:
        async for chunk in stream:
            found: list[tuple[AmplitudeEvent, Any]] = []
            for record in chunk.records:
                if record.headers and (reason := reason_to_skip(record.headers)):
                    metrics.SKIPPED.labels(self._name, reason).inc()
                    continue
                try:
                    event = mapper_of(record.value)(record.value)
                except ValueError as error:
                    metrics.REFUSED.labels(self._name, "no event").inc()
                    await self._aside.put(record, record.value, f"not an event: {error}", record.timestamp)
                    continue
                if isinstance(event, Skip):
                    metrics.SKIPPED.labels(self._name, event.value).inc()
                    await self._aside.succeeded(record)
                else:
                    found.append((event, record))
            ticket = Ticket(chunk, len(found))
            items = [Item(event, record, ticket, len(event.content) + len(record.value)) for event, record in found]
            await self._delivery.put(items, ticket)

    def _mapper_of(self, line: bytes) -> Mapper:
        row = orjson.loads(line)
        name = row.get("event") if isinstance(row, dict) else None
        return self._mappers.get(str(name), self._mappers[UNKNOWN.name])


def _reason_to_skip(headers: Headers) -> str:
    """Why a record of an event type's topic is not forwarded; empty where it is."""
    names = {name for name, _ in headers}
    if HEADER in names:
        return "dead letter of another step"  # when it failed there, it had been here
    return "replay" if REPLAY_HEADER in names and FORWARD_HEADER not in names else ""
