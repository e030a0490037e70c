"""What is remembered of an Event Webhook that `gridstream webhook register` set up."""

from dataclasses import dataclass
from typing import Self

import orjson

_KEPT = 2
"""A webhook's key and the one before: what is on its way while SendGrid changes them is signed with either."""


@dataclass(frozen=True, slots=True)
class RegisteredWebhook:
    """One webhook.

    Attributes:
        source: whose.
        id: SendGrid's.
        url: that it posts to, without user name and password.
        public_keys: that verify what it posts, the newest first.
    """

    source: str
    id: str
    url: str
    public_keys: tuple[str, ...]

    @property
    def key(self) -> bytes:
        """Of its record."""
        return f"{self.source}:{self.id}".encode()

    def line(self) -> bytes:
        """The value of its record."""
        return orjson.dumps({"url": self.url, "public_keys": self.public_keys})

    @classmethod
    def of_record(cls, key: bytes, value: bytes) -> Self:
        """The one of a record.

        Raises:
            ValueError: it is none.
        """
        source, _, webhook_id = key.decode().partition(":")
        document = orjson.loads(value)
        try:
            return cls(source, webhook_id, str(document["url"]), tuple(map(str, document["public_keys"])))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{document!r} is not a registered webhook") from error

    def renewed(self, url: str, public_key: str) -> Self:
        """The same with what SendGrid says now."""
        older = (key for key in self.public_keys if key != public_key)
        return type(self)(self.source, self.id, url, (public_key, *older)[:_KEPT])
