"""What all areas of SendGrid's API have in common: routes, errors, pages."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson

from tests.fakes.server import Answer, Call

Json = Any
T = TypeVar("T")


class Refusal(Exception):  # noqa: N818  it is an answer
    """An answer that refuses, in SendGrid's form (facts 0): `{"errors": [{"field", "message"}, …]}`.

    Args:
        status: HTTP's.
        errors: pairs of field and message.
    """

    def __init__(self, status: int, *errors: tuple[str | None, str]) -> None:
        super().__init__(status, errors)
        self.status = status
        self.body: Json = {"errors": [{"field": field, "message": message} for field, message in errors]}


def invalid(field: str | None, message: str) -> Refusal:
    """A 400 for one field."""
    return Refusal(400, (field, message))


def not_found(message: str = "resource not found") -> Refusal:
    """A 404."""
    return Refusal(404, (None, message))


@dataclass(frozen=True, slots=True)
class Request:
    """A call that has found its route.

    Attributes:
        call: as it came.
        params: the parts of the path that the route names.
    """

    call: Call
    params: Mapping[str, str]

    @property
    def query(self) -> Mapping[str, str]:
        """Of the URL."""
        return self.call.query

    @property
    def id(self) -> str:
        """The `{id}` of the route."""
        return self.params["id"]

    def json(self, *, default: Json = None) -> dict[str, Json]:
        """The body, which has to be a JSON object.

        Args:
            default: for an empty body.
        """
        if not self.call.content and default is not None:
            body = default
        else:
            try:
                body = orjson.loads(self.call.content)
            except orjson.JSONDecodeError:
                body = None
        if not isinstance(body, dict):
            raise invalid(None, "Bad Request: the body is not a JSON object")
        return body

    def integer(self, name: str, default: int | None, least: int, most: int) -> int:
        """A number in the query; without a default it has to be there."""
        text = self.query.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.isdecimal() or not least <= int(text) <= most:
            raise invalid(name, f"{name} must be a number from {least} to {most}")
        return int(text)


Handler = Callable[[Request], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Attributes:
        method: HTTP's.
        path: with `{name}` for a part that varies.
        handler: what it does.
        scope: what a key needs for it (facts 4); empty is none but a valid key.
        writes: whether a key that may only read is refused.
        is_open: whether it needs no key at all.
        has_rate_limit: whether its answers carry X-RateLimit-* headers.
    """

    method: str
    path: str
    handler: Handler
    scope: str = ""
    writes: bool = False
    is_open: bool = False
    has_rate_limit: bool = True


class Ids:
    """Identifiers, the same ones in each run."""

    def __init__(self) -> None:
        self._random = Random(0)

    def uuid(self) -> str:
        """36 characters, as most objects have."""
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def token(self) -> str:
        """22 characters of Base64url, as messages have."""
        return urlsafe_b64encode(self._random.randbytes(16)).decode().rstrip("=")


def text(body: Mapping[str, Json], name: str, most: int, least: int = 1) -> str:
    """A text of a body, which has to be there and of such a length."""
    value = body.get(name)
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise invalid(name, f"{name} must be a string of {least} to {most} characters")
    return value


def page(request: Request, items: Mapping[str, T], default: int | None = 100, most: int = 1000) -> tuple[list[T], Json]:
    """One page of objects, and its `_metadata` (facts 2.2, 7.1).

    `_metadata.next` is a full URL, absent on the last page. The token says behind which id the page begins, so that
    what is added or removed meanwhile shifts nothing.

    Args:
        request: with page_size and page_token.
        items: all of them, by id.
        default: the page size that is not asked for; without, it has to be.
        most: the largest page.
    """
    size = request.integer("page_size", default, 1, most)
    token = request.query.get("page_token", "")
    try:
        after = urlsafe_b64decode(token).decode("ascii")
    except ValueError:
        raise invalid("page_token", "page_token is not valid") from None
    ids = sorted(items)
    start = bisect_right(ids, after)
    chosen = ids[start : start + size]
    metadata = {"self": _page_url(request, size, after), "count": len(ids)}
    if start:
        metadata["prev"] = _page_url(request, size, ids[start - size - 1] if start > size else "")
    if start + size < len(ids):
        metadata["next"] = _page_url(request, size, chosen[-1])
    return [items[each] for each in chosen], metadata


def _page_url(request: Request, size: int, after: str) -> str:
    query = dict(request.query) | {"page_size": str(size), "page_token": urlsafe_b64encode(after.encode()).decode()}
    if not after:
        del query["page_token"]
    return f"{request.call.origin}{request.call.path}?{urlencode(query)}"


def strings(value: Json, name: str, most: int = 100_000) -> Sequence[str]:
    """A list of texts of a body."""
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) for each in value):
        raise invalid(name, f"{name} must be an array of at most {most} strings")
    return value
