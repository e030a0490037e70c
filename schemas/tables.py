"""Every table of a source's database: what is stored under which identity.

What people query under a table's name is a view that is exact at any moment; the rows behind it may repeat.
"""

from dataclasses import dataclass

from schemas.columns import IDENTITIES, INTEGER, LABEL, TEXT, TIME, UNSIGNED, Column
from schemas.events import EVENTS, EventType

STORED_AT = Column("stored_at", TIME, computed=True, default="now64(3)")
"""When a row was written. Of rows with one identity the one written last counts, so a replay fills new columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of rows that repeat, and the exact view over it.

    Attributes:
        name: what people query.
        columns: what they see there.
        identity: the columns that make two rows the same; also the order on disk.
        time: the column whose month divides the table into partitions. It must be part of the identity or follow from
            it: only rows of one partition are recognized as repeats.
        version: of rows with one identity the one with the highest version counts.
        searched: columns by whose value single rows are looked up.
    """

    name: str
    columns: tuple[Column, ...]
    identity: tuple[str, ...]
    time: str
    version: Column = STORED_AT
    searched: tuple[str, ...] = ()

    @property
    def rows(self) -> str:
        """The table that holds the rows, repeats included: what inserts go to."""
        return f"{self.name.lstrip('_')}_rows"


def event_table(event: EventType) -> Table:
    """The table of one event type."""
    return Table(
        event.table,
        event.columns,
        identity=("timestamp", "event_id"),
        time="timestamp",
        searched=("user_id", "email", "sg_message_id"),
    )


EVENT_TABLES = {event.name: event_table(event) for event in EVENTS}
"""By the wire name of the event."""

DELIVERIES = Table(
    "deliveries",
    (
        Column("partition", UNSIGNED),
        Column("offset", UNSIGNED),
        Column("received_at", TIME),
        Column("verified", LABEL),
        Column("bytes", UNSIGNED),
        Column("events", INTEGER),
        Column("malformed", INTEGER),
        Column("identities", IDENTITIES),
        Column("expired", UNSIGNED),
    ),
    identity=("received_at", "partition", "offset"),
    time="received_at",
)
"""One row per accepted POST, by its record in the raw topic; `identities` are hashes of its events' identities.

`expired` raw records just before it were taken by retention before anybody had read them. A replayed dead letter has a
row too, whose `events` and `malformed` are what it changes in the sums: they may be 0 or negative. The receive time is
part of the identity because a topic made anew counts its offsets from 0 again.
"""

DEAD_LETTERS = Table(
    "dead_letters",
    (
        Column("id", TEXT),
        Column("source", LABEL),
        Column("step", LABEL),
        Column("reason", TEXT),
        Column("received_at", TIME),
        Column("payload", TEXT),
        Column("encoding", LABEL),
        Column("topic", LABEL),
        Column("state", LABEL),
        Column("changed_at", TIME),
    ),
    identity=("received_at", "id"),
    time="received_at",
    version=Column("changed_at", TIME),
)
"""What could not be processed.

Its version is when its state changed: a letter that Kafka delivers twice does not undo what was done about it.
"""

TABLES = (*EVENT_TABLES.values(), DELIVERIES, DEAD_LETTERS)
