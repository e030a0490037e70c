"""What a destination has not had yet: chunks that are acknowledged when everything in them has been settled."""

from collections import deque
from collections.abc import Callable

from streams import metrics
from streams.chunks import Chunk


class Ticket:
    """Counts what is left to do of a chunk.

    Args:
        chunk: to be acknowledged.
        left: things to settle; with none, it is acknowledged at once.

    Attributes:
        since: when its oldest record was written, in milliseconds since 1970.
    """

    def __init__(self, chunk: Chunk, left: int) -> None:
        self.since: int = chunk.since
        self.left = left
        self._chunk = chunk
        self._end()

    def settle(self) -> None:
        """One is delivered or put aside."""
        self.left -= 1
        self._end()

    def _end(self) -> None:
        if not self.left:
            self._chunk.acknowledge()


class Outstanding:
    """The open tickets of one destination, in its metrics.

    Args:
        destination: its name there.
        now: seconds since 1970.
    """

    def __init__(self, destination: str, now: Callable[[], float]) -> None:
        self._now = now
        self._tickets: deque[Ticket] = deque()
        metrics.DELAYED.labels(destination).set_function(self._left)
        metrics.OLDEST_WAITING.labels(destination).set_function(self._oldest)

    def add(self, ticket: Ticket) -> None:
        """One more chunk."""
        while self._tickets and not self._tickets[0].left:
            self._tickets.popleft()
        self._tickets.append(ticket)

    def _left(self) -> float:
        return sum(ticket.left for ticket in self._tickets)

    def _oldest(self) -> float:
        since = min((ticket.since for ticket in self._tickets if ticket.left), default=None)
        return 0.0 if since is None else max(0.0, self._now() - since / 1000)
