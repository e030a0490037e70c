"""What SendGrid's API does, as far as gridstream relies on it: one contract, on the fake, and on SendGrid itself.

With a key of an account that may be written to in GRIDSTREAM_TEST_SENDGRID_KEY, everything is also asked of the real
API: it makes a list of its own and takes it away again.
"""

import asyncio
import gzip
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from connectors.errors import Fatal, Reject, Retry
from connectors.http import NotFoundError, error_for
from connectors.sendgrid import SendGrid
from schemas.contacts import refused_addresses, upload
from tests.fakes.clock import Clock
from tests.fakes.faults import Cut, Drop, Hang, Respond
from tests.fakes.sendgrid import FakeSendGrid

REAL_KEY = os.environ.get("GRIDSTREAM_TEST_SENDGRID_KEY", "")
_PATIENCE_SECONDS = 300


@dataclass
class Account:
    """An account under test.

    Attributes:
        api: of it.
        pause: waits for so many seconds.
        list_id: of a list that is the test's own.
        list_name: of this list.
    """

    api: SendGrid
    pause: Callable[[float], Awaitable[None]]
    list_id: str
    list_name: str

    async def put(self, *emails: str) -> None:
        """Put people onto the list, and wait until they are there."""
        body, _ = upload(self.list_id, [f'{{"email":"{email}"}}'.encode() for email in emails])
        job_id = await self.api.upload(body)
        for _ in range(_PATIENCE_SECONDS):
            job = await self.api.job(job_id)
            if job.finished:
                assert job.status == "completed"
                return
            await self.pause(1)
        raise AssertionError("the job does not finish")


@pytest.fixture(
    params=[
        "fake",
        pytest.param("real", marks=pytest.mark.skipif(not REAL_KEY, reason="needs GRIDSTREAM_TEST_SENDGRID_KEY")),
    ]
)
async def account(request: pytest.FixtureRequest) -> AsyncIterator[Account]:
    name = f"gridstream contract {uuid.uuid4().hex[:8]}"
    if request.param == "real":
        async with SendGrid(REAL_KEY, "https://api.sendgrid.com") as api:
            list_id = await api.create_list(name)
            yield Account(api, asyncio.sleep, list_id, name)
            await api._call("DELETE", f"/v3/marketing/lists/{list_id}")
        return
    async with FakeSendGrid(Clock(time.time())) as fake, SendGrid(fake.key, fake.url) as api:

        async def pause(seconds: float) -> None:
            fake.clock.advance(seconds)

        yield Account(api, pause, await api.create_list(name), name)


class TestContract:
    async def test_a_list_is_found_and_renamed(self, account: Account) -> None:
        assert account.list_name in [each["name"] async for each in account.api.lists()]
        await account.api.rename_list(account.list_id, f"{account.list_name} renamed")
        found = await account.api.list_of(account.list_id)

        assert found
        assert found["name"] == f"{account.list_name} renamed"

    async def test_a_list_that_is_not_there_is_none(self, account: Account) -> None:
        assert await account.api.list_of("00000000-0000-4000-8000-000000000000") is None

    async def test_people_come_onto_a_list_and_off_it(self, account: Account) -> None:
        ada, bob = (f"{name}.{uuid.uuid4().hex[:8]}@example.com" for name in ("ada", "bob"))
        await account.put(ada, bob)
        for _ in range(_PATIENCE_SECONDS):
            found = await account.api.find([ada, bob, "nobody@example.com"])
            if found.keys() == {ada, bob}:
                break
            await account.pause(1)
        assert all(account.list_id in contact["list_ids"] for contact in found.values())

        await account.api.remove(account.list_id, [found[ada]["id"]])
        for _ in range(_PATIENCE_SECONDS):
            found = await account.api.find([ada, bob])
            if account.list_id not in found[ada]["list_ids"]:
                break
            await account.pause(1)
        assert account.list_id in found[bob]["list_ids"]

    async def test_nobody_is_found_among_strangers(self, account: Account) -> None:
        assert await account.api.find([f"{uuid.uuid4().hex}@example.com"]) == {}

    async def test_a_malformed_address_refuses_the_upload_and_is_named(self, account: Account) -> None:
        body, _ = upload(account.list_id, [b'{"email":"ada@example.com"}', b'{"email":"bob@@example.com"}'])
        with pytest.raises(Reject) as refusal:
            await account.api.upload(body)

        assert list(refused_addresses(refusal.value.detail, {"ada@example.com", "bob@@example.com"})) == [
            "bob@@example.com"
        ]

    async def test_a_removal_of_a_stranger_says_so(self, account: Account) -> None:
        with pytest.raises((NotFoundError, Reject)):
            await account.api.remove(account.list_id, ["00000000-0000-4000-8000-000000000000"])

    async def test_the_fields_and_the_scopes_can_be_asked_for(self, account: Account) -> None:
        assert all({"id", "name", "field_type"} <= field.keys() for field in await account.api.custom_fields())
        assert any("marketing" in scope for scope in await account.api.scopes())

    async def test_a_wrong_key_is_refused(self, account: Account) -> None:
        async with SendGrid("SG.wrong", account.api._url) as stranger:
            with pytest.raises(Fatal, match="401"):
                await stranger.scopes()


