"""What an HTTP answer means: status codes are translated to errors here and nowhere else."""

from collections.abc import Mapping

from connectors.errors import Fatal, GridstreamError, Reject, Retry

_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_FATAL = frozenset({401, 403, 404, 405})
_SHOWN = 500


def error_for(status: int, text: str, headers: Mapping[str, str], system: str) -> GridstreamError:
    """The error for an answer that is not a success.

    Args:
        status: the HTTP status code.
        text: the answer's body; its beginning is shown.
        headers: the answer's; `Retry-After` in seconds is respected.
        system: who answered, for people.
    """
    reason = f"{system} answered {status}: {text[:_SHOWN].strip()}"
    if status in _RETRY:
        return Retry(reason, _seconds(headers.get("Retry-After", "")))
    return Fatal(reason) if status in _FATAL else Reject(reason)


def _seconds(value: str) -> float | None:
    return float(value) if value.isdecimal() else None
