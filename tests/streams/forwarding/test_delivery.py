"""The delivery loop, one thing at a time."""

from collections.abc import AsyncIterator

import orjson
import pytest
from prometheus_client import REGISTRY

from connectors.errors import Fatal
from schemas import topics
from schemas.amplitude import Rules
from schemas.events import EVENTS
from streams.chunks import Chunk
from streams.forwarding.forward import Forward
from tests.fakes.conftest import NOON
from tests.fakes.faults import Respond
from tests.streams.forwarding.post import FakeRecord, Post, event, opened

HTTP, BATCH = "/2/httpapi", "/batch"
DAY = 24 * 3600
CLICK = next(each for each in EVENTS if each.name == "click")
LETTER = {
    "id": "a",
    "source": "s",
    "step": "forward",
    "reason": "r",
    "received_at": 1,
    "payload": "",
    "topic": "sendgrid.forward",
}


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with opened() as post:
        yield post


def users(post: Post, path: str) -> list[str]:
    """Whose events were in requests that were taken, in order."""
    return [
        each["user_id"] for call in post.fake.called("POST", path) if call.status == 200 for each in call.body["events"]
    ]


class TestNoisyIds:
    async def test_wait_while_the_others_go(self, post: Post) -> None:
        others = [f"user-{number}@example.com" for number in range(50)]
        await post.put([*(event(n) for n in range(200)), *(event(1000 + n, user) for n, user in enumerate(others))])
        await post.done()

        first = post.fake.calls[0].body["events"]
        assert [each["user_id"] for each in first].count("ada@example.com") in range(20, 31)
        assert {each["user_id"] for each in first} == {"ada@example.com", *others}
        assert len(users(post, HTTP)) == 250
        assert {call.status for call in post.fake.calls} == {200}

    async def test_go_another_way_when_they_would_wait_too_long(self, post: Post) -> None:
        await post.put([event(number) for number in range(900)])
        await post.done()

        assert len(users(post, HTTP)) in range(300, 331)
        assert len(users(post, HTTP)) + len(users(post, BATCH)) == 900
        assert post.fake.clock.now() < NOON + 30

    async def test_that_amplitude_throttles_wait_alone(self, post: Post) -> None:
        throttled = {"error": "Too many", "throttled_users": {"ada@example.com": 31}, "throttled_events": [0]}
        post.fake.fail("POST", HTTP, Respond(429, throttled))
        await post.put([event(1), event(2, "bob@example.com")])
        await post.done()

        assert users(post, HTTP) == ["bob@example.com", "ada@example.com"]
        assert post.fake.calls[-1].at >= NOON + 30

    async def test_beyond_their_quota_are_put_aside_and_not_tried_for_a_while(self, post: Post) -> None:
        post.fake.batch_limits.daily = 10
        await post.put([event(number) for number in range(11)], age=100)
        await post.put([event(number) for number in range(20, 30)], age=100)
        await post.done()
        asked = len(post.fake.called("POST", BATCH))

        assert len(post.letters.all) == 21
        await post.put([event(30), event(31, "bob@example.com")], age=100)
        await post.done()
        assert len(post.fake.called("POST", BATCH)) == asked + 1
        assert users(post, BATCH) == ["bob@example.com"]


class TestBatch:
    @pytest.mark.parametrize("old", [{"age": 61.0}, {"headers": [("replay", b"1"), ("forward", b"1")]}])
    async def test_takes_what_is_not_live(self, post: Post, old: dict[str, object]) -> None:
        await post.put([event(1)], **old)  # type: ignore[arg-type]
        await post.put([event(2)])
        await post.done()

        assert (len(users(post, BATCH)), len(users(post, HTTP))) == (1, 1)

    async def test_takes_what_is_too_large_for_http_v2(self, post: Post) -> None:
        large, larger = (event(number, text="x" * size) for number, size in enumerate((1_100_000, 20_100_000)))
        await post.put([large, larger, *(event(number) for number in range(10, 20))])
        await post.done()

        assert len(users(post, BATCH)) == 1
        assert len(users(post, HTTP)) == 10
        assert [letter["reason"] for letter in post.letters.all.values()] == [
            "Amplitude answered 413: Payload too large"
        ]


