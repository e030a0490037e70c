"""HTTP answers as ClickHouse's."""

import asyncio
import secrets
import string
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import IO

from aiohttp import web

from connectors.embedded.engine.blocks import BlockEncoder
from connectors.embedded.engine.connection import Outcome
from connectors.embedded.engine.database import Database
from connectors.embedded.engine.encodings import Encoder, encoding
from connectors.embedded.engine.errors import QueryError, trailer
from connectors.embedded.engine.pipe import SIZE
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.results import Result

_TEXT = "text/plain; charset=UTF-8"
_IN_MEMORY = 16 << 20
_PATIENCE = 300.0  # seconds for a client that doesn't read


def refusal(error: QueryError, database: Database) -> web.Response:
    """An error before it is known how the client wants its answers."""
    headers = {
        "Content-Type": _TEXT,
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Server-Display-Name": database.name,
    }
    return web.Response(status=error.status, body=f"{error.body(database.version)}\n".encode(), headers=headers)


class Answer:
    """The answer to one request.

    Raises:
        QueryError: 89, an unknown compression method.
    """

    def __init__(self, http: web.Request, request: Request, database: Database) -> None:
        self._http = http
        self._request = request
        self._database = database
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        accepted = http.headers.get("Accept-Encoding", "") if request.http_compression else ""
        self._encoding, self._outer = encoding(accepted)
        inner: list[Encoder] = [BlockEncoder(request.compress)] if request.compress else []
        self._encoders = inner + self._outer

    def refuse(self, error: QueryError) -> web.Response:
        """An error, when nothing was sent yet. It is compressed as the result would have been."""
        response = refusal(error, self._database)
        response.headers["X-ClickHouse-Query-Id"] = self._request.query_id
        if self._encoding:
            response.headers["Content-Encoding"] = self._encoding
        assert isinstance(response.body, bytes)
        response.body = _ended(self._encoders, response.body)
        return response

    def complete(self, outcome: Outcome, output_format: str = "") -> web.Response:
        """All of it.

        Args:
            outcome: What the statement did, with its result.
            output_format: Of the result; without, the one that the request wants.
        """
        headers = self._headers(outcome, output_format or self._request.default_format)
        if not outcome.body:
            headers.pop("Content-Encoding", None)
            return web.Response(headers=headers)
        return web.Response(body=_ended(self._encoders, outcome.body), headers=headers)

    async def send(self, result: Result) -> web.StreamResponse:
        """A result: complete if it is small or asked for so, else as it comes.

        Raises:
            QueryError: The statement failed before anything was sent.
            ConnectionError: The client is gone, or doesn't read.
        """
        first = await result.read(SIZE)  # ClickHouse too waits for so much: an error up to there gets its status
        if len(first) < SIZE:
            outcome = await result.outcome()
            return self.complete(outcome._replace(body=first) if first else outcome, result.format)
        if not self._request.whole:
            return await self._stream(_as_it_comes(first, result), self._headers(Outcome(), result.format))
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept:
            async for chunk in _as_it_comes(first, result):
                kept.write(chunk)
            kept.seek(0)
            return await self._stream(_as_kept(kept), self._headers(await result.outcome(), result.format))

    async def _stream(self, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(self._http)
        try:
            async for chunk in chunks:
                await _write(response, await asyncio.to_thread(_encoded, self._encoders, chunk))
        except QueryError as error:
            # As ClickHouse: said in the body, outside of its own compression, and the chunked encoding has no end.
            message = trailer(error.body(self._database.version), self._tag)
            await _write(response, _ended(self._outer, message))
            if self._http.transport:
                self._http.transport.close()
            return response
        await _write(response, _ended(self._encoders, b""))
        await response.write_eof()
        return response

    def _headers(self, outcome: Outcome, output_format: str) -> dict[str, str]:
        name, content_type = self._database.formats.get(output_format.lower(), (output_format, _TEXT))
        headers = {
            "Content-Type": content_type or _TEXT,
            "X-ClickHouse-Server-Display-Name": self._database.name,
            "X-ClickHouse-Query-Id": self._request.query_id,
            "X-ClickHouse-Format": name,
            "X-ClickHouse-Timezone": self._database.timezone,
            "X-ClickHouse-Exception-Tag": self._tag,
            "X-ClickHouse-Summary": outcome.summary(),
        }
        if self._encoding:
            headers["Content-Encoding"] = self._encoding
        return headers


async def _as_it_comes(chunk: bytes, result: Result) -> AsyncIterator[bytes]:
    while chunk:
        yield chunk
        chunk = await result.read(SIZE)
    await result.outcome()


async def _as_kept(kept: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := kept.read(SIZE):
        yield chunk


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        try:
            async with asyncio.timeout(_PATIENCE):
                await response.write(data)
        except TimeoutError:
            raise ConnectionAbortedError("the client doesn't read") from None


def _encoded(encoders: Sequence[Encoder], data: bytes) -> bytes:
    for each in encoders:
        data = each.encode(data)
    return data


def _ended(encoders: Sequence[Encoder], data: bytes) -> bytes:
    for each in encoders:
        data = each.encode(data) + each.finish()
    return data
