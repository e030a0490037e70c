"""Reading the bodies of requests: so much at once, so fast, and who takes longest gives way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams.ingress.refusal import RETRY_AFTER, Refusal

_BODY_SECONDS = 20.0
"""How long a sender may take for its body."""
_MOST_BYTES = 64 << 20
"""So much of bodies may be in memory at once. SendGrid's have below 1 MB and are there in a moment."""


class _Reading:
    """A body that is being read."""

    def __init__(self, connection: RequestHandler, deadline: asyncio.Timeout) -> None:
        self.connection = connection
        self.deadline = deadline
        self.size = 0
        self.gave_way = False


class Bodies:
    """Reads bodies.

    Whose they are is known only when they are read. What tells senders apart until then is how long they take.
    """

    def __init__(self) -> None:
        self._under_way: dict[_Reading, None] = {}  # the longest first
        self._bytes = 0

    async def read(self, request: web.Request) -> bytes:
        """A request's body.

        Raises:
            Refusal: 413, it is too large; 408, it takes too long; 503, too much is being read and this takes longest;
                400, it ends early or its framing is wrong.
        """
        if (request.content_length or 0) > request.client_max_size:
            raise _too_large()
        content = request.content
        # Most bodies came with their headers: nothing is to be waited for, and 25 µs of watching over it are spared.
        is_whole = content.is_eof() and content.exception() is None
        body = content.read_nowait() if is_whole else await self._arriving(request)
        if len(body) > request.client_max_size:
            raise _too_large()
        return body

    def longest(self) -> RequestHandler | None:
        """The open connection whose body has been under way for longest, if there is any."""
        connections = (reading.connection for reading in self._under_way)
        return next((each for each in connections if each.transport), None)

    async def _arriving(self, request: web.Request) -> bytes:
        body = bytearray()
        gave_way = False
        try:
            async with asyncio.timeout(_BODY_SECONDS) as deadline:
                with self._reading(request, deadline) as reading:
                    try:
                        while piece := await request.content.readany():
                            body += piece
                            if len(body) > request.client_max_size:
                                raise _too_large()
                            self._grew(reading, len(piece))
                    finally:
                        gave_way = reading.gave_way
        except TimeoutError as error:
            if gave_way:
                raise Refusal(503, "too much is being received at once", RETRY_AFTER) from error
            raise Refusal(408, "the body took too long") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refusal(400, "the body ends early or is not framed as its headers say") from error
        return bytes(body)

    @contextmanager
    def _reading(self, request: web.Request, deadline: asyncio.Timeout) -> Iterator[_Reading]:
        reading = _Reading(request.protocol, deadline)
        self._under_way[reading] = None
        try:
            yield reading
        finally:
            if not reading.gave_way:
                self._forget(reading)

    def _grew(self, reading: _Reading, size: int) -> None:
        if reading.gave_way:
            return
        reading.size += size
        self._bytes += size
        while self._bytes > _MOST_BYTES:
            longest = next(iter(self._under_way))
            longest.gave_way = True
            self._forget(longest)
            if not longest.deadline.expired():
                longest.deadline.reschedule(asyncio.get_running_loop().time())

    def _forget(self, reading: _Reading) -> None:
        del self._under_way[reading]
        self._bytes -= reading.size


def _too_large() -> Refusal:
    return Refusal(413, "the body is larger than ingress.max_body_bytes")
