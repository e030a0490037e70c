"""What is asked about errors of the engine, and when."""

import time

import pytest

from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.server_errors import Counts, ServerErrors

NO_SPACE, SYNTAX, LOADING_CANCELED = 243, 62, 696


class Engine:
    """Its counts of errors, and how often it was asked for them."""

    def __init__(self) -> None:
        self.counts: Counts = {}
        self.asked = 0

    def ask(self) -> Counts:
        self.asked += 1
        return dict(self.counts)

    def fail(self, code: int) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_inserts_that_follow_each_other_ask_once_each(engine: Engine, clock: list[float]) -> None:
    errors = ServerErrors()
    for _ in range(5):
        assert errors.since(errors.before(engine.ask), engine.ask) == []
        clock[0] += 0.9

    assert engine.asked == 1 + 5


def test_what_failed_meanwhile_is_told_once(engine: Engine) -> None:
    errors = ServerErrors()
    before = errors.before(engine.ask)
    engine.fail(NO_SPACE)
    engine.fail(SYNTAX)

    assert errors.since(before, engine.ask) == [NO_SPACE]
    assert errors.since(errors.before(engine.ask), engine.ask) == []


def test_a_select_that_has_read_enough_fails_no_insert(engine: Engine) -> None:
    errors = ServerErrors()
    before = errors.before(engine.ask)
    engine.fail(LOADING_CANCELED)

    assert errors.since(before, engine.ask) == []


def test_an_insert_of_others_does_not_hide_it(engine: Engine) -> None:
    errors = ServerErrors()
    first, second = errors.before(engine.ask), errors.before(engine.ask)
    engine.fail(NO_SPACE)

    assert errors.since(first, engine.ask) == [NO_SPACE]
    assert errors.since(second, engine.ask) == [NO_SPACE]


def test_counts_that_begin_anew_do_not_hide_it(engine: Engine) -> None:
    errors = ServerErrors()
    engine.counts = {NO_SPACE: 7}
    before = errors.before(engine.ask)
    engine.counts = {NO_SPACE: 1}

    assert errors.since(before, engine.ask) == [NO_SPACE]


def test_what_was_seen_a_second_ago_is_asked_again(engine: Engine, clock: list[float]) -> None:
    errors = ServerErrors()
    errors.before(engine.ask)
    engine.fail(NO_SPACE)  # in the background
    clock[0] += 1.0

    assert errors.since(errors.before(engine.ask), engine.ask) == []


def test_after_a_statement_that_failed_they_are_asked_again(engine: Engine) -> None:
    errors = ServerErrors()
    errors.before(engine.ask)
    engine.fail(NO_SPACE)
    with pytest.raises(QueryError, match="no space"), errors.told():
        raise RuntimeError("Code: 243. DB::Exception: no space. (NOT_ENOUGH_SPACE)")

    assert errors.since(errors.before(engine.ask), engine.ask) == []
