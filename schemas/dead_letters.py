"""What could not be processed, kept with its reason until a person decides."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import orjson

from schemas.columns import time_text

Step = Literal["normalize", "store"]
State = Literal["waiting", "replayed", "discarded"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One thing that could not be processed.

    Attributes:
        id: the same each time the same thing fails again.
        source: whose it is.
        step: who could not process it.
        reason: why not, for people.
        received_at: when it came in, in milliseconds since 1970.
        payload: what it is.
        topic: where a replay must put it.
        state: what became of it.
        changed_at: since when, in milliseconds since 1970.
    """

    id: str
    source: str
    step: Step
    reason: str
    received_at: int
    payload: bytes
    topic: str
    state: State = "waiting"
    changed_at: int = 0

    def line(self) -> bytes:
        """Its row, as JSON."""
        try:
            payload, encoding = self.payload.decode(), "utf-8"
        except UnicodeDecodeError:
            payload, encoding = b64encode(self.payload).decode(), "base64"
        return orjson.dumps(
            {
                "id": self.id,
                "source": self.source,
                "step": self.step,
                "reason": self.reason,
                "received_at": time_text(self.received_at),
                "payload": payload,
                "encoding": encoding,
                "topic": self.topic,
                "state": self.state,
                "changed_at": time_text(self.changed_at or self.received_at),
            }
        )


def letter_id(*marks: object) -> str:
    """An id from what tells one dead letter from another."""
    return blake2b(repr(marks).encode(), digest_size=8).hexdigest()
