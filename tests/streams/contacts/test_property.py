"""Whatever is said in whatever order, and whatever goes wrong: in the end the lists are what was said last."""

from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.clickhouse import ClickHouse
from streams.contacts import list_sync
from tests.fakes.faults import LOST_ANSWER, Cut, Drop, Fault, Respond
from tests.streams.contacts.town import CrashError, Town, founded

PEOPLE = tuple(f"{name}@example.com" for name in ("ada", "bob", "eve", "kim"))
COHORTS = ("c1", "c2")
_ROUNDS = 12

_numbers = count(1)


@dataclass(frozen=True)
class Say:
    """A message; times and batch numbers repeat, so that messages come late and tie."""

    cohort: str
    action: str
    people: tuple[str, ...]
    at: int
    batch: int


@dataclass(frozen=True)
class Repeat:
    """One of the messages so far comes again."""

    which: int


@dataclass(frozen=True)
class Flush:
    """The cadence comes round; with a fault at a call, or a crash at a step."""

    fault: Fault | None = None
    skip: int = 0
    crash_after: int | None = None


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: int


FAULTS = (Respond(500), Respond(503), Respond(429), Drop(), LOST_ANSWER, Cut(3))
SAYS = st.builds(
    Say,
    st.sampled_from(COHORTS),
    st.sampled_from(["enter", "exit"]),
    st.lists(st.sampled_from(PEOPLE), min_size=1, unique=True).map(tuple),
    st.integers(1, 4),
    st.integers(0, 2),
)
FLUSHES = st.one_of(
    st.just(Flush()),
    st.builds(Flush, st.sampled_from(FAULTS), st.integers(0, 8)),
    st.builds(Flush, crash_after=st.integers(0, 30)),
)
OTHERS = st.one_of(st.builds(Repeat, st.integers(0, 9)), st.builds(Wait, st.integers(1, 900)))
ROUNDS = st.tuples(st.lists(st.one_of(SAYS, SAYS, OTHERS), min_size=1, max_size=4), FLUSHES)
STEPS = st.lists(ROUNDS, min_size=1, max_size=5).map(
    lambda rounds: [step for some, end in rounds for step in (*some, end)]
)


@given(steps=STEPS, lag=st.sampled_from([0, 40]), job=st.sampled_from([0.02, 50.0]))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_the_lists_end_as_what_was_said_last(
    clickhouse: ClickHouse,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[object],
    lag: int,
    job: float,
) -> None:
    async with founded(clickhouse, database, f"property{next(_numbers)}") as town:
        monkeypatch.setattr(list_sync, "now", lambda: int(town.fake.clock.now() * 1000))
        town.fake.timing.search_lag = town.fake.timing.removal_lag = lag
        town.fake.timing.job = job
        last: dict[tuple[str, str], tuple[int, int, bool]] = {}
        for number, step in enumerate(steps):
            match step:
                case Say(cohort, action, people, at, batch):
                    await town.say(cohort, action, *people, at=at, message_id=f"{number}::{action}::{batch}")
                    for person in people:
                        version = (at, batch, action == "exit")
                        last[cohort, person] = max(last.get((cohort, person), version), version)
                case Repeat(which) if town.said:
                    await town.hear(town.said[which % len(town.said)])
                case Wait(seconds):
                    town.fake.clock.advance(seconds)
                case Flush(fault, skip, crash_after):
                    await flush(town, fault, skip, crash_after)
        await quiet(town)

        wanted = {cohort: {p for (c, p), (*_, out) in last.items() if c == cohort and not out} for cohort in COHORTS}
        assert {name: members for name, members in town.lists.items() if members} == {
            name: members for name, members in wanted.items() if members
        }
        assert await town.members() == {name: members for name, members in wanted.items() if members}
        assert not town.fake.called("DELETE", "/v3/marketing/contacts")


async def flush(town: Town, fault: Fault | None, skip: int, crash_after: int | None) -> None:
    """One round of the cadence, in which something may go wrong."""
    town.forgive()
    failing = town.fake.fail("*", "/v3/*", fault, skip=skip) if fault else None
    if crash_after is not None:
        town.crash_after(crash_after)
    try:
        await town.flush()
    except CrashError:
        town.restart()
    town.heal()
    if failing:
        failing.stop()


async def quiet(town: Town) -> None:
    """Until nothing is pending any more."""
    for _ in range(_ROUNDS):
        town.forgive()
        await town.flush()
        if not any([any(await town.account.memberships.pending(cohort)) for cohort in COHORTS]):
            return
        town.fake.clock.advance(list_sync._LOST_MS / 1000)
    raise AssertionError("something stays pending")
