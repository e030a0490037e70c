"""A statement as it is sent: its beginning in the URL, the rest in the body."""

from typing import NamedTuple

from aiohttp import web

from connectors.embedded.engine.blocks import BlockDecoder
from connectors.embedded.engine.body import Body
from connectors.embedded.engine.encodings import decoding
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.statement import DataInsert, data_insert

LONGEST = 16 << 20  # bytes of a statement that brings no rows
_BEGINNING = 256 << 10  # bytes in which an INSERT must have come to its rows; ClickHouse's max_query_size


class Sent(NamedTuple):
    """What a client sent.

    Attributes:
        text: The statement. Of one that brings rows, the beginning.
        rows: Where the rows are, if it brings any.
        body: Where more rows come from; None if all are in the text.
    """

    text: bytes
    rows: DataInsert | None
    body: Body | None


async def received(http: web.Request, request: Request) -> Sent:
    """Read so much of a request as is needed to know what it is: up to its rows, or all.

    Raises:
        QueryError: 229 if it is too long; the body can't be decompressed.
        ConnectionError: The client is gone.
    """
    decoders = decoding(http.headers.get("Content-Encoding", ""))
    if request.decompress:
        decoders.append(BlockDecoder())
    body = Body(http.content, decoders)
    text = f"{request.query}\n".encode() if request.query else b""
    if rows := data_insert(text):
        return Sent(text, rows, body)
    beginning, complete = await body.beginning(_BEGINNING)
    text += beginning
    rows = data_insert(text)
    if rows or complete:
        return Sent(text, rows, None if complete else body)
    return Sent(text + await body.rest(LONGEST), None, None)
