"""A fake account whose time stands still, and a caller of it."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from io import BytesIO
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest

from tests.fakes.clock import Clock
from tests.fakes.sendgrid import FakeSendGrid

NOON = 1_790_000_000.0


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def messages(self) -> list[str]:
        """Of an answer that refuses."""
        return [error["message"] for error in self.body["errors"]]


class Caller:
    """Calls a fake with a key."""

    def __init__(self, session: aiohttp.ClientSession, fake: FakeSendGrid) -> None:
        self._session = session
        self._fake = fake
        self.key = fake.key

    async def __call__(self, method: str, path: str, body: Any = None, **query: str) -> Reply:
        url = path if path.startswith("http") else self._fake.url + path
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        content = None if body is None else BytesIO(orjson.dumps(body))
        async with self._session.request(method, url, data=content, params=query, headers=headers) as answer:
            read = await answer.read()
            is_json = answer.content_type == "application/json"
            return Reply(answer.status, orjson.loads(read) if is_json else read, dict(answer.headers))

    async def upsert(self, *contacts: Any, lists: list[str] | None = None) -> str:
        """Put contacts, and let their job finish."""
        body: dict[str, Any] = {"contacts": list(contacts)}
        if lists:
            body["list_ids"] = lists
        reply = await self("PUT", "/v3/marketing/contacts", body)
        assert reply.status == HTTPStatus.ACCEPTED, reply
        self._fake.clock.advance(1)
        return str(reply.body["job_id"])

    async def job(self, job_id: str) -> Any:
        return (await self("GET", f"/v3/marketing/contacts/imports/{job_id}")).body


@pytest.fixture
async def fake() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid(Clock(NOON)) as fake:
        fake.timing.job = 0.5
        yield fake


@pytest.fixture
async def call(fake: FakeSendGrid) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(session, fake)
