"""Amplitude's ingestion (facts 2 of the fact sheet on Amplitude and Segment)."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import orjson
import pytest

from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.clock import Clock
from tests.fakes.conftest import NOON

HTTP, BATCH = "/2/httpapi", "/batch"
DAY = 24 * 3600


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"event_type": "[Sendgrid] open", "user_id": "ada@example.com", "insert_id": f"event-{number}"} | changes


class Sender:
    def __init__(self, session: aiohttp.ClientSession, fake: FakeAmplitude) -> None:
        self._session = session
        self._fake = fake

    async def __call__(self, *events: Any, path: str = HTTP, **changes: Any) -> tuple[int, Any]:
        body = orjson.dumps({"api_key": self._fake.api_key, "events": events} | changes)
        async with self._session.post(self._fake.url + path, data=BytesIO(body)) as answer:
            content = await answer.read()
            return answer.status, orjson.loads(content) if answer.content_type == "application/json" else content


@pytest.fixture
async def amplitude() -> AsyncIterator[FakeAmplitude]:
    async with FakeAmplitude(Clock(NOON)) as fake:
        yield fake


@pytest.fixture
async def send(amplitude: FakeAmplitude) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(session, amplitude)


class TestIngesting:
    @pytest.mark.parametrize("path", [HTTP, BATCH])
    async def test_answers_with_the_count(self, amplitude: FakeAmplitude, send: Sender, path: str) -> None:
        """Facts 2.3; 2.2: without a time, it is the upload's; without a device id, it is a hash of the user id."""
        status, body = await send(event(1), event(2, time=5, device_id="device"), path=path)

        assert status == 200
        assert (body["code"], body["events_ingested"], body["server_upload_time"]) == (200, 2, int(NOON * 1000))
        assert [each["time"] for each in amplitude.events] == [int(NOON * 1000), 5]
        assert amplitude.events[0]["device_id"] != amplitude.events[1]["device_id"] == "device"
        assert amplitude.users == {"ada@example.com"}

    async def test_drops_repeats_silently_for_7_days(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.4: the same insert_id and device_id; they count as ingested."""
        await send(event(1))
        amplitude.clock.advance(7 * DAY - 1)
        _, body = await send(event(1), event(1), event(1, user_id="bob@example.com"), event(2))

        assert (body["events_ingested"], len(amplitude.events), amplitude.duplicates) == (4, 3, 2)
        amplitude.clock.advance(1)
        await send(event(1))
        assert len(amplitude.events) == 4

    async def test_keeps_events_without_insert_id(self, amplitude: FakeAmplitude, send: Sender) -> None:
        await send(*[{"event_type": "a", "user_id": "ada@example.com"}] * 2)

        assert len(amplitude.events) == 2

    async def test_cuts_texts(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.2: at 1,024 characters."""
        await send(event(event_properties={"url": "x" * 2000, "list": ["y" * 2000, 1]}))

        properties = amplitude.events[0]["event_properties"]
        assert [len(properties["url"]), len(properties["list"][0])] == [1024, 1024]


class TestRefusing:
    @pytest.mark.parametrize(
        ("faulty", "field"),
        [
            (event(time="2026-01-01T00:00:00Z"), "time"),
            (event(time=1.5), "time"),
            (event(user_id="anonymous"), "user_id"),
            (event(user_id="UNDEFINED"), "user_id"),
            (event(user_id=12345), "user_id"),
            (event(device_id="unknown"), "device_id"),
            (event(event_properties=[]), "event_properties"),
        ],
    )
    async def test_values_by_index(self, amplitude: FakeAmplitude, send: Sender, faulty: Any, field: str) -> None:
        """Facts 2.2 and 2.3: the whole request."""
        status, body = await send(event(1), faulty)

        assert (status, body["events_with_invalid_fields"][field]) == (400, [1])
        assert not amplitude.events

    async def test_missing_fields_by_index(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.2: event_type, and a user or device id; ids below 5 characters are removed unless allowed."""
        status, body = await send(
            event(1), {"user_id": "ada@example.com"}, event(2, user_id="1234"), {"event_type": "a"}
        )

        assert status == 400
        assert body["events_with_missing_fields"] == {"event_type": [1], "user_id": [2, 3]}
        amplitude.names_all_indexes = False
        assert (await send(event(1), {}, {}))[1]["events_with_missing_fields"]["user_id"] == [1]
        assert (await send(event(2, user_id="1234"), options={"min_id_length": 1}))[0] == 200

    async def test_properties_nested_too_deep(self, send: Sender) -> None:
        """Facts 2.2: 40."""
        deep: dict[str, Any] = {}
        for _ in range(40):
            deep = {"a": deep}

        assert (await send(event(event_properties=deep)))[0] == 400
        assert (await send(event(event_properties=deep["a"])))[0] == 200

    async def test_wrong_requests(self, send: Sender) -> None:
        assert (await send(event(), api_key="x"))[0] == 400
        assert (await send(event(), api_key=""))[1]["missing_field"] == "api_key"
        assert (await send())[1]["missing_field"] == "events"
        assert (await send(event(), path="/3/httpapi"))[0] == 404

    async def test_silenced_devices(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3."""
        amplitude.silenced_devices = {"device"}

        status, body = await send(event(1), event(2, device_id="device"))

        assert (status, body["silenced_devices"], body["silenced_events"]) == (400, ["device"], [1])

    async def test_what_the_firewall_does_not_like(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3: 403 for the request, without a hint."""
        amplitude.poison = {b"<script>"}

        assert (await send(event(1), event(2, event_properties={"url": "<script>"})))[0] == 403
        assert (await send(event(1)))[0] == 200


class TestLimits:
    @pytest.mark.parametrize(("path", "most"), [(HTTP, 1999), (BATCH, 2000)])
    async def test_on_events_are_413(self, amplitude: FakeAmplitude, send: Sender, path: str, most: int) -> None:
        """Facts 2.3: under 2,000 and 2,000."""
        events = [event(number, user_id=f"user-{number}") for number in range(most + 1)]

        assert (await send(*events, path=path))[0] == 413
        assert not amplitude.events
        assert (await send(*events[1:], path=path))[0] == 200

    async def test_on_bytes_are_413(self, send: Sender) -> None:
        """Facts 2.3: 1 MB, and 20 MB for Batch."""
        large = event(event_properties={"a": "x" * 1_000_000})

        assert (await send(large))[0] == 413
        assert (await send(large, path=BATCH))[0] == 200

    async def test_on_one_id_are_429_for_the_whole_request(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3: 30 events a second; the id has to wait 30 seconds, the others go at once."""
        noisy = [event(number) for number in range(901)]
        other = event(user_id="bob@example.com")

        status, body = await send(*noisy, other)

        assert (status, body["eps_threshold"], body["throttled_users"]) == (429, 30, {"ada@example.com": 30})
        assert len(body["throttled_devices"]) == 1
        assert body["throttled_events"] == list(range(901))
        assert not amplitude.events
        assert (await send(other))[0] == 200
        amplitude.clock.advance(29)
        assert (await send(noisy[0]))[0] == 429
        amplitude.clock.advance(1)
        assert (await send(noisy[0]))[0] == 200

    async def test_are_an_average(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3."""
        for second in range(60):
            assert (await send(*[event(second * 30 + number) for number in range(30)]))[0] == 200
            amplitude.clock.advance(1)
        assert (await send(*[event(number) for number in range(100)]))[0] == 429

    async def test_of_a_day_are_told_by_batch(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3: 500,000 events in rolling 24 hours."""
        amplitude.batch_limits.daily = 10
        await send(*[event(number) for number in range(10)], path=BATCH)

        status, body = await send(event(10), event(11, user_id="bob@example.com"), path=BATCH)

        assert (status, body["throttled_users"], body["throttled_events"]) == (429, {}, [0])
        assert body["exceeded_daily_quota_users"] == {"ada@example.com": 11}
        amplitude.clock.advance(DAY)
        assert (await send(event(10), path=BATCH))[0] == 200

    async def test_a_repeat_after_a_lost_answer_counts_once(self, amplitude: FakeAmplitude, send: Sender) -> None:
        """Facts 2.3: 500, 502 and 504 may already be ingested."""
        amplitude.fail("POST", HTTP, 503)
        assert (await send(event(1)))[0] == 503
        assert (await send(event(1)))[0] == 200
        assert (await send(event(1)))[0] == 200
        assert len(amplitude.events) == 1
