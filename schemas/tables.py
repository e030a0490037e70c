"""Every table of a source's database: what is stored under which identity.

What people query under a table's name is a view that is exact at any moment; the rows behind it may repeat.
"""

from dataclasses import dataclass

from schemas.columns import COUNTS, EMAIL, IDENTITIES, INTEGER, LABEL, TEXT, TIME, UNSIGNED, Column
from schemas.events import EVENTS, EventType
from schemas.objects import OBJECTS, ObjectType

STORED_AT = Column("stored_at", TIME, computed=True, default="now64(3)")
"""When a row was written. Of rows with one identity the one written last counts, so a replay fills new columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of rows that repeat, and the exact view over it.

    Attributes:
        name: what people query.
        columns: what they see there.
        identity: the columns that make two rows the same; also the order on disk.
        time: the column whose month divides the table into partitions; empty: one. It must be part of the identity or
            follow from it: only rows of one partition are recognized as repeats.
        version: of rows with one identity the one with the highest version counts.
        searched: columns by whose value single rows are looked up.
        expires: a ClickHouse TTL expression: rows that nobody needs after a while.
        looked_through: whether somebody looks every second for rows that are new, by their version.
        aged_by: the time by which a row's age counts, where rows may be kept for so many days only,
        kept_as: and the name under which the setting says for how many.
    """

    name: str
    columns: tuple[Column, ...]
    identity: tuple[str, ...]
    time: str = ""
    version: Column = STORED_AT
    searched: tuple[str, ...] = ()
    expires: str = ""
    looked_through: bool = False
    aged_by: str = ""
    kept_as: str = ""

    @property
    def rows(self) -> str:
        """The table that holds the rows, repeats included: what inserts go to."""
        return f"{self.name.lstrip('_')}_rows"


EVENTS_KEPT = "events"
"""Events, and what the account knows of them, are kept for the same time from their receipt on: so it balances."""


def event_table(event: EventType) -> Table:
    """The table of one event type."""
    return Table(
        event.table,
        event.columns,
        identity=("timestamp", "event_id"),
        time="timestamp",
        searched=("user_id", "email", "sg_message_id"),
        looked_through=True,
        aged_by="received_at",
        kept_as=EVENTS_KEPT,
    )


EVENT_TABLES = {event.name: event_table(event) for event in EVENTS}
"""By the wire name of the event."""

_REMOVED = Column("removed", IDENTITIES)

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
        _REMOVED,
    ),
    identity=("received_at", "partition", "offset"),
    time="received_at",
    aged_by="received_at",
    kept_as=EVENTS_KEPT,
)
"""One row per accepted POST, by its record in the raw topic; `identities` are hashes of its events' identities.

`removed` are keyed hashes of the identities of events that became no rows, as their person is forgotten.
`expired` raw records just before it were taken by retention before anybody had read them. A replayed dead letter has a
row too, whose `events` and `malformed` are what it changes in the sums: they may be 0 or negative. The receive time is
part of the identity because a topic made anew counts its offsets from 0 again.
"""

REMOVALS = Table(
    "removals",
    (
        Column("identity", UNSIGNED),
        Column("received_at", TIME),
        Column("removed_at", TIME),
    ),
    identity=("identity",),
    aged_by="received_at",
    kept_as=EVENTS_KEPT,
)
"""One row per event whose row was taken out again, by a keyed hash of its identity, which no delivery has any more."""

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
    aged_by="received_at",
    kept_as=EVENTS_KEPT,
)
"""What could not be processed.

Its version is when its state changed: a letter that Kafka delivers twice does not undo what was done about it.
"""

COHORT_BATCHES = Table(
    "cohort_batches",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("message_id", TEXT),
        Column("name", TEXT),
        Column("action", LABEL),
        Column("version", UNSIGNED),
        Column("users", UNSIGNED),
        Column("no_email", UNSIGNED),
        Column("received_at", TIME),
    ),
    identity=("account", "cohort", "message_id"),
)
"""One row per message of a cohort webhook. `version` orders changes, whenever they arrive; the higher one counts."""

COHORT_CHANGES = Table(
    "cohort_changes",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("email", TEXT),
        Column("version", UNSIGNED),
        Column("action", LABEL),
        Column("user_id", TEXT),
        Column("traits", TEXT),
        Column("received_at", TIME),
    ),
    identity=("account", "cohort", "email", "version"),
    expires="toDateTime(received_at) + INTERVAL 1 DAY DELETE WHERE cohort = ''",
)
"""What was said about each person's membership: the wishes. Traits are JSON.

What was said about contacts on no list goes after a day. What was said of lists stays, to make a lost list anew.
"""

COHORT_STATES = Table(
    "cohort_states",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("email", TEXT),
        Column("user_id", TEXT),
        Column("phase", LABEL),
        Column("version", UNSIGNED),
        Column("handled", UNSIGNED),
        Column("sync", TEXT),
        Column("since", TIME),
    ),
    identity=("account", "cohort", "email"),
)
"""What was done about each person's membership.

`phase`: `sending`, written before the call; then `on`, `rejected` or `off`. `version` is that of the newest wish which
the phase is about, `handled` that of the newest which is done: while sending, the one before. `since` is when somebody
came onto the list, 1970 as long as they are not known to be on it.
"""

COHORT_LISTS = Table(
    "cohort_lists",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("name", TEXT),
        Column("list", TEXT),
        Column("list_id", TEXT),
    ),
    identity=("account", "cohort"),
)
"""Which SendGrid list a cohort has; `name` is the cohort's, `list` the list's."""

