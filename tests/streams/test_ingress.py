"""The ingress's answers: each line of the HTTP table, with a producer that does what a test wants."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from types import MappingProxyType

import aiohttp
import pytest

from connectors.errors import Reject, Retry
from connectors.event_webhook import Signer
from schemas.cohorts import CohortBatch
from streams.ingress import bodies, intake
from streams.ingress import server as http_server
from tests.streams.serving import basic, serving

SIGNER = Signer.generate()
OTHER_SIGNER = Signer.generate()

SIGNED = {"sources": [{"name": "sendgrid", "public_keys": [SIGNER.public_key]}]}
WITH_PASSWORD = {"sources": [{"name": "sendgrid", "username": "u", "password": ["new", "old"]}]}


async def test_a_body_is_published_byte_for_byte_with_what_is_known_about_it() -> None:
    body = b'[{"a":1},\r\n{"b":"\\u003c"}]\r\n'
    before = int(time.time() * 1000)
    async with serving() as server:
        status, text = await server.post(body=body, **{"Content-Type": "application/json;charset=utf-8"})

    ((topic, record),) = server.producer.records
    headers = dict(record.headers)
    assert (status, text) == (200, "")
    assert topic == "sendgrid.raw"
    assert record.value == body
    assert record.key is None
    assert before <= int(headers.pop("received_at")) <= int(time.time() * 1000)
    assert headers == {"verified": b"none", "content_type": b"application/json;charset=utf-8"}


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\x00", b"[]", b"null"])
async def test_a_body_that_is_not_what_sendgrid_sends_is_kept_all_the_same(body: bytes) -> None:
    async with serving() as server:
        assert (await server.post(body=body))[0] == 200

    assert [record.value for _, record in server.producer.records] == [body]


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with serving() as server:
        assert (await server.post(body=b"\x1f\x8b not really", **{"Content-Encoding": "gzip"}))[0] == 200

    assert server.producer.records[0][1].value == b"\x1f\x8b not really"


class TestSources:
    async def test_each_has_its_path_and_topic_and_the_first_has_the_short_one(self) -> None:
        async with serving(sources=[{"name": "one"}, {"name": "two"}]) as server:
            for path in ("/sendgrid", "/sendgrid/one", "/sendgrid/two"):
                assert (await server.post(path))[0] == 200

        assert [topic for topic, _ in server.producer.records] == ["one.raw", "one.raw", "two.raw"]

    @pytest.mark.parametrize("path", ["/sendgrid/three", "/sendgrid/", "/sendgrid/..%2f", "/sendgrid/one/two", "/"])
    async def test_another_path_is_not_found(self, path: str) -> None:
        async with serving() as server:
            assert (await server.post(path))[0] == 404

        assert server.producer.records == []


class TestSignature:
    async def test_a_signed_body_is_taken_and_its_proof_passed_on(self) -> None:
        headers = SIGNER.headers("1700000000", b"[]")
        async with serving(**SIGNED) as server:
            assert (await server.post(body=b"[]", **headers))[0] == 200

        published = dict(server.producer.records[0][1].headers)
        assert published["verified"] == b"signature"
        assert published["timestamp"] == b"1700000000"
        assert published["signature"] == headers["X-Twilio-Email-Event-Webhook-Signature"].encode()

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            OTHER_SIGNER.headers("1700000000", b"[]"),
            SIGNER.headers("1700000000", b"[ ]"),
            SIGNER.headers("1700000000", b"[]") | {"X-Twilio-Email-Event-Webhook-Timestamp": "1700000001"},
        ],
        ids=["none", "another key", "another body", "another time"],
    )
    async def test_without_the_right_one_it_is_refused(self, headers: dict[str, str]) -> None:
        async with serving(**SIGNED) as server:
            status, text = await server.post(body=b"[]", **headers)

        assert status == 401
        assert json.loads(text) == {"error": "wrong or missing signature"}
        assert server.producer.records == []

    async def test_two_keys_serve_while_one_is_being_replaced(self) -> None:
        keys = [OTHER_SIGNER.public_key, SIGNER.public_key]
        async with serving(sources=[{"public_keys": keys}]) as server:
            for signer in (SIGNER, OTHER_SIGNER):
                assert (await server.post(body=b"[]", **signer.headers("1", b"[]")))[0] == 200

    @pytest.mark.parametrize(("age", "expected"), [(10, 200), (1000, 401), (-1000, 401)])
    async def test_its_age_may_be_limited(self, age: int, expected: int) -> None:
        headers = SIGNER.headers(str(int(time.time()) - age), b"[]")
        async with serving(sources=[{"public_keys": [SIGNER.public_key], "max_signature_age": 300}]) as server:
            assert (await server.post(body=b"[]", **headers))[0] == expected

    async def test_a_signed_time_that_is_no_number_has_no_age(self) -> None:
        headers = SIGNER.headers("yesterday", b"[]")
        async with serving(sources=[{"public_keys": [SIGNER.public_key], "max_signature_age": 300}]) as server:
            assert (await server.post(body=b"[]", **headers))[0] == 401


class TestPassword:
    @pytest.mark.parametrize("password", ["new", "old"])
    async def test_any_configured_one_is_taken(self, password: str) -> None:
        async with serving(**WITH_PASSWORD) as server:
            assert (await server.post(Authorization=basic("u", password)))[0] == 200

        assert dict(server.producer.records[0][1].headers)["verified"] == b"password"

    @pytest.mark.parametrize(
        "authorization", ["", "Basic", "Basic !", basic("u", "wrong"), basic("v", "new"), "Bearer new", basic("u", "")]
    )
    async def test_without_the_right_one_it_is_refused(self, authorization: str) -> None:
        async with serving(**WITH_PASSWORD) as server:
            status, text = await server.post(**({"Authorization": authorization} if authorization else {}))

        assert status == 401
        assert json.loads(text) == {"error": "wrong or missing user name and password"}
        assert server.producer.records == []

    async def test_with_keys_too_a_request_needs_both(self) -> None:
        both = {"sources": [{"username": "u", "password": "p", "public_keys": [SIGNER.public_key]}]}
        signed = SIGNER.headers("1", b"[]")
        async with serving(**both) as server:
            assert (await server.post(body=b"[]", **signed))[0] == 401
            assert (await server.post(Authorization=basic("u", "p")))[0] == 401
            assert (await server.post(body=b"[]", Authorization=basic("u", "p"), **signed))[0] == 200

        assert dict(server.producer.records[0][1].headers)["verified"] == b"signature+password"


class TestLimits:
    async def test_a_body_at_the_limit_is_taken_and_one_beyond_refused(self) -> None:
        async with serving(ingress={"max_body_bytes": 1000}) as server:
            assert (await server.post(body=b"x" * 1000))[0] == 200
            assert (await server.post(body=b"x" * 1001))[0] == 413

        assert len(server.producer.records) == 1

    async def test_so_it_is_for_a_body_whose_length_is_not_announced(self) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        async with serving(ingress={"max_body_bytes": 1000}) as server:
            assert (await server.post(body=pieces()))[0] == 413

    async def test_headers_have_a_limit(self) -> None:
        async with serving() as server:
            assert (await server.post(**{"X-Long": "x" * 20_000}))[0] == 400

    async def test_a_sender_that_takes_too_long_for_its_body_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "_BODY_SECONDS", 0.05)
        forever = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"["
            await forever.wait()

        async with serving() as server:
            status, text = await server.post(body=slowly())

        assert status == 408
        assert "too long" in text

    async def test_a_connection_without_a_request_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_server, "_IDLE_SECONDS", 0.05)
        async with serving() as server:
            host, port = server.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /sendgrid HTTP/1.1\r\nX-Slow:")
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()


class TestKafka:
    async def test_while_it_is_away_the_sender_is_told_to_come_again(self) -> None:
        async with serving() as server:
            server.producer.failure = Retry("away")
            async with aiohttp.ClientSession() as session, session.post(server.url + "/sendgrid", data=b"[]") as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0

    async def test_so_it_is_when_it_is_too_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "_CONFIRM_SECONDS", 0.05)
        async with serving() as server:
            server.producer.hanging = asyncio.Event()
            assert (await server.post())[0] == 503

    async def test_so_it_is_when_too_much_is_waiting_already(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "_UNCONFIRMED_BYTES", 1000)
        async with serving() as server:
            server.producer.hanging = asyncio.Event()
            waiting = asyncio.ensure_future(server.post(body=b"x" * 800))
            await server.producer.asked.wait()
            answers = [await server.post(body=b"x" * 800) for _ in range(2)]
            server.producer.hanging.set()

            assert [status for status, _ in answers] == [503, 503]
            assert (await waiting)[0] == 200
            assert (await server.post(body=b"x" * 800))[0] == 200

    async def test_a_record_that_it_never_takes_is_too_large(self) -> None:
        async with serving() as server:
            server.producer.failure = Reject("too large")
            assert (await server.post())[0] == 413


async def test_health_says_alive_and_ready_says_whether_kafka_answers() -> None:
    async with serving() as server:
        assert (await server.get("/health"))[0] == 200
        assert (await server.get("/ready"))[0] == 200
        server.producer.failure = Retry("away")
        assert (await server.get("/health"))[0] == 200
        assert (await server.get("/ready"))[0] == 503


async def test_metrics_count_requests_by_known_source_only() -> None:
    async with serving() as server:
        await server.post()
        await server.post("/sendgrid/nonsense")
        _, text = await server.get("/metrics")

    assert 'gridstream_requests_total{source="sendgrid",status="200"}' in text
    assert "nonsense" not in text


class TestCohortWebhook:
    """Amplitude's cohort webhook: who may post, and what it is told."""

    CONTACTS = ({"name": "default", "secret": "s3cret"}, {"name": "other", "secret": "0ther"})
    BODY = json.dumps(
        {"cohort_id": "c1", "cohort_name": "VIP", "in_cohort": True, "users": [{"user_id": "u1"}]}
    ).encode()
    KNOWN = MappingProxyType({"X-Gridstream-Secret": "s3cret"})

    @pytest.mark.parametrize("path", ["/amplitude/cohorts", "/amplitude/cohorts/default"])
    async def test_a_message_is_published_by_its_list(self, path: str) -> None:
        async with serving(contacts=self.CONTACTS) as server:
            assert (await server.post(path, self.BODY, **self.KNOWN))[0] == 200

        ((topic, record),) = server.producer.records
        assert (topic, record.key) == ("gridstream.cohorts", b"default:c1")
        assert CohortBatch.of_line(record.value).name == "VIP"

    @pytest.mark.parametrize("secret", [{}, {"X-Gridstream-Secret": "0ther"}, {"X-Gridstream-Secret": "ä"}])
    async def test_without_the_secret_it_is_refused(self, secret: dict[str, str]) -> None:
        async with serving(contacts=self.CONTACTS) as server:
            assert (await server.post("/amplitude/cohorts", self.BODY, **secret))[0] == 401

        assert not server.producer.records

    async def test_without_a_configured_secret_this_machine_may_post(self) -> None:
        async with serving(contacts=[{"name": "default"}]) as server:
            assert (await server.post("/amplitude/cohorts", self.BODY))[0] == 200

    async def test_what_a_body_lacks_is_named(self) -> None:
        async with serving(contacts=self.CONTACTS) as server:
            status, text = await server.post("/amplitude/cohorts", b'{"cohort_id": "c1"}', **self.KNOWN)

        assert status == 400
        assert "in_cohort" in text
        assert "users" in text

    async def test_an_account_that_is_not_configured_is_not_there(self) -> None:
        async with serving(contacts=self.CONTACTS) as server:
            assert (await server.post("/amplitude/cohorts/nobody", self.BODY, **self.KNOWN))[0] == 404
        async with serving() as server:
            assert (await server.post("/amplitude/cohorts", self.BODY))[0] == 404

    async def test_without_kafka_the_sender_is_told_to_come_again(self) -> None:
        async with serving(contacts=self.CONTACTS) as server:
            server.producer.failure = Retry("away")
            assert (await server.post("/amplitude/cohorts", self.BODY, **self.KNOWN))[0] == 503


