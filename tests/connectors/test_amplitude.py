"""What Amplitude's answers mean (facts 2.3 of the fact sheet on Amplitude and Segment)."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from connectors.amplitude import BATCH, HTTP_V2, Amplitude, Fault, Verdict
from connectors.errors import Fatal, Retry
from schemas.amplitude import REFUSED_IDS, AmplitudeEvent
from tests.fakes import amplitude as fakes
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.clock import Clock
from tests.fakes.conftest import NOON
from tests.fakes.faults import LOST_ANSWER, Cut, Drop, Hang, Respond
from tests.fakes.faults import Fault as Failing

EVENTS = [
    AmplitudeEvent(user, orjson.dumps({"event_type": "a", "user_id": user, "insert_id": f"{user}-1"}))
    for user in ("ada", "bob", "eve")
]


@pytest.fixture
async def fake() -> AsyncIterator[FakeAmplitude]:
    async with FakeAmplitude(Clock(NOON)) as fake:
        yield fake


@pytest.fixture
async def amplitude(fake: FakeAmplitude) -> AsyncIterator[Amplitude]:
    async with Amplitude(fake.api_key, fake.url, 1, timeout=1.0) as amplitude:
        yield amplitude


@pytest.mark.parametrize("api", [HTTP_V2, BATCH])
async def test_what_is_taken_is_there(fake: FakeAmplitude, amplitude: Amplitude, api: Any) -> None:
    assert await amplitude.send(api, EVENTS) == Verdict("taken")

    assert [event["user_id"] for event in fake.events] == ["ada", "bob", "eve"]
    assert fake.calls[0].path == api.path
    assert len(fake.calls[0].content) == amplitude.overhead + sum(len(event.content) + 1 for event in EVENTS) - 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            {"events_with_invalid_fields": {"time": [1]}, "events_with_missing_fields": {"user_id": [0, 1, 7]}},
            {"faults": {0: "missing: user_id", 1: "missing: user_id"}},
        ),
        ({"silenced_events": [2], "silenced_devices": ["d"]}, {"refused": {2}}),
        ({"throttled_events": [0, 2]}, {"throttled": {0, 2}}),
        ({"throttled_users": {"bob": 31}, "throttled_events": [1]}, {"throttled": {1}}),
        ({"exceeded_daily_quota_users": {"eve": 9}, "throttled_events": [1, 2]}, {"throttled": {1}, "refused": {2}}),
        (
            {"exceeded_daily_quota_devices": {"d": 9}, "throttled_users": {"ada": 31}, "throttled_events": [0, 2]},
            {"throttled": {0}, "refused": {2}},
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 429])
async def test_what_is_said_of_single_events(
    fake: FakeAmplitude, amplitude: Amplitude, status: int, answer: dict[str, Any], expected: dict[str, Any]
) -> None:
    fake.fail("POST", "*", Respond(status, {"error": "some words"} | answer))
    verdict = await amplitude.send(HTTP_V2, EVENTS)

    words = f"Amplitude answered {status}: some words"
    assert (verdict.what, verdict.reason, verdict.status) == ("some", words, status)
    assert {index: fault.reason for index, fault in verdict.faults.items()} == {
        index: f"{words} ({why})" for index, why in expected.get("faults", {}).items()
    }
    assert verdict.throttled == expected.get("throttled", set())
    assert verdict.refused == expected.get("refused", set())


async def test_the_field_of_a_fault_is_named(fake: FakeAmplitude, amplitude: Amplitude) -> None:
    fake.fail("POST", "*", Respond(400, {"error": "e", "events_with_invalid_fields": {"ip": [0]}}))

    assert (await amplitude.send(HTTP_V2, EVENTS)).faults == {0: Fault("ip", "Amplitude answered 400: e (invalid: ip)")}


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Respond(403, b"<html>Forbidden</html>"), "suspect"),
        (Respond(400, b"nonsense"), "suspect"),
        (Respond(400, [1]), "suspect"),
        (Respond(400, {"error": "x", "events_with_invalid_fields": {"time": "all"}}), "suspect"),
        (Respond(413), "too large"),
    ],
)
async def test_what_is_said_of_a_whole_request(
    fake: FakeAmplitude, amplitude: Amplitude, answer: Respond, what: str
) -> None:
    fake.fail("POST", "*", answer)

    assert (await amplitude.send(HTTP_V2, EVENTS)).what == what


FAILURES = [*map(Respond, (408, 500, 502, 503, 504)), Drop(), LOST_ANSWER, Cut(3), Hang(), Hang(applied=True)]


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_may_go_better_next_time(fake: FakeAmplitude, amplitude: Amplitude, failure: Failing) -> None:
    fake.fail("POST", "*", failure)

    with pytest.raises(Retry):
        await amplitude.send(HTTP_V2, EVENTS)


@pytest.mark.parametrize(("api", "seconds"), [(HTTP_V2, 30), (BATCH, 15)])
async def test_too_much_of_everything_waits(
    fake: FakeAmplitude, amplitude: Amplitude, api: Any, seconds: float
) -> None:
    fake.fail("POST", "*", Respond(429, {"error": "Too many requests"}))

    with pytest.raises(Retry) as failure:
        await amplitude.send(api, EVENTS)
    assert failure.value.after == seconds


async def test_a_wrong_key_or_address_needs_a_person(fake: FakeAmplitude, amplitude: Amplitude) -> None:
    await amplitude.check()
    assert not fake.events
    fake.api_key = "another"

    for ask in (amplitude.check, lambda: amplitude.send(HTTP_V2, EVENTS)):
        with pytest.raises(Fatal, match=r"check amplitude\.api_key") as failure:
            await ask()
        assert "aaaa" not in str(failure.value)
    for status in (301, 401, 404, 405):
        fake.fail("POST", "*", status)
        with pytest.raises(Fatal, match=r"Check amplitude\.url"):
            await amplitude.send(HTTP_V2, EVENTS)


def test_the_fake_refuses_the_ids_that_are_not_sent() -> None:
    assert fakes.REFUSED_IDS == REFUSED_IDS
