"""A consumer of SendGrid's Event Webhook, as a relay finds one."""

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed, public_key
from tests.fakes.clock import Clock
from tests.fakes.server import Answer, Call, FakeServer


class FakeConsumer(FakeServer):
    """Takes every POST that is signed with its key.

    Attributes:
        bodies: those it has taken.
    """

    def __init__(self, key: str, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.bodies: list[bytes] = []
        self._key = public_key(key)

    async def answer(self, call: Call) -> Answer:
        signature = call.headers.get(SIGNATURE_HEADER.lower(), "")
        timestamp = call.headers.get(TIMESTAMP_HEADER.lower(), "")
        if not is_signed([self._key], signature, timestamp, call.content):
            return Answer(401)
        self.bodies.append(call.content)
        return Answer(204)
