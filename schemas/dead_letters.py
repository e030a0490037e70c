"""What could not be processed, kept with its reason until a person decides."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import orjson

from schemas.columns import time_text

HEADER = "dead_letter"
"""The header of a record that replays a dead letter: the letter without its payload, which is the record's value."""

COLUMNS = """
id, source, step, reason, payload, encoding, topic, state,
toUnixTimestamp64Milli(received_at) AS received_ms, toUnixTimestamp64Milli(changed_at) AS changed_ms
"""
"""What to select of the table to have letters."""

Step = Literal["normalize", "store", "forward", "relay", "contacts", "mail"]
State = Literal["waiting", "replayed", "discarded"]

_AGAIN = "; again: "


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
        topic: where a replay puts it.
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

    def now(self, state: State, at: int) -> "DeadLetter":
        """The letter in another state."""
        return replace(self, state=state, changed_at=at)

    def failed_again(self, reason: str, at: int) -> "DeadLetter":
        """The letter after a replay that failed: with the first reason and the last."""
        first = self.reason.partition(_AGAIN)[0]
        return replace(self, reason=f"{first}{_AGAIN}{reason}", state="waiting", changed_at=at)

    def header(self) -> bytes:
        """What a record that replays it carries, besides its payload."""
        return orjson.dumps({**asdict(self), "payload": ""})

    @classmethod
    def of_header(cls, header: bytes, payload: bytes) -> "DeadLetter":
        """The letter that a record replays."""
        return cls(**{**orjson.loads(header), "payload": payload})

    def line(self) -> bytes:
        """Its row, as JSON."""
        try:
            payload, encoding = self.payload.decode(), "utf-8"
        except UnicodeDecodeError:
            payload, encoding = b64encode(self.payload).decode(), "base64"
        row = {
            **asdict(self),
            "payload": payload,
            "encoding": encoding,
            "received_at": time_text(self.received_at),
            "changed_at": time_text(self.changed_at or self.received_at),
        }
        return orjson.dumps(row)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "DeadLetter":
        """The letter of a row with COLUMNS."""
        payload = row["payload"]
        return cls(
            id=row["id"],
            source=row["source"],
            step=row["step"],
            reason=row["reason"],
            received_at=row["received_ms"],
            payload=b64decode(payload) if row["encoding"] == "base64" else payload.encode(),
            topic=row["topic"],
            state=row["state"],
            changed_at=row["changed_ms"],
        )


def replayed(headers: Iterable[tuple[str, bytes]], value: bytes) -> DeadLetter | None:
    """The letter that a record replays, if it replays one."""
    for name, header in headers:
        if name == HEADER:
            return DeadLetter.of_header(header, value)
    return None


def letter_id(*marks: object) -> str:
    """An id from what tells one dead letter from another."""
    return blake2b(repr(marks).encode(), digest_size=8).hexdigest()
