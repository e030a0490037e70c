"""A chunk that is acknowledged when everything in it has been settled."""

from streams.transport import Chunk


class Ticket:
    """Counts what is left to do of a chunk.

    Args:
        chunk: to be acknowledged.
        left: things to settle; with none, it is acknowledged at once.
    """

    def __init__(self, chunk: Chunk, left: int) -> None:
        self.since = chunk.records[0].timestamp
        self._chunk = chunk
        self._left = left
        self._end()

    @property
    def open(self) -> bool:
        """Whether there is something left."""
        return self._left > 0

    def settle(self, count: int = 1) -> None:
        """So many are delivered, put aside or skipped."""
        self._left -= count
        self._end()

    def _end(self) -> None:
        if self._left <= 0:
            self._chunk.acknowledge()
