"""Putting aside what a step could not process, and saying what became of what was replayed."""

from functools import partial
from typing import Any

import structlog

from connectors.kafka import Producer, Record
from schemas import topics
from schemas.dead_letters import DeadLetter, Step, letter_id, replayed
from streams import metrics
from streams.clock import now
from streams.delivery import persistently

log = structlog.get_logger()


class Aside:
    """The dead letters of one step.

    Args:
        source: whose.
        step: which could not process them.
        again: the topic that a replay puts them into; only this step reads it.
        producer: started.
    """

    def __init__(self, source: str, step: Step, again: str, producer: Producer) -> None:
        self._source = source
        self._step = step
        self._again = again
        self._producer = producer

    async def put(self, record: Any, payload: bytes, reason: str, received_at: int) -> None:  # noqa: ANN401
        """Put something aside; returns when Kafka has it.

        Args:
            record: aiokafka's, that it is about.
            payload: what a replay processes.
            reason: why it could not be processed, for people.
            received_at: when it came in, in milliseconds since 1970.
        """
        log.warning("put aside", step=self._step, offset=record.offset, reason=reason)
        letter = replayed(record.headers, record.value)
        if letter:
            letter = letter.failed_again(reason, now())
        else:
            letter = DeadLetter(
                id=letter_id(self._step, self._again, payload),
                source=self._source,
                step=self._step,
                reason=reason,
                received_at=received_at,
                payload=payload,
                topic=self._again,
            )
        await publish(letter, self._producer)

    async def succeeded(self, record: Any) -> None:  # noqa: ANN401  aiokafka's
        """Something was processed: if it replays a letter, that one is done."""
        if letter := replayed(record.headers, record.value):
            await publish(letter.now("replayed", now()), self._producer)


async def publish(letter: DeadLetter, producer: Producer) -> None:
    """Publish a dead letter, or what has become of it; returns when Kafka has it."""
    metrics.DEAD_LETTERS.labels(letter.source, letter.step).inc(letter.state == "waiting")
    record = Record(letter.id.encode(), letter.line())
    await persistently(
        "publishing a dead letter", partial(producer.publish, topics.dead_letters(letter.source), record)
    )