class TestFailures:
    @pytest.fixture
    async def fake(self) -> AsyncIterator[FakeSendGrid]:
        async with FakeSendGrid() as fake:
            yield fake

    @pytest.fixture
    async def api(self, fake: FakeSendGrid) -> AsyncIterator[SendGrid]:
        async with SendGrid(fake.key, fake.url) as api:
            yield api

    @pytest.mark.parametrize("fault", [500, 502, 503, 429, 408])
    async def test_what_passes_is_to_be_repeated(self, fake: FakeSendGrid, api: SendGrid, fault: int) -> None:
        fake.fail("GET", "/v3/scopes", fault)

        with pytest.raises(Retry, match=str(fault)):
            await api.scopes()

    @pytest.mark.parametrize("fault", [Drop(), Cut(3)])
    async def test_a_broken_connection_is_to_be_repeated(
        self, fake: FakeSendGrid, api: SendGrid, fault: Drop | Cut
    ) -> None:
        fake.fail("GET", "/v3/scopes", fault, times=None)

        with pytest.raises(Retry, match="SendGrid"):
            await api.scopes()

    async def test_an_answer_that_is_not_json_is_to_be_repeated(self, fake: FakeSendGrid, api: SendGrid) -> None:
        fake.fail("GET", "/v3/scopes", Respond(200, b"<html>maintenance</html>"))

        with pytest.raises(Retry, match="not JSON"):
            await api.scopes()

    async def test_no_answer_is_to_be_repeated(self, fake: FakeSendGrid, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("connectors.sendgrid._ANSWER_SECONDS", 0.05)
        fake.fail("GET", "/v3/scopes", Hang())

        async with SendGrid(fake.key, fake.url) as impatient:
            with pytest.raises(Retry, match="TimeoutError"):
                await impatient.scopes()

    async def test_the_key_goes_to_the_configured_host_only(self, fake: FakeSendGrid, api: SendGrid) -> None:
        page = {"result": [], "_metadata": {"next": "https://evil.example/v3/marketing/lists?page_token=x"}}
        fake.fail("GET", "/v3/marketing/lists", Respond(200, page))
        fake.fail("GET", "/v3/marketing/lists", Respond(200, {"result": []}))

        assert [each async for each in api.lists()] == []
        assert [call.query.get("page_token") for call in fake.calls] == [None, "x"]

    async def test_a_report_that_is_compressed_is_unpacked(self, fake: FakeSendGrid, api: SendGrid) -> None:
        packed = gzip.compress(b"email,error\n")
        fake.fail("GET", "/report", Respond(200, packed))

        assert await api.report(f"{fake.url}/report") == "email,error\n"


class TestWaiting:
    def test_the_time_that_is_asked_for_is_taken(self) -> None:
        error = error_for(429, "", {"Retry-After": "7"}, "it")

        assert isinstance(error, Retry)
        assert error.after == 7

    def test_a_rate_limit_says_when_it_ends(self) -> None:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
        error = error_for(429, "", headers, "it")

        assert isinstance(error, Retry)
        assert 28 <= (error.after or 0) <= 30

    def test_a_rate_limit_that_is_not_reached_says_nothing(self) -> None:
        headers = {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": str(int(time.time()) + 30)}
        error = error_for(503, "", headers, "it")

        assert isinstance(error, Retry)
        assert error.after is None
