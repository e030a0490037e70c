from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.dashboard.period import RANGES, period

NOW = datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC).timestamp()


def at(day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp())


def test_without_anything_it_is_the_last_24_hours_in_whole_ones() -> None:
    found = period({}, NOW)

    assert (found.start, found.end, found.live) == (at(20, 12), int(NOW) + 1, True)
    assert (found.before, found.step) == (at(19, 11), 300)
    assert found.before_end == found.start


def test_yesterday_is_compared_with_the_day_before() -> None:
    found = period({"range": "yesterday"}, NOW)

    assert (found.start, found.end, found.before, found.before_end) == (at(20), at(21), at(19), at(20))
    assert not found.live


def test_today_is_compared_with_the_same_hours_of_yesterday() -> None:
    found = period({"range": "today"}, NOW)

    assert (found.start, found.before) == (at(21), at(20))
    assert found.before_end == int(NOW) + 1 - 86_400


def test_from_and_to_are_utc_unless_they_say_otherwise() -> None:
    found = period({"from": "2026-11-20T10:00", "to": "2026-11-20T13:00+01:00"}, NOW)

    assert (found.start, found.end, found.before) == (at(20, 10), at(20, 12), at(20, 8))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"range": "fortnight"}, "range"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-21", "to": "2026-11-20"}, "to"),
        ({"from": "0001-01-01", "to": "2026-11-20"}, "to"),
    ],
)
def test_what_cannot_be_shown_is_named(query: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named}: .*expected"):
        period(query, NOW)


@given(st.sampled_from(list(RANGES)), st.floats(1.5e9, 4e9))
def test_any_range_at_any_time_is_followed_by_what_it_is_compared_with(name: str, now: float) -> None:
    found = period({"range": name}, now)

    assert found.before < found.before_end <= found.start < found.end <= now + 1 or name == "today"
    assert (found.end - found.start) / found.step <= 750


@given(st.dictionaries(st.sampled_from(["range", "from", "to"]), st.text()))
def test_any_text_is_a_period_or_a_reason(query: dict[str, str]) -> None:
    try:
        found = period(query, NOW)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017
    else:
        assert found.start < found.end
