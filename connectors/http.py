"""Clients of outside HTTP interfaces: their sessions, and what an answer means.

Status codes are translated to errors here and nowhere else.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import aiohttp

from connectors.errors import Fatal, GridstreamError, Reject, Retry

_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN = 500
_HIDDEN = "(not shown)"


class Client(ABC):
    """Of an HTTP interface. An async context manager: it opens a session, and closes it."""

    __session: aiohttp.ClientSession | None = None

    @abstractmethod
    def _opened(self) -> aiohttp.ClientSession:
        """A new session, that suits the interface."""

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self.__session, "not open"
        return self.__session

    async def __aenter__(self) -> Self:
        self.__session = self._opened()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()


class NotFoundError(Fatal):
    """What an address names is not there."""


class UnauthorizedError(Fatal):
    """The credentials are none, or not any more."""


class ForbiddenError(Fatal):
    """The credentials are good, but not for this."""


_FATAL = {401: UnauthorizedError, 403: ForbiddenError, 404: NotFoundError, 405: Fatal}


def error_for(status: int, text: str, headers: Mapping[str, str], system: str) -> GridstreamError:
    """The error for an answer that is not a success.

    Args:
        status: the HTTP status code.
        text: the answer's body; its beginning is shown.
        headers: the answer's; `Retry-After` in seconds and `X-RateLimit-Reset` in seconds since 1970 are respected.
        system: who answered, for people.
    """
    reason = f"{system} answered {status}: {text[:_SHOWN].strip()}"
    if status in _RETRY:
        return Retry(reason, _wait(headers))
    fatal = _FATAL.get(status)
    return fatal(reason) if fatal else Reject(reason, text)


def redacted(text: str, *secrets: str) -> str:
    """A text without secrets: an answer may repeat what it was asked with, and what it says ends in logs and tables."""
    for secret in filter(None, secrets):
        text = text.replace(secret, _HIDDEN)
    return text


def _wait(headers: Mapping[str, str]) -> float | None:
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal():
        return float(after)
    # SendGrid sends the reset with every answer: only where nothing is left does it say when to come again.
    if reset.isdecimal() and headers.get("X-RateLimit-Remaining", "0") == "0":
        return max(0.0, int(reset) - time.time())
    return None
