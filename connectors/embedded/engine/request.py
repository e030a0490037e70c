"""What a URL asks, apart from the statement."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.embedded.engine.errors import QueryError

MAX_SESSION_TIMEOUT = 3600
_PARAMETER = "param_"
# Taken from the URL here, or meant for a real server's HTTP handler; everything else in it is a setting.
_NOT_SETTINGS = frozenset(
    {
        *("query", "user", "password", "quota_key", "role", "database", "default_format", "query_id", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("network_compression_method", "network_zstd_compression_level", "send_logs_level", "readonly"),
        *("wait_end_of_query", "http_wait_end_of_query", "buffer_size", "http_response_buffer_size"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "add_http_cors_header"),
        *("http_write_exception_in_output_format", "cancel_http_readonly_queries_on_client_close"),
    }
)


@dataclass(frozen=True)
class SessionWish:
    """The session a request belongs to: its id, how many seconds it lasts after it, and whether it must exist."""

    id: str
    timeout: float
    must_exist: bool
    ends: bool


@dataclass(frozen=True)
class Request:
    """One query over HTTP. `settings` and `parameters` are as in the URL: text, parameters in ClickHouse's escaping."""

    query: str
    database: str
    default_format: str
    query_id: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session: SessionWish | None
    compress: str = ""  # the result in ClickHouse's own compression: LZ4, ZSTD or NONE; "" for none
    decompress: bool = False
    http_compression: bool = False
    whole: bool = False  # nothing is sent before the statement has ended
    reads: bool = False  # it must change nothing
    protocol_version: int = 0
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)  # by which the engine finds the statement again

    @classmethod
    def parse(cls, params: Mapping[str, str], headers: Mapping[str, str]) -> "Request":
        """Read the URL's parameters, as ClickHouse names them.

        Raises:
            QueryError: A value is wrong.
        """
        return cls(
            query=params.get("query", ""),
            database=headers.get("X-ClickHouse-Database", "") or params.get("database", ""),
            default_format=_format(headers.get("X-ClickHouse-Format", "") or params.get("default_format", "")),
            query_id=_query_id(params.get("query_id", "") or headers.get("X-ClickHouse-Query-Id", "")),
            settings={
                name: value
                for name, value in params.items()
                if name and name not in _NOT_SETTINGS and not name.startswith(_PARAMETER)
            },
            parameters={
                name.removeprefix(_PARAMETER): value for name, value in params.items() if name.startswith(_PARAMETER)
            },
            session=_session(params),
            compress=params.get("network_compression_method", "LZ4").upper() if _flag(params, "compress") else "",
            decompress=_flag(params, "decompress"),
            http_compression=_flag(params, "enable_http_compression"),
            whole=_flag(params, "wait_end_of_query") or _flag(params, "http_wait_end_of_query"),
            reads=params.get("readonly", "0") != "0",
            protocol_version=_number(params, "client_protocol_version"),
        )


def _flag(params: Mapping[str, str], name: str) -> bool:
    value = params.get(name, "0").lower()
    if value in {"1", "true", "0", "false", ""}:
        return value in {"1", "true"}
    raise QueryError(467, "CANNOT_PARSE_BOOL", f"Cannot parse boolean value '{value}' of the URL parameter {name}")


def _format(name: str) -> str:
    if re.fullmatch(r"\w*", name, re.ASCII):  # it becomes a part of the statement
        return name or "TabSeparated"
    raise QueryError(73, "UNKNOWN_FORMAT", f"Unknown format {name}")


def _query_id(value: str) -> str:
    if value.isprintable():  # it becomes a header
        return value or str(uuid.uuid4())
    raise QueryError(36, "BAD_ARGUMENTS", "The query_id has characters that can't be printed")


def _number(params: Mapping[str, str], name: str) -> int:
    value = params.get(name, "0")
    if not value.isdecimal():
        raise QueryError(72, "CANNOT_PARSE_NUMBER", f"Cannot parse number '{value}' of the URL parameter {name}")
    return int(value)


def _session(params: Mapping[str, str]) -> SessionWish | None:
    if not params.get("session_id"):
        return None
    timeout = params.get("session_timeout", "60")
    if not timeout.isdecimal() or int(timeout) > MAX_SESSION_TIMEOUT:
        raise QueryError(
            374,
            "INVALID_SESSION_TIMEOUT",
            f"Invalid session timeout: '{timeout}'. Maximum: {MAX_SESSION_TIMEOUT}",
        )
    return SessionWish(
        params["session_id"], int(timeout), params.get("session_check") == "1", _flag(params, "close_session")
    )
