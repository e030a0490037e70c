"""How many connections there are, and which of them gives way to a new one."""

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams import metrics
from streams.ingress.bodies import Bodies


class Connections:
    """Keeps an HTTP server's connections to a number.

    Beyond it each new connection takes the place of another: of one that has brought nothing of use yet, then of the
    body that takes longest, then of a sender that pauses. So whoever floods pushes out the own connections, and a
    sender that delivers at once is served.

    Args:
        most: connections at once.
        bodies: that are being read.
    """

    def __init__(self, most: int, bodies: Bodies) -> None:
        self._most = most
        self._bodies = bodies
        self._server: web.Server | None = None
        self._busy: set[RequestHandler] = set()
        self._proven: set[RequestHandler] = set()

    def guard(self, server: web.Server) -> None:
        """Watch over a server's connections from now on."""
        self._server = server
        made = server.connection_made

        def connection_made(handler: RequestHandler, transport: object) -> None:
            made(handler, transport)  # type: ignore[arg-type]
            connections = server.connections
            if len(connections) > self._most:
                self._make_room(connections)

        server.connection_made = connection_made  # type: ignore[method-assign]

    def began(self, request: web.Request) -> None:
        """A request's headers are there."""
        self._busy.add(request.protocol)

    def ended(self, request: web.Request, *, is_welcome: bool) -> None:
        """A request is answered.

        Args:
            request: that.
            is_welcome: whether it was what this server is for.
        """
        self._busy.discard(request.protocol)
        if is_welcome:
            self._proven.add(request.protocol)
            if len(self._proven) > self._most and self._server:
                self._proven.intersection_update(self._server.connections)

    def _make_room(self, connections: list[RequestHandler]) -> None:
        open_ones = [each for each in connections if each.transport]  # others are being closed already
        if len(open_ones) <= self._most:
            return
        idle = [each for each in open_ones if each not in self._busy]
        newest = connections[-1]
        unproven = next((each for each in idle if each not in self._proven and each is not newest), None)
        paused = next((each for each in idle if each is not newest), None)
        (unproven or self._bodies.longest() or paused or newest).force_close()
        metrics.CROWDED_OUT.inc()