class TestSegmentApi:
    """Endpoints like those of Segment's tracking API."""

    KEYS = MappingProxyType({"write_keys": ["wk1", "wk2"]})
    KNOWN = MappingProxyType({"Authorization": basic("wk2", "")})
    IDENTIFY = json.dumps({"userId": "u1", "messageId": "m1", "traits": {"email": "ada@example.com"}}).encode()

    async def test_every_call_is_kept_by_its_user(self) -> None:
        async with serving(segment=self.KEYS) as server:
            status, text = await server.post("/v1/identify", self.IDENTIFY, **self.KNOWN)

        assert (status, json.loads(text)) == (200, {"success": True})
        ((topic, record),) = server.producer.records
        assert (topic, record.key) == ("gridstream.calls", b"u1")
        assert json.loads(record.value)["message_id"] == "m1"

    async def test_an_identify_is_also_news_of_a_contact(self) -> None:
        async with serving(segment=self.KEYS, contacts=[{"name": "default"}]) as server:
            await server.post("/v1/identify", self.IDENTIFY, **self.KNOWN)

        (_, (topic, record)) = server.producer.records
        batch = CohortBatch.of_line(record.value)
        assert (topic, batch.account, batch.id) == ("gridstream.cohorts", "default", "")
        assert [list(user) for user in batch.users] == [["u1", {"email": "ada@example.com"}]]

    async def test_a_track_is_news_of_a_contact_where_it_is_configured(self) -> None:
        call = {"userId": "u1", "event": "Signed Up", "properties": {"email": "ada@example.com"}}
        segment = {"upsert_events": ["Signed Up"]}
        async with serving(segment=segment, contacts=[{"name": "default"}]) as server:
            await server.post("/v1/track", json.dumps(call).encode())
            await server.post("/v1/track", json.dumps(call | {"event": "Signed In"}).encode())

        (batch,) = [CohortBatch.of_line(each.value) for topic, each in server.producer.records if "cohorts" in topic]
        assert [list(user) for user in batch.users] == [["u1", {"email": "ada@example.com"}]]

    async def test_an_audience_is_a_cohort(self) -> None:
        track = {"type": "track", "userId": "u1", "event": "Audience Entered", "properties": {"audience_key": "vip"}}
        async with serving(contacts=[{"name": "default"}]) as server:
            assert (await server.post("/v1/batch", json.dumps({"batch": [track, track]}).encode()))[0] == 200

        batches = [CohortBatch.of_line(record.value) for topic, record in server.producer.records if "cohorts" in topic]
        assert [(batch.id, batch.action) for batch in batches] == [("vip", "enter")] * 2

    async def test_a_body_may_be_compressed(self) -> None:
        async with serving(segment=self.KEYS) as server:
            packed = gzip.compress(self.IDENTIFY)
            assert (await server.post("/v1/identify", packed, **self.KNOWN, **{"Content-Encoding": "gzip"}))[0] == 200

        assert len(server.producer.records) == 1

    @pytest.mark.parametrize("body", [gzip.compress(b" " * 50_000_000), b"not packed at all"])
    async def test_a_bomb_is_refused(self, body: bytes) -> None:
        async with serving(segment=self.KEYS) as server:
            status, text = await server.post("/v1/batch", body, **self.KNOWN, **{"Content-Encoding": "gzip"})

        assert (status, json.loads(text)["success"]) == (400, False)

    @pytest.mark.parametrize("headers", [{}, {"Authorization": basic("wk3", "")}, {"Authorization": "Bearer wk1"}])
    async def test_without_a_write_key_it_is_refused(self, headers: dict[str, str]) -> None:
        async with serving(segment=self.KEYS) as server:
            status, text = await server.post("/v1/identify", self.IDENTIFY, **headers)

        assert (status, json.loads(text)["success"]) == (401, False)
        assert not server.producer.records

    async def test_what_is_wrong_is_said(self) -> None:
        async with serving() as server:
            status, text = await server.post("/v1/track", b'{"userId": "u1"}')

        assert status == 400
        assert json.loads(text) == {"success": False, "message": "a call of type track needs event"}

    async def test_there_are_no_other_endpoints(self) -> None:
        async with serving() as server:
            assert (await server.post("/v1/shout", self.IDENTIFY))[0] == 404

    async def test_without_kafka_the_sender_is_told_to_come_again(self) -> None:
        async with serving() as server:
            server.producer.failure = Retry("away")
            assert (await server.post("/v1/identify", self.IDENTIFY))[0] == 503
