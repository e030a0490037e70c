"""Open ports that outlive the process behind them: whoever takes its place goes on with the connections that wait.

A port is handed on as systemd hands its sockets to services: as open file descriptors, which the environment names.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from connectors.errors import Fatal

_HANDED = "OPEN_PORT"
"""The environment variable that names them: `host:port=3,4`."""
_BACKLOG = 128
_mine: list[tuple[str, int, Sequence[socket.socket]]] = []
"""What this process listens on."""


def opened(host: str, port: int, *, is_shared: bool = False) -> Sequence[socket.socket]:
    """The sockets of a port, one for each address of the host: those that were handed on, else new ones.

    Args:
        host: to listen on.
        port: to listen on; 0: a free one.
        is_shared: other processes may listen on it with sockets of their own.

    Raises:
        Fatal: it cannot be had.
    """
    found = _taken_over(host, port) or new(host, port, is_shared=is_shared)
    _mine.append((host, port, found))
    return found


def new(host: str, port: int, *, is_shared: bool = False) -> Sequence[socket.socket]:
    """As `opened`, but never what was handed on."""
    found: list[socket.socket] = []
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in addresses):
            found.append(socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=is_shared))
    except OSError as error:
        close(found)
        reason = str(error.strerror or error).partition(" (while")[0]  # what Python adds is said already
        raise Fatal(f"port {port} on {host} cannot be used ({reason})") from error
    return found


def handed(host: str, port: int, sockets: Iterable[socket.socket]) -> Mapping[str, str]:
    """The variable that tells a child which of its file descriptors are an open port."""
    return {_HANDED: f"{host}:{port}={','.join(str(each.fileno()) for each in sockets)}"}


def keep() -> None:
    """Have the port that this process listens on stay open for the program that takes its place (`exec`)."""
    for host, port, sockets in _mine:
        kept = [each.dup() for each in sockets]  # what is served on is closed when serving ends
        os.environ |= handed(host, port, kept)
        for each in kept:
            os.set_inheritable(each.detach(), True)  # noqa: FBT003  its only argument


class Kept:
    """Open ports that a supervisor keeps, while the programs that listen on them are replaced."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int], Sequence[socket.socket]] = {}

    def of(self, host: str, port: int, number: int = 0) -> Sequence[socket.socket]:
        """The sockets of a port.

        Args:
            host: to listen on.
            port: to listen on.
            number: of the program, where several share the port: each has sockets of its own.

        Raises:
            Fatal: it cannot be had.
        """
        key = host, port, number
        if key not in self._open or any(each.fileno() < 0 for each in self._open[key]):
            if not number:
                close(_taken_over(host, port))  # of one that did not share it
                close(new(host, port))  # to share a port is to be asked for: it may be another's
            self._open[key] = new(host, port, is_shared=True)
        return self._open[key]


def close(sockets: Iterable[socket.socket]) -> None:
    """Close them; whoever else has them goes on with them."""
    for each in sockets:
        each.close()


def _taken_over(host: str, port: int) -> Sequence[socket.socket]:
    place, _, numbers = os.environ.pop(_HANDED, "").rpartition("=")
    found = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    if place == f"{host}:{port}":
        return found
    close(found)  # of a port that the settings do not name any more
    return []
