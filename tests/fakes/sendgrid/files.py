"""Files behind pre-signed links, as an object store serves them (facts 1.3, 2.4)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Ids, Request, Route
from tests.fakes.server import Answer


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        content: makes its bytes, anew for each download.
        content_type: of its downloads.
        signature: what a link has to carry.
        expires_at: when links stop working.
    """

    content: Callable[[], Iterable[bytes]]
    content_type: str
    signature: str
    expires_at: float


class Files:
    """All files. A link works without a key, refuses an Authorization header, and expires.

    Attributes:
        all: by name.
    """

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.all: dict[str, File] = {}
        self._clock = clock
        self._ids = ids

    def add(self, name: str, content: Callable[[], Iterable[bytes]], content_type: str, seconds: float) -> str:
        """A new file, whose links work for so long. Returns its name."""
        unique = f"{self._ids.uuid()}/{name}"
        self.all[unique] = File(content, content_type, self._ids.token(), self._clock.now() + seconds)
        return unique

    def url(self, name: str, origin: str) -> str:
        """The link to a file."""
        return f"{origin}/storage/{name}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={self.all[name].signature}"

    def routes(self) -> Iterator[Route]:
        """Not SendGrid's own."""
        yield Route("GET", "/storage/{folder}/{name}", self._get, is_open=True, has_rate_limit=False)

    def _get(self, request: Request) -> Answer:
        file = self.all.get(f"{request.params['folder']}/{request.params['name']}")
        if "authorization" in request.call.headers:
            return _refused(400, "InvalidArgument", "Only one auth mechanism allowed")
        if file is None:
            return _refused(404, "NoSuchKey", "The specified key does not exist.")
        if request.query.get("X-Amz-Signature") != file.signature:
            return _refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        if file.expires_at <= self._clock.now():
            return _refused(403, "AccessDenied", "Request has expired")
        return Answer(body=iter(file.content()), headers={"Content-Type": file.content_type})


def _refused(status: int, code: str, message: str) -> Answer:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})
