"""SendGrid's v3 API: plain arguments in, plain values out, failures as errors.

Source: SendGrid's OpenAPI descriptions, and what others have seen where these are silent.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

from connectors.errors import Retry
from connectors.http import NotFoundError, error_for

MOST_FOUND = 100
"""Addresses in one search."""
MOST_REMOVED = 200
"""Contact ids in one removal: they are part of the URL, of which about 8,150 characters were seen to pass."""

_PAGE = 1000
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
_REPORT_BYTES = 64 << 20
"""Of an error report; what is beyond it is not read."""
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Job:
    """An import job.

    Attributes:
        status: `pending`, then `completed`, `errored` (some rows failed) or `failed` (all did).
        created: contacts that are new.
        updated: contacts that were there.
        errored: rows that failed.
        errors_url: where these are described; empty where there is no such file.
    """

    status: str
    created: int
    updated: int
    errored: int
    errors_url: str

    @property
    def finished(self) -> bool:
        """Whether it has an end, good or bad."""
        return self.status in ("completed", "errored", "failed")


class SendGrid:
    """One account. An asynchronous context manager: it opens a session.

    Every method raises Retry where SendGrid cannot now, with the time it asks to wait; Reject where the request is at
    fault, with SendGrid's answer as its detail; Fatal where the key or an address is.

    Args:
        api_key: with the right for what is asked.
        api_url: https://api.sendgrid.com, or https://api.eu.sendgrid.com.
    """

    def __init__(self, api_key: str, api_url: str) -> None:
        self._url = api_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def scopes(self) -> list[str]:
        """What the key may do."""
        return list((await self._call("GET", "/v3/scopes"))["scopes"])

    async def custom_fields(self) -> list[dict[str, Any]]:
        """All custom fields: `id`, `name`, `field_type`."""
        return list((await self._call("GET", "/v3/marketing/field_definitions")).get("custom_fields") or [])

    async def create_field(self, name: str, field_type: str) -> None:
        """Make a custom field. It may take a while until contacts can have it."""
        body = orjson.dumps({"name": name, "field_type": field_type})
        await self._call("POST", "/v3/marketing/field_definitions", body)

    async def lists(self) -> AsyncIterator[dict[str, Any]]:
        """All lists: `id`, `name`, `contact_count`."""
        async for each in self._pages(f"/v3/marketing/lists?page_size={_PAGE}"):
            yield each

    async def list_of(self, list_id: str) -> dict[str, Any] | None:
        """One list; None where there is none of this id."""
        try:
            return await self._call("GET", f"/v3/marketing/lists/{quote(list_id)}")
        except NotFoundError:
            return None

    async def create_list(self, name: str) -> str:
        """Make a list and return its id."""
        return str((await self._call("POST", "/v3/marketing/lists", orjson.dumps({"name": name})))["id"])

    async def rename_list(self, list_id: str, name: str) -> None:
        """Give a list another name."""
        await self._call("PATCH", f"/v3/marketing/lists/{quote(list_id)}", orjson.dumps({"name": name}))

    async def upload(self, body: bytes) -> str:
        """Create or update contacts and put them on lists; returns the id of the job that does it later.

        Args:
            body: of `PUT /v3/marketing/contacts`, within its limits.
        """
        return str((await self._call("PUT", "/v3/marketing/contacts", body))["job_id"])

    async def job(self, job_id: str) -> Job:
        """How far an import job is."""
        answer = await self._call("GET", f"/v3/marketing/contacts/imports/{quote(job_id)}")
        results = answer.get("results") or {}
        return Job(
            status=str(answer.get("status", "pending")),
            created=int(results.get("created_count") or 0),
            updated=int(results.get("updated_count") or 0),
            errored=int(results.get("errored_count") or 0),
            errors_url=str(results.get("errors_url") or ""),
        )

    async def find(self, emails: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The contacts of some addresses, by address; those that are none are left out.

        Args:
            emails: at most MOST_FOUND, lower case.
        """
        try:
            answer = await self._call("POST", "/v3/marketing/contacts/search/emails", orjson.dumps({"emails": emails}))
        except NotFoundError:  # none of them is one
            return {}
        return {email: found["contact"] for email, found in answer["result"].items() if "contact" in found}

    async def remove(self, list_id: str, contact_ids: Iterable[str]) -> None:
        """Take contacts off a list, some time later.

        Args:
            list_id: of the list.
            contact_ids: at most MOST_REMOVED.

        Raises:
            NotFoundError: the list or one of the contacts is not there; nothing was done.
        """
        ids = ",".join(map(quote, contact_ids))
        await self._call("DELETE", f"/v3/marketing/lists/{quote(list_id)}/contacts?contact_ids={ids}")

    async def report(self, url: str) -> str:
        """The file at a link that SendGrid gave. Such a link is signed and refuses a key beside its signature."""
        content = bytearray()
        async with self._answer("GET", url, None, {}) as response:
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _REPORT_BYTES:
                    break
        # SendGrid's files are compressed whatever their name is, and were once seen not to be.
        if content[:2] == b"\x1f\x8b":
            content = bytearray(zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(bytes(content), _REPORT_BYTES))
        return content.decode("utf-8", "replace")

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        following = path
        while following:
            answer = await self._call("GET", following)
            for each in answer.get("result") or []:
                yield each
            following = following_page(answer)

    async def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = self._headers | (_JSON if body is not None else {})
        async with self._answer(method, self._url + path, body, headers) as response:
            content = await response.read()
        try:
            return orjson.loads(content) if content else {}
        except orjson.JSONDecodeError as error:
            raise Retry(f"SendGrid's answer to {method} {path.partition('?')[0]} is not JSON") from error

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109  aiohttp's own
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session, "not open"
        try:
            # As a file, because aiohttp warns of large bodies that are bytes: it would write them in one piece.
            data = BytesIO(body) if body is not None else None
            patience = timeout or self._session.timeout
            async with self._session.request(method, url, data=data, headers=headers, timeout=patience) as response:
                if response.status >= 400:  # noqa: PLR2004
                    raise error_for(
                        response.status, await response.text(errors="replace"), response.headers, "SendGrid"
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry(f"SendGrid does not answer: {str(error) or type(error).__name__}") from error


def following_page(answer: Mapping[str, Any]) -> str:
    """The path of the page that follows an answer; empty where none does."""
    # It is an absolute address, of which the host is not taken over: the key goes to the configured host only.
    url = str((answer.get("_metadata") or {}).get("next") or "")
    return url[url.find("/v3/") :] if "/v3/" in url else ""
