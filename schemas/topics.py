"""Kafka's topics: their names and how they are made."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.events import EVENTS, EventType
from schemas.tables import DEAD_LETTERS, DELIVERIES, EVENT_TABLES, Table

_MB = 2**20
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, and the settings it is made with."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)


RAW_MAX_BYTES = 6 * _MB
"""The largest record of a raw topic: a body at the ingress's limit, with its headers."""
EVENT_MAX_BYTES = 16 * _MB
"""The largest record of any other topic: one element of such a body, escaped in the worst way."""


REPLAY_HEADER = "replay"
"""Of the record of an event that `gridstream replay` made: nothing is sent out again for it,"""
FORWARD_HEADER = "forward"
"""unless it has this header too."""

COHORTS = "gridstream.cohorts"
"""Membership changes of all accounts, keyed by list."""
OBJECTS = "gridstream.objects"
"""Nothing is ever in it: whoever Kafka gives its first partition to is the one worker that syncs objects."""


CALLS = "gridstream.calls"
"""Calls of Segment's API: rows of the table `calls`, keyed by user."""
MAILS = "gridstream.mails"
"""Calls whose event a rule turns into a mail, as `Call.record` writes them, keyed by user."""
VERIFICATION_KEYS = "gridstream.verification-keys"
"""Public keys of Event Webhooks that `gridstream webhook register` set up, keyed by source and webhook; compacted.

In Kafka, because it is the one thing that every ingress has in common and can write to, wherever it runs. Whoever may
write here can post as SendGrid does; so can whoever may write into a raw topic.
"""


SHARED = "gridstream"
"""The owner of topics that belong to no source."""


def owner(topic: str) -> str:
    """Whose records a topic has: a source's name, or SHARED."""
    return topic.partition(".")[0]


FORGOTTEN = "gridstream.forgotten"
"""Who is forgotten, by mark: what is in it stays."""


def raw(source: str) -> str:
    """Bodies of POSTs, byte for byte: what a replay reads."""
    return f"{source}.raw"


def events(source: str, event: EventType) -> str:
    """Normalized events of one type."""
    return f"{source}.events.{event.topic}"


def deliveries(source: str) -> str:
    """One record per raw record that was normalized."""
    return f"{source}.deliveries"


def dead_letters(source: str) -> str:
    """What could not be processed."""
    return f"{source}.dead-letters"


def forward(source: str) -> str:
    """Events that only the forwarder is to process again."""
    return f"{source}.forward"


def relay(source: str) -> str:
    """Copies of POSTs that one relay is to send again."""
    return f"{source}.relay"


def stored(source: str) -> dict[str, Table]:
    """The topics whose records are rows of a table."""
    return {events(source, event): EVENT_TABLES[event.name] for event in EVENTS} | {
        deliveries(source): DELIVERIES,
        dead_letters(source): DEAD_LETTERS,
    }


def shared() -> Iterator[Topic]:
    """The topics that belong to no source."""
    for name in (COHORTS, CALLS):
        yield Topic(name, _settings(EVENT_MAX_BYTES, 7 * _DAY_MS))
    yield Topic(VERIFICATION_KEYS, {"cleanup.policy": "compact"})
    yield of_forgotten()


def of_forgotten() -> Topic:
    """The topic that remembers who is forgotten."""
    return Topic(FORGOTTEN, {"cleanup.policy": "compact"})


def of_objects() -> Iterator[Topic]:
    """The topic by which the workers agree on who syncs objects."""
    yield Topic(OBJECTS)


def of_forward(source: str) -> Topic:
    """The topic beside the events' that the forwarder reads."""
    return Topic(forward(source), _settings(EVENT_MAX_BYTES, 7 * _DAY_MS))


def of_relays(source: str) -> Topic:
    """The topic beside the raw one that relays read."""
    return Topic(relay(source), _settings(EVENT_MAX_BYTES, 7 * _DAY_MS))


def of_mail() -> Iterator[Topic]:
    """The topic of mails, whichever rules there are."""
    yield Topic(MAILS, _settings(EVENT_MAX_BYTES, 7 * _DAY_MS))


def of_source(source: str, raw_retention_ms: int = 7 * _DAY_MS) -> Iterator[Topic]:
    """All topics of a source.

    Args:
        source: its name.
        raw_retention_ms: how long bodies are kept.
    """
    yield Topic(raw(source), _settings(RAW_MAX_BYTES, raw_retention_ms))
    for name in stored(source):
        yield Topic(name, _settings(EVENT_MAX_BYTES, 3 * _DAY_MS))


def _settings(max_bytes: int, retention_ms: int) -> dict[str, str]:
    # Kafka deletes whole segments: a record may outlive its retention by as long as a segment is written to.
    return {
        "max.message.bytes": str(max_bytes),
        "retention.ms": str(retention_ms),
        "segment.ms": str(min(_DAY_MS, retention_ms)),
    }
