"""Keys, scopes, errors, rate limits (facts 0 and 4)."""

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

LISTS = "/v3/marketing/lists"


class TestKeys:
    def test_have_69_characters_and_begin_with_sg(self, fake: FakeSendGrid) -> None:
        """Facts 0."""
        assert len(fake.key) == 69
        assert fake.key.startswith("SG.")

    async def test_a_call_without_or_with_a_wrong_one_is_401(self, call: Caller) -> None:
        """Facts 0: `{"errors": [{"field", "message"}]}`."""
        for call.key in ("", "SG.wrong"):
            reply = await call("GET", LISTS)

            assert reply.status == 401
            assert reply.body["errors"][0]["field"] is None

    async def test_a_narrow_one_is_403(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 4: each purpose has its scopes."""
        call.key = fake.add_key(["mail.send"])

        reply = await call("GET", LISTS)

        assert (reply.status, reply.messages) == (403, ["access forbidden"])

    async def test_one_that_may_only_read_is_refused_writing(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 4: no published scope tells whether a key may write marketing objects."""
        call.key = fake.add_key(read_only=True)

        assert (await call("GET", LISTS)).status == 200
        assert (await call("POST", LISTS, {"name": "a"})).status == 403

    async def test_any_can_read_its_own_scopes(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 4: no special scope is needed, unlike for the account."""
        call.key = fake.add_key(["mail.send"])

        assert (await call("GET", "/v3/scopes")).body == {"scopes": ["mail.send"]}
        assert (await call("GET", "/v3/user/account")).status == 403

    async def test_the_account_is_read_with_its_scope(self, call: Caller) -> None:
        """Facts 4."""
        assert (await call("GET", "/v3/user/account")).body.keys() == {"type", "reputation"}


class TestRoutes:
    async def test_an_unknown_path_is_404_and_another_method_405(self, call: Caller) -> None:
        assert (await call("GET", "/v3/nothing")).status == 404
        assert (await call("PUT", LISTS)).status == 405

    async def test_a_long_url_is_414_in_html(self, call: Caller) -> None:
        """Facts 2.1: nginx, above about 8,150 characters."""
        reply = await call("GET", LISTS, a="b" * 8_150)

        assert reply.status == 414
        assert reply.body.startswith(b"<html>")

    async def test_a_body_that_is_no_object_is_400(self, call: Caller) -> None:
        assert (await call("POST", LISTS, [1])).status == 400


class TestRateLimits:
    async def test_are_told_by_headers_of_every_answer(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 0: limit, remaining, and when the window resets in unix seconds."""
        fake.rates.set("GET", LISTS, requests=5, seconds=60)

        headers = (await call("GET", LISTS)).headers

        assert headers["X-RateLimit-Limit"] == "5"
        assert headers["X-RateLimit-Remaining"] == "4"
        assert headers["X-RateLimit-Reset"] == str(int(fake.clock.now()) + 60)

    async def test_refuse_with_429_until_the_reset_without_retry_after(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 0: the field is null, the message `too many requests`."""
        fake.rates.set("GET", LISTS, requests=1, seconds=10)
        await call("GET", LISTS)

        reply = await call("GET", LISTS)

        assert reply.status == 429
        assert reply.body == {"errors": [{"field": None, "message": "too many requests"}]}
        assert "Retry-After" not in reply.headers
        fake.clock.advance(10)
        assert (await call("GET", LISTS)).status == 200
        assert fake.rates.refused == 1

    async def test_are_per_endpoint(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 0."""
        fake.rates.set("GET", LISTS, requests=1, seconds=10)
        fake.rates.set("GET", LISTS + "/*", requests=1, seconds=10)

        statuses = [(await call("GET", path)).status for path in (LISTS, LISTS + "/a", LISTS + "/b")]

        assert statuses == [200, 404, 429]
