"""HTTP's basic authentication, of whoever asks an HTTP server of ours."""

from base64 import b64decode
from collections.abc import Iterable
from hmac import compare_digest

from aiohttp import web


def given(request: web.Request) -> bytes:
    """A request's user name and password, joined by a colon; empty where there are none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        return b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""


def is_among(secret: bytes, secrets: Iterable[bytes]) -> bool:
    """Whether a secret is one of some. It takes the same time whichever it is, and if it is none."""
    matches = [compare_digest(secret, each) for each in secrets]
    return any(matches)
