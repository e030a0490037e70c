"""ClickHouse over HTTP: queries, and inserts of ready lines. Server, cluster and embedded engine are all the same."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.query import QueryResult

from connectors.errors import Fatal, Reject, Retry
from connectors.tls import trusting

_INSERT_SETTINGS = {
    # ClickHouse's defaults change between versions (26.2 made inserts asynchronous): nothing is left to them.
    "async_insert": "0",
    "wait_end_of_query": "1",
    "optimize_on_insert": "0",
    "input_format_parallel_parsing": "0",
    "input_format_skip_unknown_fields": "0",
    "throw_on_max_partitions_per_insert_block": "0",
    "deduplicate_insert": "disable",
    "distributed_foreground_insert": "1",  # on a cluster: confirmed by the shards, not by a queue on the way to them
}
_POISON = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
        636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
    }
)
"""Error codes that say: this row, never."""
_FATAL = frozenset(
    {
        16,  # NO_SUCH_COLUMN_IN_TABLE
        47,  # UNKNOWN_IDENTIFIER
        60,  # UNKNOWN_TABLE
        62,  # SYNTAX_ERROR
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        192,  # UNKNOWN_USER
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
    }
)
"""Error codes that a person must do something about."""
_TOO_LARGE = "HTTP driver received HTTP status 413"
"""What a load balancer that takes no body this large becomes in the driver; it has no attribute for the status."""
_SHOWN = 600
_CONNECT_SECONDS = 10
ANSWER_SECONDS = 60


class ClickHouse:
    """A connection to ClickHouse's HTTP interface. An async context manager, that connects and disconnects.

    Args:
        url: http(s)://user:password@host:port.
        timeout: seconds that an answer may take.
        ca_certificate: certificates of the authorities that may have signed the server's; empty: those of the system.
    """

    def __init__(self, url: str, timeout: float = ANSWER_SECONDS, ca_certificate: str = "") -> None:
        self._timeout = timeout
        self._ca_certificate = ca_certificate
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._target: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or (8443 if secure else 8123),
            "secure": secure,
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        self._client: AsyncClient | None = None

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self._target['host']}:{self._target['port']}"

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect and ask the server what it is.

        Raises:
            Retry: it does not answer.
            Fatal: it refuses the user or the password, or the file of the authorities cannot be used.
        """
        if self._ca_certificate:
            trusting(self._ca_certificate, "clickhouse")  # the driver would say no more than that a file is missing
        with self._translated():
            self._client = await clickhouse_connect.get_async_client(
                **self._target,
                autogenerate_session_id=False,  # a session runs one query at a time
                connect_timeout=_CONNECT_SECONDS,
                send_receive_timeout=self._timeout,
                query_retries=0,
                ca_cert=self._ca_certificate or None,
            )

    async def close(self) -> None:
        """Disconnect."""
        if self._client:
            await self._client.close()

    async def insert(self, table: str, lines: Iterable[bytes]) -> None:
        """Insert rows that are JSON objects, one a line, with the table's column names.

        The same rows may be inserted again: their identity makes them one.

        Args:
            table: quoted for SQL.
            lines: in pieces, made while they are sent: no insert is in memory as a whole.

        Raises:
            Retry: not now; nothing, a part or all may have been written.
            Reject: ClickHouse cannot read a row among them, or takes no body this large.
            Fatal: the table or the right to write it is missing.
        """
        with self._translated():
            await self._connected.raw_insert(
                table, insert_block=_stream(lines), fmt="JSONEachRow", settings=_INSERT_SETTINGS
            )

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> QueryResult:
        """Run any statement. `{name:Type}` in it takes the parameter of that name.

        Raises:
            Retry, Reject, Fatal: as insert.
        """
        with self._translated():
            return await self._connected.query(sql, parameters=dict(parameters or {}))

    @property
    def _connected(self) -> AsyncClient:
        assert self._client, "not connected"
        return self._client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ClickHouseError, aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"ClickHouse at {self.address}: {str(error)[:_SHOWN].strip() or type(error).__name__}"
            raise _meaning(error)(reason) from error


async def _stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _meaning(error: Exception) -> type[Retry | Reject | Fatal]:
    if str(error).startswith(_TOO_LARGE):
        return Reject
    code = error.code if isinstance(error, DriverError) else None
    if code in _POISON:
        return Reject
    return Fatal if code in _FATAL else Retry
