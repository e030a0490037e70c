"""Event Webhooks: settings, signing, test events (facts 5)."""

from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, is_signed, public_key
from tests.fakes.conftest import NOON, Caller
from tests.fakes.sendgrid import FakeSendGrid

SETTINGS = "/v3/user/webhooks/event/settings"
TEST = "/v3/user/webhooks/event/test"
URL = "https://example.com/sendgrid"


class Receiver:
    """Keeps what it is posted."""

    def __init__(self) -> None:
        self.url = ""
        self.posts: list[tuple[web.Request, bytes]] = []

    async def post(self, request: web.Request) -> web.Response:
        self.posts.append((request, await request.read()))
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/sendgrid", receiver.post)
    async with TestServer(app, host="127.0.0.1") as server:
        receiver.url = str(server.make_url("/sendgrid"))
        yield receiver


class TestSettings:
    async def test_live_their_lives(self, call: Caller) -> None:
        """201, 200, 204."""
        made = await call("POST", SETTINGS, {"url": URL, "open": True, "friendly_name": "one"})
        path = f"{SETTINGS}/{made.body['id']}"
        changed = await call("PATCH", path, {"url": URL, "click": True, "enabled": False})

        assert made.status == 201
        assert {"created_date", "updated_date"} <= made.body.keys()
        assert (made.body["open"], made.body["click"], made.body["enabled"]) == (True, False, True)
        assert "public_key" not in made.body
        assert (changed.status, changed.body["open"], changed.body["click"]) == (200, True, True)
        assert (await call("GET", path)).body == changed.body
        assert (await call("DELETE", path)).status == 204
        assert (await call("GET", path)).status == 404

    async def test_all_of_them(self, fake: FakeSendGrid, call: Caller) -> None:
        """None at all may be one empty object; disabled ones count too."""
        none = (await call("GET", f"{SETTINGS}/all")).body
        fake.webhooks.add(URL)

        some = (await call("GET", f"{SETTINGS}/all")).body

        assert none == {"max_allowed": 5, "webhooks": [{}]}
        assert [each["url"] for each in some["webhooks"]] == [URL]

    async def test_a_url_is_used_once_and_the_400_says_by_whom(self, fake: FakeSendGrid, call: Caller) -> None:
        one = fake.webhooks.add(URL)

        reply = await call("POST", SETTINGS, {"url": URL})

        assert reply.status == 400
        assert (reply.body["id"], reply.body["url"]) == (one.id, URL)

    async def test_a_plan_has_a_maximum(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.limits.webhooks = 1
        fake.webhooks.add(URL)

        assert (await call("POST", SETTINGS, {"url": URL + "/2"})).status == 400

    @pytest.mark.parametrize("url", [None, "", "example.com", "ftp://example.com", 5, "http://[/"])
    async def test_a_url_has_to_be_one(self, call: Caller, url: object) -> None:
        assert (await call("POST", SETTINGS, {"url": url})).status == 400

    async def test_without_an_id_the_oldest_is_meant(self, fake: FakeSendGrid, call: Caller) -> None:
        assert (await call("GET", SETTINGS)).status == 404
        oldest = fake.webhooks.add(URL)
        fake.webhooks.add(URL + "/2")

        assert (await call("GET", SETTINGS)).body["id"] == oldest.id
        assert (await call("PATCH", f"{SETTINGS}/signed", {"enabled": True})).body["id"] == oldest.id
        assert (await call("DELETE", SETTINGS)).status == 405

    async def test_account_status_change_is_shown_when_asked_for(self, fake: FakeSendGrid, call: Caller) -> None:
        path = f"{SETTINGS}/{fake.webhooks.add(URL).id}"

        assert "account_status_change" not in (await call("GET", path)).body
        assert (await call("GET", path, include="account_status_change")).body["account_status_change"] is False

    async def test_the_secret_of_oauth_is_never_shown(self, call: Caller) -> None:
        oauth = {"oauth_client_id": "id", "oauth_client_secret": "hush", "oauth_token_url": URL + "/token"}

        body = (await call("POST", SETTINGS, {"url": URL} | oauth)).body

        assert (body["oauth_client_id"], body["oauth_token_url"]) == ("id", URL + "/token")
        assert "hush" not in str(body)

    async def test_need_their_scopes(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 4."""
        call.key = fake.add_key(["user.webhooks.event.settings.read"])

        assert (await call("GET", f"{SETTINGS}/all")).status == 200
        assert (await call("POST", SETTINGS, {"url": URL})).status == 403


class TestSigning:
    async def test_has_a_key_while_it_is_on_and_a_new_one_afterwards(self, fake: FakeSendGrid, call: Caller) -> None:
        path = f"{SETTINGS}/signed/{fake.webhooks.add(URL).id}"

        first = (await call("PATCH", path, {"enabled": True})).body["public_key"]
        again = (await call("PATCH", path, {"enabled": True})).body["public_key"]
        (shown,) = (await call("GET", f"{SETTINGS}/all")).body["webhooks"]
        off = (await call("PATCH", path, {"enabled": False})).body["public_key"]
        second = (await call("PATCH", path, {"enabled": True})).body["public_key"]

        assert first.startswith("MFkwEwYHKoZIzj0CAQ")
        assert first == again == shown["public_key"]
        assert off == ""
        assert second not in {"", first}
        assert (await call("GET", path)).body["public_key"] == second
        assert (await call("GET", f"{SETTINGS}/signed/nothing")).status == 404
        assert (await call("PATCH", path, {"enabled": "yes"})).status == 400


class TestTestEvents:
    async def test_are_posted_signed_as_the_live_api_does(
        self, fake: FakeSendGrid, call: Caller, receiver: Receiver
    ) -> None:
        """204; one fake event of each type (Event Webhook's facts 4)."""
        webhook = fake.webhooks.add(receiver.url)
        key = (await call("PATCH", f"{SETTINGS}/signed/{webhook.id}", {"enabled": True})).body["public_key"]

        assert (await call("POST", TEST, {"url": receiver.url, "id": webhook.id})).status == 204
        await fake.webhooks.settled()

        ((request, body),) = receiver.posts
        assert is_signed([public_key(key)], request.headers[SIGNATURE_HEADER], request.headers[TIMESTAMP_HEADER], body)
        events = orjson.loads(body)
        assert len({event["event"] for event in events}) == len(events) == 11
        assert {event["email"] for event in events} == {"example@test.com"}
        assert {event["timestamp"] for event in events} == {int(NOON)}
        assert body.endswith(b"]\r\n")
        assert b"\\u003c" in body
        assert [post.status for post in fake.webhooks.posts] == [200]

    async def test_carry_no_password_unless_chosen(self, fake: FakeSendGrid, call: Caller, receiver: Receiver) -> None:
        """Old documents: the test does not work with one in the URL."""
        url = receiver.url.replace("://", "://user:password@")
        await call("POST", TEST, {"url": url})
        await fake.webhooks.settled()
        fake.choices.tests_carry_password = True
        await call("POST", TEST, {"url": url})
        await fake.webhooks.settled()

        assert ["Authorization" in request.headers for request, _ in receiver.posts] == [False, True]

    async def test_are_lost_where_nobody_listens(self, fake: FakeSendGrid, call: Caller) -> None:
        assert (await call("POST", TEST, {"url": "http://127.0.0.1:9/x"})).status == 204
        await fake.webhooks.settled()

        assert [post.status for post in fake.webhooks.posts] == [None]
        assert (await call("POST", TEST, {"url": "x"})).status == 400
        assert (await call("POST", TEST, {"url": URL, "id": "nothing"})).status == 404


class TestDelivery:
    async def test_goes_to_each_enabled_webhook_that_wants_the_type(
        self, fake: FakeSendGrid, receiver: Receiver
    ) -> None:
        wanting = fake.webhooks.add(receiver.url)
        wanting.events["spam_report"] = True
        disabled = fake.webhooks.add(receiver.url + "?2")
        disabled.events["spam_report"], disabled.enabled = True, False

        await fake.webhooks.deliver([{"event": "spamreport"}, {"event": "open"}])

        assert [body for _, body in receiver.posts] == [b'[{"event":"spamreport"}]\r\n']
