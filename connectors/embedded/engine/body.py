"""A request's body: read piece by piece, decompressed."""

import asyncio
from collections.abc import Sequence

from aiohttp import StreamReader

from connectors.embedded.engine.encodings import Decoder
from connectors.embedded.engine.errors import QueryError

_PIECE = 1 << 20
_PATIENCE = 60.0  # seconds for a client that sends nothing


class Body:
    """What follows a request's headers.

    Args:
        content: The bytes as they come.
        decoders: What they go through, outermost first.
    """

    def __init__(self, content: StreamReader, decoders: Sequence[Decoder]) -> None:
        self._content = content
        self._decoders = decoders

    async def piece(self) -> bytes:
        """The next bytes, not decoded: about a megabyte, less only at the end, none after it.

        Raises:
            QueryError: 209, SOCKET_TIMEOUT.
            ConnectionError: The client is gone; what came so far is not the whole body.
        """
        parts: list[bytes] = []
        size = 0
        while size < _PIECE and not self._content.at_eof():
            try:
                async with asyncio.timeout(_PATIENCE):
                    part = await self._content.readany()
            except TimeoutError:
                raise QueryError(
                    209, "SOCKET_TIMEOUT", f"Timeout exceeded while reading from socket ({_PATIENCE} s)"
                ) from None
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def decode(self, piece: bytes) -> bytes:
        """Decompress the next piece; takes time.

        Raises:
            QueryError: It isn't what it is said to be.
        """
        for decoder in self._decoders:
            piece = decoder.decode(piece)
        return piece

    def finish(self) -> None:
        """Say that the last piece is decoded.

        Raises:
            QueryError: The compressed data breaks off.
        """
        for decoder in self._decoders:
            decoder.finish()

    async def beginning(self, size: int) -> tuple[bytes, bool]:
        """The first bytes, decoded: at least so many, or all there are; and whether that is all.

        Raises:
            QueryError, ConnectionError: As above.
        """
        text = b""
        while len(text) < size:
            piece = await self.piece()
            if not piece:
                self.finish()
                return text, True
            text += self.decode(piece)
        return text, False

    async def rest(self, size: int) -> bytes:
        """All that is left, decoded.

        Raises:
            QueryError: 229, it is longer than that.
            ConnectionError: As above.
        """
        text, complete = await self.beginning(size + 1)
        if not complete:
            raise QueryError(229, "QUERY_IS_TOO_LARGE", "The statement is too long")
        return text
