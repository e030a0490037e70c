"""Consumer groups: each role is one, reads its topics, and is so far behind."""

from collections.abc import Callable, Iterable, Mapping

from schemas import topics

Partition = tuple[str, int]
"""A topic and the number of a partition."""
Offsets = Mapping[Partition, tuple[int, int]]
"""Of each partition the first offset that is there, and the one that comes next."""

ROLE_TOPICS: Mapping[str, Callable[[Iterable[str]], Iterable[str]]] = {
    "normalize": lambda sources: (topics.raw(source) for source in sources),
    "store": lambda sources: (topic for source in sources for topic in topics.stored(source)),
}
"""What each role reads, of so many sources."""


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
