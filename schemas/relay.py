"""Copies of POSTs for other consumers of the one Event URL, and how a copy is kept that is to be sent again."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

_KEPT = ("content_type", "signature", "timestamp")
"""Headers of a raw record that a relay passes on."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One POST as it came.

    Attributes:
        body: byte for byte.
        headers: `content_type`, `signature` and `timestamp`, those that it had.
        received_at: in milliseconds since 1970.
    """

    body: bytes
    headers: dict[str, str]
    received_at: int

    @classmethod
    def of_raw(cls, headers: Iterable[tuple[str, bytes]], body: bytes, written_at: int) -> "Copy":
        """The copy of a raw record.

        Args:
            headers: of the record.
            body: its value.
            written_at: its time, in milliseconds since 1970; counts where the ingress has written none.
        """
        named = dict(headers)
        received_at = named.get("received_at", b"")
        return cls(
            body,
            {name: named[name].decode("utf-8", "replace") for name in _KEPT if named.get(name)},
            int(received_at) if received_at.isdigit() else written_at,
        )

    def line(self, relay: str) -> bytes:
        """As it is kept for a relay, the same each time: JSON."""
        return orjson.dumps(
            {
                "relay": relay,
                "received_at": self.received_at,
                "headers": self.headers,
                "body": b64encode(self.body).decode(),
            }
        )

    @classmethod
    def of_line(cls, line: bytes) -> tuple[str, "Copy"]:
        """A relay's name and the copy that is kept for it.

        Raises:
            ValueError: it is none.
        """
        try:
            kept = orjson.loads(line)
            copy = cls(b64decode(kept["body"]), dict(kept["headers"]), int(kept["received_at"]))
            return str(kept["relay"]), copy
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a copy of a POST: {error!r}") from error
