"""When objects are synced."""

import pytest

from streams.objects.schedule import Last, due_at

HOUR = 3600.0
NOON = 1_790_000_000.0 // (3 * HOUR) * (3 * HOUR)


def test_at_once_where_there_was_no_sync() -> None:
    assert due_at(None, 3 * HOUR, HOUR) == 0


@pytest.mark.parametrize("late", [0, 1, 7000, 10_799])
def test_every_three_hours_however_long_it_took_to_begin(late: float) -> None:
    assert due_at(Last(int((NOON + late) * 1000), is_good=True), 3 * HOUR, 0) == NOON + 3 * HOUR


def test_sources_take_turns() -> None:
    last = Last(int((NOON + 10) * 1000), is_good=True)

    assert [due_at(last, 3 * HOUR, offset) - NOON for offset in (0, HOUR, 2 * HOUR)] == [3 * HOUR, HOUR, 2 * HOUR]


def test_soon_after_a_failure_but_not_at_once() -> None:
    assert due_at(Last(int((NOON + 60) * 1000), is_good=False), 3 * HOUR, 0) == NOON + 660
    assert due_at(Last(int((NOON + 60) * 1000), is_good=False), 120, 0) == NOON + 120
