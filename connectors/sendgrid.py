"""SendGrid's v3 API: plain arguments in, plain values out, failures as errors.

Source: SendGrid's OpenAPI descriptions, and what others have seen where these are silent.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from itertools import count
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import orjson

from connectors.errors import Fatal, GridstreamError, Retry
from connectors.http import Client, NotFoundError, error_for, redacted

MOST_FOUND = 100
"""Addresses in one search."""
MOST_REMOVED = 200
"""Contact ids in one removal: they are part of the URL, of which about 8,150 characters were seen to pass."""

_PAGE = 1000
_DOMAINS = 200
_SENDERS = 100
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
_IDLE_SECONDS = 5
_CONNECTIONS = 100
_REPORT_BYTES = 64 << 20
"""Of an error report; what is beyond it is not read."""
_JSON = {"Content-Type": "application/json"}
_NOT_DONE = frozenset({425, 429, 503})
"""Answers that ask to come again, and before which nothing was done."""


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


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that SendGrid took.

    Attributes:
        message_id: SendGrid's; the `sg_message_id` of its events begins with it.
        is_delivered: unless it was only checked, in sandbox mode.
    """

    message_id: str
    is_delivered: bool


class UncertainOutcomeError(GridstreamError):
    """A mail may have been sent or not: sending it again could send it twice."""


class SendGrid(Client):
    """One account.

    Every method raises Retry where SendGrid cannot now, with the time it asks to wait; Reject where the request is at
    fault, with SendGrid's answer as its detail; Fatal where the key or an address is.

    Args:
        api_key: with the right for what is asked.
        api_url: https://api.sendgrid.com, or https://api.eu.sendgrid.com.
        connections: that are open at the same time.
    """

    def __init__(self, api_key: str, api_url: str, connections: int = _CONNECTIONS) -> None:
        self._connections = connections
        self._url = api_url.rstrip("/")
        self._key = api_key
        self._headers = {"Authorization": f"Bearer {api_key}"}

    def _opened(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        # A connection that SendGrid closes just as a mail is put on it leaves unknown whether the mail arrived: none is
        # used again that has been idle for as long as servers are known to wait.
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_IDLE_SECONDS)
        return aiohttp.ClientSession(timeout=timeout, connector=connector)

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

    async def delete_contacts(self, contact_ids: Iterable[str]) -> str:
        """Delete contacts for good, some time later; returns the id of the job that does it.

        Args:
            contact_ids: at most MOST_REMOVED.
        """
        ids = ",".join(map(quote, contact_ids))
        return str((await self._call("DELETE", f"/v3/marketing/contacts?ids={ids}")).get("job_id", ""))

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

    async def send_mail(self, body: bytes) -> SentMail:
        """Send a mail. Nothing is ever sent twice by itself; what was refused was not sent.

        Args:
            body: of `POST /v3/mail/send`, within its limits.

        Raises:
            Retry: it was not sent; it may be sent again.
            UncertainOutcomeError: nobody knows whether it was sent.
        """
        try:
            async with self._session.post(
                f"{self._url}/v3/mail/send",
                data=BytesIO(body),
                headers=self._headers | _JSON,
                allow_redirects=False,  # a POST that is redirected may become a GET
            ) as response:
                status = response.status
                if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                    # The sandbox mode is answered with 200 instead of 202.
                    return SentMail(response.headers.get("X-Message-Id", ""), status != HTTPStatus.OK)
                reason = f"SendGrid answered {status}: {redacted(await _text(response), self._key)}"
                if status < HTTPStatus.BAD_REQUEST:
                    raise Fatal(f"{reason} (is api_url right?)")
                error = error_for(status, reason.partition(": ")[2], response.headers, "SendGrid")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failure:
            raise Retry(f"SendGrid cannot be reached: {failure}") from failure
        except (aiohttp.ClientError, TimeoutError) as failure:
            reason = str(failure) or type(failure).__name__
            raise UncertainOutcomeError(f"SendGrid's answer was lost: {reason}") from failure
        if status not in _NOT_DONE and (isinstance(error, Retry) or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
            raise UncertainOutcomeError(str(error))
        raise error

    async def template(self, template_id: str) -> dict[str, Any] | None:
        """A template with its versions and their content; None where there is none of this id."""
        try:
            return await self._call("GET", f"/v3/templates/{quote(template_id)}")
        except NotFoundError:
            return None

    async def unsubscribe_groups(self) -> dict[int, str]:
        """The names of all unsubscribe groups, by number."""
        return {int(each["id"]): str(each["name"]) for each in await self._array("/v3/asm/groups")}

    async def ip_pools(self) -> list[str]:
        """The names of all IP pools."""
        return [str(each["name"]) for each in await self._array("/v3/ips/pools")]

    async def domains(self) -> dict[str, bool]:
        """All authenticated domains: whether each is valid."""
        found: dict[str, bool] = {}
        for offset in count(0, _DOMAINS):
            page = await self._array(f"/v3/whitelabel/domains?limit={_DOMAINS}&offset={offset}")
            found |= {str(each["domain"]): bool(each["valid"]) for each in page}
            if len(page) < _DOMAINS:
                break
        return found

    async def single_senders(self) -> dict[str, bool]:
        """The addresses of all Single Senders, in lower case: whether each is verified.

        Raises:
            ForbiddenError: the key may not ask; SendGrid does not say which scope it needs.
        """
        found: dict[str, bool] = {}
        last = 0
        while True:
            answer = await self._call("GET", f"/v3/verified_senders?limit={_SENDERS}&lastSeenID={last}")
            # Nothing says how many a page has at most, nor that they are in order: only one without any is the last.
            page = [each for each in answer.get("results") or [] if int(each["id"]) > last]
            if not page:
                return found
            last = max(int(each["id"]) for each in page)
            for each in page:
                email = str(each["from_email"]).lower()
                found[email] = found.get(email, False) or bool(each["verified"])

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        following = path
        while following:
            answer = await self._call("GET", following)
            for each in answer.get("result") or []:
                yield each
            following = following_page(answer)

    async def _array(self, path: str) -> list[dict[str, Any]]:
        """What is answered with an array that is no member of an object."""
        return cast("list[dict[str, Any]]", await self._call("GET", path))

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
        try:
            # As a file, because aiohttp warns of large bodies that are bytes: it would write them in one piece.
            data = BytesIO(body) if body is not None else None
            patience = timeout or self._session.timeout
            async with self._session.request(method, url, data=data, headers=headers, timeout=patience) as response:
                if response.status >= 400:  # noqa: PLR2004
                    text = redacted(await response.text(errors="replace"), self._key)
                    raise error_for(response.status, text, response.headers, "SendGrid")
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry(f"SendGrid does not answer: {str(error) or type(error).__name__}") from error


def following_page(answer: Mapping[str, Any]) -> str:
    """The path of the page that follows an answer; empty where none does."""
    # It is an absolute address, of which the host is not taken over: the key goes to the configured host only.
    url = str((answer.get("_metadata") or {}).get("next") or "")
    return url[url.find("/v3/") :] if "/v3/" in url else ""


async def _text(response: aiohttp.ClientResponse) -> str:
    """What an answer says, as far as it arrives."""
    try:
        return await response.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError):
        return ""
