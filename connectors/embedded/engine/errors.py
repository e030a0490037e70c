"""The one error of this package, and how ClickHouse puts it into HTTP."""

import re
from http import HTTPStatus

_CODE = re.compile(r"Code: (\d+)\. ")
_VERSION = re.compile(r"\(version [^)]*\)\.?\s*(\(\w+\))?$")

# As ClickHouse's HTTP handler maps them; every other code is 500.
_STATUS = {
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 497, 512, 516), 403),  # who is it, and may they
    **dict.fromkeys((6, 8, 15, 16, 25, 26, 27, 36, 38, 41, 44, 53, 56, 62, 72, 117), 400),  # it can't be read
    **dict.fromkeys((167, 168, 179, 280, 281, 321, 376, 427, 441, 675, 676), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),  # there is no such thing
    159: 408,  # TIMEOUT_EXCEEDED
    381: 411,  # HTTP_LENGTH_REQUIRED
    229: 413,  # QUERY_IS_TOO_LARGE
    779: 415,  # UNSUPPORTED_MEDIA_TYPE
    48: 501,  # NOT_IMPLEMENTED
    **dict.fromkeys((76, 209, 439), 503),  # CANNOT_OPEN_FILE, SOCKET_TIMEOUT, CANNOT_SCHEDULE_TASK
}

CLIENT_ERRORS = frozenset(code for code, status in _STATUS.items() if status != HTTPStatus.SERVICE_UNAVAILABLE)
"""Codes of what is wrong with a statement or its sender: all with a status of their own but 503."""


class QueryError(Exception):
    """What ClickHouse answers instead of a result.

    Attributes:
        code: ClickHouse's number for it, 164 for READONLY.
        text: `Code: 164. DB::Exception: … (READONLY)`, as ClickHouse writes it.
    """

    def __init__(self, code: int, name: str, message: str) -> None:
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {message.rstrip('.')}. ({name})"
        super().__init__(self.text)

    @classmethod
    def from_engine(cls, text: str) -> "QueryError":
        """Take over an error in the engine's own words; words without a code are UNKNOWN_EXCEPTION."""
        found = _CODE.search(text)
        if found is None:
            return cls(1002, "UNKNOWN_EXCEPTION", text)
        error = cls(int(found[1]), "", "")
        error.text = text[found.start() :].strip()
        error.args = (error.text,)
        return error

    @property
    def status(self) -> int:
        """The HTTP status ClickHouse answers with."""
        return _STATUS.get(self.code, 500)

    def body(self, version: str) -> str:
        """The text as a body, with the version that ClickHouse ends it with."""
        return self.text if _VERSION.search(self.text) else f"{self.text} (version {version})"


def trailer(text: str, tag: str) -> bytes:
    """What tells a client in the middle of a result that there is no more to come, and why.

    Args:
        text: The error.
        tag: The 16 characters announced in `X-ClickHouse-Exception-Tag`, so that no data can be mistaken for it.
    """
    message = text.encode()
    return b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
        tag.encode(),
        message,
        len(message) + 1,
        tag.encode(),
    )
