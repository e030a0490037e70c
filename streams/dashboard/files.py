"""The page's files: small, kept compressed in memory, the same for everybody."""

import gzip
import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources

from aiohttp import web

_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes
    kind: str
    tag: str

    async def serve(self, request: web.Request) -> web.Response:
        """Send it, unless the browser has it already."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=self.compressed, headers=headers, content_type=self.kind, charset="utf-8")
        return web.Response(body=self.content, headers=headers, content_type=self.kind, charset="utf-8")


def add_to(app: web.Application) -> None:
    """Serve the page at / and its files below /static."""
    for entry in resources.files(__package__).joinpath("static").iterdir():
        content = entry.read_bytes()
        kind = mimetypes.guess_type(entry.name)[0] or "text/plain"
        tag = f'"{sha256(content).hexdigest()[:20]}"'
        file = _File(content, gzip.compress(content, mtime=0), kind, tag)
        app.router.add_get("/" if entry.name == _INDEX else f"/static/{entry.name}", file.serve)