CONTACT_SYNCS = Table(
    "contact_syncs",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("id", TEXT),
        Column("list", TEXT),
        Column("list_id", TEXT),
        Column("job_id", TEXT),
        Column("state", LABEL),
        Column("message", TEXT),
        Column("requested", UNSIGNED),
        Column("created", UNSIGNED),
        Column("updated", UNSIGNED),
        Column("errored", UNSIGNED),
        Column("removed", UNSIGNED),
        Column("skipped_no_email", UNSIGNED),
        Column("started_at", TIME),
        Column("finished_at", TIME),
    ),
    identity=("account", "cohort", "started_at", "id"),
    time="started_at",
    aged_by="started_at",
    kept_as="contact_syncs",
)
"""One row per import job or removal."""

COHORT_REJECTS = Table(
    "cohort_rejects",
    (
        Column("account", LABEL),
        Column("cohort", LABEL),
        Column("user_id", TEXT),
        Column("email", TEXT),
        Column("reason", TEXT),
        Column("at", TIME),
    ),
    identity=("account", "cohort", "email", "user_id"),
    aged_by="at",
    kept_as="contact_rejects",
)
"""One row per person whom SendGrid refused, or would. People see it as `contact_rejects`, with the list's name."""

CALLS = Table(
    "calls",
    (
        Column("type", LABEL),
        Column("event", TEXT),
        Column("user_id", TEXT),
        Column("anonymous_id", TEXT),
        Column("message_id", TEXT),
        Column("timestamp", TIME),
        Column("received_at", TIME),
        Column("properties", TEXT),
        Column("traits", TEXT),
        Column("context", TEXT),
    ),
    identity=("timestamp", "message_id"),
    time="timestamp",
    searched=("user_id", "anonymous_id", "event"),
    aged_by="received_at",
    kept_as="calls",
)
"""One row per call of Segment's API; properties, traits and context are JSON. An unknown time is 1970-01-01."""

PULL = Column("pull", UNSIGNED)
"""When the pull began that an object's row is of, in milliseconds since 1970: of two pulls the later one counts."""


def object_table(kind: ObjectType) -> Table:
    """The table of one kind of object."""
    searched = tuple(column.name for column in kind.columns if column.type is EMAIL)
    return Table(kind.name, kind.columns, identity=("id",), version=PULL, searched=searched)


OBJECT_TABLES = {kind.name: object_table(kind) for kind in OBJECTS}
"""By the name of the object."""

SYNCS = Table(
    "syncs",
    (
        Column("object", LABEL),
        Column("source", LABEL),
        Column("started", TIME),
        Column("finished", TIME),
        Column("pulled", UNSIGNED),
        Column("new", UNSIGNED),
        Column("changed", UNSIGNED),
        Column("gone", UNSIGNED),
        Column("error", TEXT),
    ),
    identity=("started", "object"),
    time="started",
    aged_by="started",
    kept_as="syncs",
)
"""One row per sync of one kind of object; `finished` is 1970 while it runs, and for one that was killed."""
MAILS = Table(
    "mails",
    (
        Column("id", TEXT),
        Column("rule", LABEL),
        Column("message_id", TEXT),
        Column("user_id", TEXT),
        Column("email", TEXT),
        Column("template_id", LABEL),
        Column("state", LABEL),
        Column("sg_message_id", TEXT),
        Column("reason", TEXT),
        Column("received_at", TIME),
        Column("changed_at", TIME),
        Column("attempt", UNSIGNED),
        Column("version", UNSIGNED),
        Column("call", TEXT),
    ),
    identity=("id",),
    version=Column("version", UNSIGNED),
    searched=("state", "message_id", "user_id", "email"),
    aged_by="received_at",
    kept_as="mails",
)
"""One row per mail, by the hash of its rule and its call's message id. It stays: a call may be repeated at any time.

`state`: `sending`, written before the call; then `sent`, `sandboxed`, `refused`, `late`, or `uncertain`, whose call may
have arrived; `waiting` for the next attempt; `dropped` by a person. `version` orders these, whoever writes them when.
`call` is the record that it is made of, as long as nothing is decided.
"""

MAIL_CLAIMS = Table(
    "mail_claims",
    (
        Column("id", TEXT),
        Column("attempt", UNSIGNED),
        Column("claimant", TEXT),
        Column("at", TIME),
    ),
    identity=("id", "attempt", "claimant"),
    expires="toDateTime(at) + INTERVAL 30 DAY",
)
"""Who was about to send which mail: of several workers that are, none does. No worker is for long."""

HOURLY = Table(
    "hourly",
    (
        Column("dimension", LABEL),
        Column("event", LABEL),
        Column("hour", TIME),
        Column("counts", COUNTS),
    ),
    identity=("dimension", "event", "hour"),
    time="hour",
    version=Column("counted_at", TIME, computed=True, default="now64(3)"),
    aged_by="hour",
    kept_as=EVENTS_KEPT,
)
"""How many events of an hour had which value of a dimension: one row for all values, so that a new count of the hour
replaces them at once, those that no event has any more included. schemas/rollups.py says what the dimensions are.
"""

TABLES = (
    *EVENT_TABLES.values(),
    *OBJECT_TABLES.values(),
    SYNCS,
    DELIVERIES,
    REMOVALS,
    DEAD_LETTERS,
    COHORT_BATCHES,
    COHORT_CHANGES,
    COHORT_STATES,
    COHORT_LISTS,
    CONTACT_SYNCS,
    COHORT_REJECTS,
    CALLS,
    MAILS,
    MAIL_CLAIMS,
    HOURLY,
)

KEPT_AS = tuple(dict.fromkeys(table.kept_as for table in TABLES if table.kept_as))
"""What can be kept for a number of days."""
