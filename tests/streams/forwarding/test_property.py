"""Whatever is sent and whatever goes wrong: each event is in Amplitude once, or in dead letters with its reason."""

from dataclasses import dataclass
from itertools import count

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.amplitude import AmplitudeEvent
from tests.fakes.faults import LOST_ANSWER, Cut, Drop, Fault, Respond
from tests.streams.forwarding.post import Post, event, opened

USERS = tuple(f"{name}@example.com" for name in ("ada", "bob", "eve", "kim"))
FIELDS = {"events_with_invalid_fields": {"time": [0], "user_id": [1]}, "events_with_missing_fields": {"ip": [0]}}
FAULTS = (
    Respond(400, {"code": 400, "error": "Invalid JSON request body"}),
    Respond(400, {"code": 400, "error": "Invalid field values on some events"} | FIELDS),
    Respond(403, b"<html>Forbidden</html>"),
    Respond(413, {"code": 413, "error": "Payload too large"}),
    Respond(429, {"code": 429, "error": "Too many requests"}),
    Respond(429, {"code": 429, "error": "Too many", "throttled_users": {USERS[0]: 31}, "throttled_events": [0]}),
    Respond(429, {"code": 429, "error": "Too many", "exceeded_daily_quota_users": {USERS[1]: 500_001}}),
    *(Respond(status) for status in (408, 500, 502, 503, 504)),
    *(Respond(status, applied=True) for status in (500, 502, 504)),
    Drop(),
    LOST_ANSWER,
    Cut(3),
)


@dataclass(frozen=True)
class Come:
    """A chunk of events: of a user, so many, so old; some are such as Amplitude does not take."""

    user: str
    number: int
    age: float
    poison: bool
    invalid: bool
    again: bool


@dataclass(frozen=True)
class Fail:
    """The next calls, after some, go wrong."""

    fault: Fault
    path: str
    skip: int


@dataclass(frozen=True)
class Crash:
    """The worker is killed, as soon as so many calls more have come."""

    calls: int


COMES = st.builds(
    Come,
    st.sampled_from(USERS),
    st.one_of(st.integers(1, 5), st.integers(25, 70)),
    st.sampled_from([0.0, 100.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
FAILS = st.builds(Fail, st.sampled_from(FAULTS), st.sampled_from(["/*", "/batch"]), st.integers(0, 3))
STEPS = st.lists(st.one_of(COMES, COMES, FAILS, st.builds(Crash, st.integers(0, 4))), min_size=1, max_size=8)


@given(steps=STEPS, strict=st.booleans(), daily=st.sampled_from([40, 500_000]), all_indexes=st.booleans())
@settings(max_examples=150, deadline=None)
async def test_each_event_is_there_once_or_a_dead_letter(
    steps: list[Come | Fail | Crash], *, strict: bool, daily: int, all_indexes: bool
) -> None:
    async with opened() as post:
        fake = post.fake
        fake.poison = {b"poison"}
        fake.names_all_indexes = all_indexes
        fake.batch_limits.daily = daily
        if strict:
            fake.http_limits.per_second = fake.batch_limits.per_second = 1
        numbers = count()
        sent: list[AmplitudeEvent] = []
        for step in steps:
            match step:
                case Come():
                    events = list(made(step, numbers))
                    sent += events
                    await post.put([*events, *(events[:2] if step.again else ())], age=step.age)
                case Fail(fault, path, skip):
                    fake.fail("POST", path, fault, skip=skip)
                case Crash(calls):
                    await crash(post, calls)
                    assert_settled(post)
        await post.done()
        assert_settled(post)

        for each in sent:
            content = orjson.loads(each.content)
            letter = post.letters.all.get(each.content)
            if letter:
                assert letter["reason"].startswith("Amplitude answered 4")
                assert (letter["step"], letter["topic"]) == ("forward", "sendgrid.forward")
            if "poison" in content or content["time"] != 1:
                assert letter
        ids = [(each["insert_id"], each["user_id"]) for each in fake.events]
        assert len(ids) == len(set(ids))


def made(step: Come, numbers: "count[int]") -> list[AmplitudeEvent]:
    some = [event(next(numbers), step.user) for _ in range(step.number)]
    if step.poison:
        some.insert(len(some) // 2, event(next(numbers), step.user, poison="poison"))
    if step.invalid:
        some.append(event(next(numbers), step.user, time="now"))
    return some


async def crash(post: Post, calls: int) -> None:
    """Kill the worker after some more calls, if there are so many."""
    until = len(post.fake.calls) + calls
    await post.done(lambda: len(post.fake.calls) >= until or all(chunk.acknowledged for chunk, _ in post.chunks))
    await post.crash()


def assert_settled(post: Post) -> None:
    """What is acknowledged has arrived, or was put aside."""
    arrived = {each["insert_id"] for each in post.fake.events}
    for chunk, events in post.chunks:
        if chunk.acknowledged:
            for each in events:
                assert orjson.loads(each.content)["insert_id"] in arrived or each.content in post.letters.all
