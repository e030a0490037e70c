"""Consumer groups: each role is one, or has one for each destination, reads its topics, and is so far behind."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from schemas import topics
from streams.settings import Settings

Partition = tuple[str, int]
"""A topic and the number of a partition."""
Offsets = Mapping[Partition, tuple[int, int]]
"""Of each partition the first offset that is there, and the one that comes next."""


class Group(NamedTuple):
    """A consumer group.

    Attributes:
        role: whose.
        topics: that it reads.
        destination: where what it reads goes, of a role with a group for each: a slow one holds up no other,
        source: and whose it is.
    """

    role: str
    topics: list[str]
    destination: str = ""
    source: str = ""

    @property
    def name(self) -> str:
        """As Kafka has it."""
        return group(self.role, self.destination)


def _forward(settings: Settings) -> Iterator[Group]:
    for entry in settings.amplitude:
        source = settings.source(entry.source).name
        if entry.is_on:
            events = [topics.events(source, event) for event in entry.forwarded()]
            yield Group("forward", [*events, topics.forward(source)], destination=source, source=source)


def _relay(settings: Settings) -> Iterator[Group]:
    for entry in settings.relays:
        source = settings.source(entry.source).name
        if entry.is_on:
            yield Group("relay", [topics.raw(source), topics.relay(source)], destination=entry.label, source=source)


_READS: Mapping[str, Callable[[Settings], list[str]]] = {
    "normalize": lambda settings: [topics.raw(source.name) for source in settings.sources],
    "store": lambda settings: [
        topics.CALLS,
        *(topic for source in settings.sources for topic in topics.stored(source.name)),
    ],
    "contacts": lambda settings: [topics.COHORTS] if settings.contacts else [],
    "objects": lambda settings: [topics.OBJECTS] if settings.with_api_key else [],
    "mail": lambda settings: [topics.MAILS] if settings.mail.rules else [],
}
_GROUPS: Mapping[str, Callable[[Settings], Iterator[Group]]] = {"forward": _forward, "relay": _relay}
"""Of roles with a group for each destination."""

UNCONFIGURED: Mapping[str, str] = {
    "contacts": "[[contacts]] is not configured",
    "mail": "[[mail.rules]] is not configured",
    "objects": "no entry of [[sources]] has an api_key",
    "forward": "no entry of [[amplitude]] has an api_key",
    "relay": "no entry of [[relays]] has a url",
}
"""Why a role has nothing to do."""

ROLES = (*_READS, *_GROUPS)
"""What a worker can be."""


def groups(settings: Settings) -> list[Group]:
    """All consumer groups; a role that has nothing to do with these settings has none."""
    of_roles = [Group(role, names) for role, of in _READS.items() if (names := of(settings))]
    return of_roles + [each for of in _GROUPS.values() for each in of(settings)]


def group(role: str, destination: str = "") -> str:
    """The name of a role's consumer group: a slow one never rebalances another."""
    return f"gridstream.{role}.{destination}" if destination else f"gridstream.{role}"


def lags_of(offsets: Offsets, committed: Mapping[Partition, int], read: Iterable[str]) -> dict[Partition, int]:
    """How many records of each partition a group has not processed."""
    names = set(read)
    return {
        partition: following - max(first, committed.get(partition, first))
        for partition, (first, following) in offsets.items()
        if partition[0] in names
    }
