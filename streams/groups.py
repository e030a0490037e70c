"""Consumer groups: each role is one, reads its topics, and is so far behind."""

from collections.abc import Callable, Iterable, Mapping

from schemas import topics
from streams.settings import Settings

Partition = tuple[str, int]
"""A topic and the number of a partition."""
Offsets = Mapping[Partition, tuple[int, int]]
"""Of each partition the first offset that is there, and the one that comes next."""

_READS: Mapping[str, Callable[[Settings], list[str]]] = {
    "normalize": lambda settings: [topics.raw(source.name) for source in settings.sources],
    "store": lambda settings: [
        topics.CALLS,
        *(topic for source in settings.sources for topic in topics.stored(source.name)),
    ],
    "contacts": lambda settings: [topics.COHORTS] if settings.contacts else [],
    "objects": lambda settings: [topics.OBJECTS] if settings.with_api_key else [],
}

UNCONFIGURED: Mapping[str, str] = {
    "contacts": "[[contacts]] is not configured",
    "objects": "no entry of [[sources]] has an api_key",
}
"""Why a role has nothing to do."""

ROLES = tuple(_READS)
"""What a worker can be."""


def reads(settings: Settings) -> dict[str, list[str]]:
    """The topics that each role reads; a role that has nothing to do with these settings is not among them."""
    return {role: names for role, of in _READS.items() if (names := of(settings))}


def group(role: str) -> str:
    """The consumer group of a role: a slow one never rebalances another."""
    return f"gridstream.{role}"


def lags_of(offsets: Offsets, committed: Mapping[Partition, int], read: Iterable[str]) -> dict[Partition, int]:
    """How many records of each partition a group has not processed."""
    names = set(read)
    return {
        partition: following - max(first, committed.get(partition, first))
        for partition, (first, following) in offsets.items()
        if partition[0] in names
    }
