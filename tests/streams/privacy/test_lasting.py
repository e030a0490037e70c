"""Until when Kafka has what, and what of it everybody has read."""

import pytest

from streams.groups import Group
from streams.privacy.lasting import NEVER, gone_at, read_by_all

SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "segment.ms": "86400000",
    "file.delete.delay.ms": "60000",
}
AT = 1_790_000_000_000


def test_a_record_is_gone_after_its_segment_its_retention_and_the_brokers_look() -> None:
    assert gone_at(SETTINGS, AT) == AT + 86_400_000 + 604_800_000 + 300_000 + 60_000


@pytest.mark.parametrize("other", [{"retention.ms": "-1"}, {"cleanup.policy": "compact"}])
def test_what_a_topic_keeps_for_good_is_never_gone(other: dict[str, str]) -> None:
    assert gone_at(SETTINGS | other, AT) == NEVER


def test_the_slowest_reader_decides() -> None:
    groups = [Group("store", ["a", "b"]), Group("forward", ["a"], "x")]
    offsets = {("a", 0): (0, 10), ("a", 1): (3, 8), ("b", 0): (0, 5), ("c", 0): (0, 2)}
    committed = {
        "gridstream.store": {("a", 0): 10, ("a", 1): 9, ("b", 0): 4},
        "gridstream.forward.x": {("a", 0): 7, ("a", 1): 8},
    }

    assert read_by_all(groups, committed, offsets) == {("a", 0): 7, ("a", 1): 8, ("b", 0): 4, ("c", 0): 2}
