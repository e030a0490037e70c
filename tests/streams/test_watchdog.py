"""For how long partitions have waited."""

from streams.watchdog import Waiting

ONE, TWO, OTHER = ("topic", 1), ("topic", 2), ("other", 1)


def test_a_partition_that_moves_does_not_wait() -> None:
    waiting = Waiting()
    waiting.look({ONE: 5}, {ONE: 10}, now=0)

    assert waiting.look({ONE: 5}, {ONE: 11}, now=60) == {"topic": 0}


def test_one_that_does_not_move_waits_however_much_the_others_do() -> None:
    waiting = Waiting()
    for now in range(0, 70, 10):
        waited = waiting.look({ONE: 5, TWO: 5, OTHER: 1}, {ONE: 10, TWO: now, OTHER: now}, now=now)

    assert waited == {"topic": 60, "other": 0}


def test_where_nothing_is_left_to_do_nothing_waits() -> None:
    waiting = Waiting()
    waiting.look({ONE: 5}, {ONE: 10}, now=0)

    assert waiting.look({ONE: 0}, {ONE: 10}, now=60) == {}
    assert waiting.look({ONE: 3}, {ONE: 10}, now=70) == {"topic": 0}


def test_a_partition_in_which_nothing_was_ever_done_waits_too() -> None:
    waiting = Waiting()
    waiting.look({ONE: 5}, {}, now=0)

    assert waiting.look({ONE: 5}, {}, now=30) == {"topic": 30}