class TestRefusals:
    async def test_by_index_take_no_neighbour_along(self, post: Post) -> None:
        post.fake.names_all_indexes = False
        await post.put([*(event(number) for number in range(5)), event(6, time="x"), event(7), event(8, time=1.5)])
        await post.done()

        assert len(post.fake.events) == 6
        assert len(post.fake.calls) == 3
        assert len(post.letters.all) == 2

    async def test_of_a_field_that_need_not_be_there_leave_it_out(self, post: Post) -> None:
        post.fake.fail("POST", "*", Respond(400, {"error": "e", "events_with_invalid_fields": {"ip": [0]}}))
        await post.put([event(1, ip="nonsense", event_properties={"a": 1}), event(2, ip="192.0.2.1")])
        await post.done()

        repaired, other = post.fake.events
        assert "ip" not in repaired
        assert (repaired["event_properties"], other["ip"]) == ({"a": 1}, "192.0.2.1")
        assert not post.letters.all

    async def test_without_an_index_are_found_by_halving(self, post: Post) -> None:
        post.fake.poison = {b"<script>"}
        await post.put([event(n, f"user-{n}", url="<script>" if n == 300 else "") for n in range(512)])
        await post.done()

        assert len(post.fake.events) == 511
        assert len(post.fake.calls) <= 1 + 2 * 9
        (letter,) = post.letters.all.values()
        assert letter["reason"] == "Amplitude answered 403: Forbidden"

    async def test_of_everything_stop_the_worker(self, post: Post) -> None:
        post.fake.poison = {b"event"}
        await post.put([event(n, f"user-{n}") for n in range(50)])

        with pytest.raises(Fatal, match="too many events are refused"):
            await post.done()
        assert len(post.letters.all) == 10

    async def test_of_the_key_stop_the_worker(self, post: Post) -> None:
        post.fake.api_key = "b" * 32
        await post.put([event(1)])

        with pytest.raises(Fatal, match="does not know the API key"):
            await post.done()
        assert not post.letters.all


async def test_amplitude_may_be_away_for_a_day(post: Post) -> None:
    away = post.fake.fail("POST", "*", Respond(503, headers={"Retry-After": "600"}), times=None)
    live = await post.put([event(number, f"user-{number}") for number in range(100)])
    await post.done(lambda: post.fake.clock.now() > NOON + DAY)
    late = await post.put([event(number, f"user-{number}") for number in range(100, 200)], age=DAY / 2)
    assert not live.acknowledged
    away.stop()
    await post.done()

    assert late.acknowledged
    assert len(post.fake.events) == 200
    assert not post.letters.all


async def test_metrics_say_what_was_delivered_what_waits_since_when_and_what_was_refused_why(post: Post) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"gridstream_{name}", {"destination": "test"} | labels) or 0.0

    delivered, refused = value("delivered_total"), value("refused_total", reason="400 time")
    away = post.fake.fail("POST", "*", 503, times=None)
    await post.put([event(1), event(2), event(3, time="x")], age=7)
    await post.done(lambda: away.seen > 2)

    assert value("delayed") == 3
    assert value("oldest_waiting_seconds") >= 7
    away.stop()
    await post.done()
    assert (value("delayed"), value("oldest_waiting_seconds")) == (0, 0)
    assert value("delivered_total") == delivered + 2
    assert value("refused_total", reason="400 time") == refused + 1


class TestAgents:
    @staticmethod
    async def run(post: Post, agent: str, *records: FakeRecord) -> None:
        forward = Forward(post.delivery, Rules(), post.aside)
        chunk = Chunk.of(records[0].topic, 0, records, 0)
        post.chunks.append((chunk, []))

        async def stream() -> AsyncIterator[Chunk]:
            yield chunk

        await (forward.again(stream()) if agent == "again" else forward.of(CLICK)(stream()))
        await post.done()

    @staticmethod
    def record(number: int, **headers: bytes) -> FakeRecord:
        time = "2026-09-21 12:00:00.000"
        row = {"event_id": str(number), "user_id": "u", "email": "u@example.com", "event": "click", "timestamp": time}
        line = orjson.dumps(row | {"received_at": time, "custom_args": {"amp_user_id": "u"}})
        return FakeRecord(topics.events("sendgrid", CLICK), 0, number, int(NOON * 1000), line, list(headers.items()))

    async def test_leave_out_replays_and_letters_of_others(self, post: Post) -> None:
        letter = LETTER | {"step": "store"}
        await self.run(
            post,
            "click",
            self.record(1),
            self.record(2, replay=b"1"),
            self.record(3, replay=b"1", forward=b"1"),
            self.record(4, dead_letter=orjson.dumps(letter)),
        )

        assert {each["insert_id"] for each in post.fake.events} == {"1", "3"}
        assert not post.letters.all

    async def test_put_aside_what_is_no_event(self, post: Post) -> None:
        await self.run(post, "click", self.record(1)._replace(value=b"nonsense"), self.record(2))

        assert [each["insert_id"] for each in post.fake.events] == ["2"]
        assert post.letters.all[b"nonsense"]["reason"].startswith("not an event: ")

    async def test_say_that_a_replayed_letter_is_done(self, post: Post) -> None:
        letter = {
            "id": "a",
            "source": "s",
            "step": "forward",
            "reason": "r",
            "received_at": 1,
            "payload": "",
            "topic": "",
        }
        done = self.record(1, dead_letter=orjson.dumps(letter))
        skipped = done._replace(value=b'{"event":"click","email":""}')
        failing = done._replace(value=done.value.replace(b'"1"', b'"<script>"'))
        post.fake.poison = {b"<script>"}
        await self.run(post, "again", done, skipped, failing)

        states = {payload: each["state"] for payload, each in post.letters.all.items()}
        assert states == {done.value: "replayed", skipped.value: "replayed", failing.value: "waiting"}
        assert post.letters.all[failing.value]["reason"] == "r; again: Amplitude answered 403: Forbidden"
