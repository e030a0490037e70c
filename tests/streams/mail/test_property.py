"""Whatever is called in whatever order, and whatever goes wrong: each mail is sent once, or it says why not."""

from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.clickhouse import ClickHouse
from schemas.segment import Call
from streams.mail.book import Entry
from tests.fakes.faults import LOST_ANSWER, Drop, Fault, Respond
from tests.streams.mail.conftest import clocked
from tests.streams.mail.office import CrashError, Office, opened

EVENTS = ("Shipped", "Both", "Refused", "Late")

_numbers = count(1)


@dataclass(frozen=True)
class Say:
    """Calls come, some of them again; something may go wrong meanwhile.

    Attributes:
        calls: their event, and a number that tells calls apart.
        fault: at a call of SendGrid's,
        skip: after so many that go well,
        times: so often.
        crash_after: the process ends at this step.
        restart: it ends in good order before.
    """

    calls: tuple[tuple[str, int], ...]
    fault: Fault | None = None
    skip: int = 0
    times: int = 1
    crash_after: int | None = None
    restart: bool = False


@dataclass(frozen=True)
class Decide:
    """Somebody resends or drops a mail in doubt, or replays a dead letter."""

    which: int
    what: str


CERTAIN = (Respond(429), Respond(503), Respond(401), Respond(400), Respond(413))
DOUBTFUL = (Respond(500), Respond(502, applied=True), Respond(504), Drop(), LOST_ANSWER)
CALLS = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 5)), max_size=5).map(tuple)
SAYS = st.one_of(
    st.builds(Say, CALLS),
    st.builds(Say, CALLS, st.sampled_from(CERTAIN + DOUBTFUL), st.integers(0, 4), st.integers(1, 3)),
    st.builds(Say, CALLS, crash_after=st.integers(0, 24), restart=st.booleans()),
    st.builds(Say, CALLS, st.sampled_from(CERTAIN), st.integers(0, 2), crash_after=st.integers(0, 24)),
)
DECISIONS = st.builds(Decide, st.integers(0, 9), st.sampled_from(["resend", "drop", "replay"]))
STEPS = st.lists(st.one_of(SAYS, SAYS, SAYS, DECISIONS), min_size=1, max_size=7)


@given(steps=STEPS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_each_mail_is_sent_once_or_says_why_not(
    clickhouse: ClickHouse, database: str, monkeypatch: pytest.MonkeyPatch, steps: list[Say | Decide]
) -> None:
    async with opened(clickhouse, database, f"property{next(_numbers)}") as office:
        clocked(office, monkeypatch)
        office.configure(
            office.rule(event="Shipped"),
            office.rule(event="Both"),
            office.rule(event="Both", name="copy", to="copy@example.com"),
            office.rule(event="Refused", to="$.properties.missing"),
            office.rule(event="Late", max_age=60),
        )
        called: dict[tuple[str, int], Call] = {}
        resent: dict[str, int] = {}
        for step in steps:
            if isinstance(step, Decide):
                await decide(office, step, list(called.values()), resent)
                continue
            for event, number in step.calls:
                if (event, number) not in called:
                    age = 3600 if event == "Late" else 0
                    called[event, number] = office.call(f"{event} {number}", event=event, age=age)
            await say(office, step, [called[each] for each in step.calls])
        await say(office, Say(()), [])

        letters = office.kafka.rows
        for call in called.values():
            for mail, entry in zip(office.ids(call), await office.entries(call), strict=True):
                check(entry, office.times_sent(mail), resent.get(mail, 0))
                assert (mail in letters) == (entry.state in ("refused", "late")) or letters[mail]["state"] == "replayed"
        went_well = all(
            isinstance(step, Say) and step.fault not in DOUBTFUL and step.crash_after is None for step in steps
        )
        if went_well:
            assert not {"uncertain"} & set(await office.states(*called.values()))


def check(entry: Entry, times: int, resent: int) -> None:
    """What is said of a mail is what became of it."""
    assert times <= 1 + resent, "sent more often than asked for"
    match entry.state:
        case "sent":
            assert times >= 1
        case "refused" | "late":
            assert times <= resent
        case "uncertain" | "dropped":
            pass
        case state:
            raise AssertionError(f"{entry.id} is left {state}")


async def decide(office: Office, step: Decide, calls: list[Call], resent: dict[str, int]) -> None:
    """One decision of a person's."""
    entries = await office.entries(*calls)
    doubtful = [entry for entry in entries if entry.state == "uncertain"]
    letters = [letter for letter in office.kafka.rows.values() if letter["state"] == "waiting"]
    if step.what == "resend" and doubtful:
        entry = doubtful[step.which % len(doubtful)]
        resent[entry.id] = resent.get(entry.id, 0) + 1
        await office.resend(entry)
    elif step.what == "drop" and doubtful:
        entry = doubtful[step.which % len(doubtful)]
        await office.book.write([entry.now("dropped", entry.changed_at)])
    elif step.what == "replay" and letters:
        await office.replay(letters[step.which % len(letters)])


async def say(office: Office, step: Say, calls: list[Call]) -> None:
    """Calls come, and something may go wrong."""
    if step.restart:
        office.restart()
    fault = None
    if step.fault:
        fault = office.fake.fail("POST", "/v3/mail/send", step.fault, skip=step.skip, times=step.times)
    if step.crash_after is not None:
        office.crash_after(step.crash_after)
    try:
        await office.say(*calls)
    except CrashError:
        office.restart()
    office.heal()
    if fault:
        fault.stop()
