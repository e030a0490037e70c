"""How long Kafka keeps what it has of people: one record cannot be deleted, so there is a time by which all are gone.

Kafka deletes whole segments, each when its newest record is older than the topic's retention. So a record may stay for
as long as records may follow it in its segment, and then for the retention.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connectors.kafka import Admin
from streams.groups import Group, Offsets, Partition

_NAMES = ("cleanup.policy", "retention.ms", "segment.ms", "file.delete.delay.ms")
_CHECKED_MS = 300_000
"""How often a broker looks for what it may delete, unless log.retention.check.interval.ms says otherwise."""
NEVER = 0
"""Stands for a time that does not come."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What a topic still has.

    Attributes:
        topic: its name.
        records: that were there, and of which some may tell of people.
        until: when the last of them is gone, in milliseconds since 1970; NEVER: they stay.
    """

    topic: str
    records: int
    until: int


async def lasting(admin: Admin, offsets: Offsets, at: int) -> list[Lasting]:
    """What topics still have of what was there at a time.

    Args:
        admin: entered.
        offsets: of each partition the first that is there, and the first that was not there at that time.
        at: that time, in milliseconds since 1970.

    Raises:
        Retry, Fatal: Kafka would not say.
    """
    records: dict[str, int] = {}
    for (topic, _), (first, end) in offsets.items():
        records[topic] = records.get(topic, 0) + max(0, end - first)
    there = {topic: count for topic, count in records.items() if count}
    settings = await admin.settings(there, _NAMES) if there else {}
    return [Lasting(topic, count, gone_at(settings[topic], at)) for topic, count in sorted(there.items())]


def gone_at(settings: Mapping[str, str], at: int) -> int:
    """When the last copy of a record is gone, in milliseconds since 1970; NEVER: it stays.

    Args:
        settings: of its topic.
        at: when it was written, at the latest.
    """
    retention = int(settings["retention.ms"])
    if "delete" not in settings["cleanup.policy"] or retention < 0:
        return NEVER
    return at + int(settings["segment.ms"]) + retention + _CHECKED_MS + int(settings["file.delete.delay.ms"])


def read_by_all(
    groups: Iterable[Group], committed: Mapping[str, Mapping[Partition, int]], offsets: Offsets
) -> dict[Partition, int]:
    """Of each partition the offset before which every group that reads its topic is done with everything.

    Args:
        groups: all there are.
        committed: what each has committed, by its name.
        offsets: of each partition the first that is there, and one that is not to be exceeded.
    """
    every = list(groups)
    readers = {topic: [group.name for group in every if topic in group.topics] for topic, _ in offsets}
    return {
        partition: min([end, *(committed[name].get(partition, 0) for name in readers[partition[0]])])
        for partition, (_, end) in offsets.items()
    }
