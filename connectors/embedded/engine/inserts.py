"""INSERT with rows in the request: fed to the engine piece by piece while they arrive."""

import contextlib

from connectors.embedded.engine.connection import Insert, Outcome
from connectors.embedded.engine.errand import Errand
from connectors.embedded.engine.lanes import Lane
from connectors.embedded.engine.receiving import Sent


async def insert(errand: Errand, lane: Lane, sent: Sent) -> Outcome:
    """Run an INSERT to its end.

    A client that leaves before its last row inserts nothing: what it sent is dropped, not stored as if it were whole.

    Args:
        errand: The request.
        lane: The threads for it; a place is held from the first piece to the last.
        sent: An INSERT that brings rows.

    Raises:
        QueryError: What ClickHouse says, or 202.
        ConnectionError: The client is gone.
    """
    with lane.place():
        work = _Work(errand, sent)
        try:
            await lane.run(work.begin)
            while sent.body and (piece := await sent.body.piece()):
                await lane.run(work.append, piece)
            return await lane.run(work.finish)
        except BaseException:
            await lane.run(work.abort)
            raise


class _Work:
    """The part that blocks: each method is one visit to a thread."""

    def __init__(self, errand: Errand, sent: Sent) -> None:
        self._errand = errand
        self._sent = sent
        self._open = contextlib.ExitStack()
        self._insert: Insert | None = None

    def begin(self) -> None:
        text, rows, _ = self._sent
        assert rows
        connection = self._open.enter_context(self._errand.connected())
        connection.set({f"param_{name}": value for name, value in self._errand.request.parameters.items()})
        self._insert = connection.insert(rows.head, rows.format)
        self._insert.append(text[rows.data :])

    def append(self, piece: bytes) -> None:
        assert self._insert
        assert self._sent.body
        self._insert.append(self._sent.body.decode(piece))

    def finish(self) -> Outcome:
        assert self._insert
        if self._sent.body:
            self._sent.body.finish()
        outcome = self._insert.finish()
        self._insert = None
        self._open.close()
        return outcome

    def abort(self) -> None:
        with self._open:
            if self._insert:
                self._insert.cancel()
