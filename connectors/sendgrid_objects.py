"""Reading what SendGrid keeps: pages of objects, single ones, suppressions, exports of contacts and their files.

Source: SendGrid's OpenAPI descriptions, and what others have seen where these are silent.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from connectors.errors import Fatal, Reject, Retry
from connectors.http import ForbiddenError, NotFoundError
from connectors.sendgrid import SendGrid, following_page

Item = dict[str, Any]

SUPPRESSIONS_PAGE = 500
"""Entries of one page of suppressions."""

_FIRST_PAGES = {
    "lists": "/v3/marketing/lists?page_size=1000",
    "segments": "/v3/marketing/segments/2.0",
    "campaigns": "/v3/marketing/singlesends?page_size=100",
    "campaign_stats": "/v3/marketing/stats/singlesends?page_size=50",
    "templates": "/v3/templates?generations=legacy,dynamic&page_size=200",
    "unsubscribe_groups": "/v3/asm/groups",
}
_SINGLE = {
    "segments": "/v3/marketing/segments/2.0/{id}?contacts_sample=false",
    "campaigns": "/v3/marketing/singlesends/{id}",
    "templates": "/v3/templates/{id}",
}
_SCOPES = {
    "/v3/marketing/": "marketing.read",
    "/v3/asm/": "asm.groups.read",
    "/v3/suppression/": "suppression.read",
    "/v3/templates": "templates.read",
}
SCOPES = tuple(_SCOPES.values())
"""What a key needs in order to read everything."""
MARKETING = SCOPES[0]

_EXPORTS = "/v3/marketing/contacts/exports"
_FILE_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
"""A file of millions of contacts takes as long as it takes, but it must not stand still."""


class ForbiddenHereError(ForbiddenError):
    """The key is good, but not for this.

    Args:
        reason: SendGrid's answer.
        scope: what the call needs.
    """

    def __init__(self, reason: str, scope: str) -> None:
        super().__init__(reason)
        self.scope = scope


class DeadLinkError(Reject):
    """A link to a file does not work, or not any more: there must be another export."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects, and where the next ones are; empty behind the last page."""

    items: Sequence[Item]
    following: str


@dataclass(frozen=True, slots=True)
class Export:
    """An export of contacts.

    Attributes:
        status: `pending`, then `ready` or `failure`.
        contacts: how many are in its files, where SendGrid says so.
        urls: of its files; they expire.
        message: why it failed.
    """

    status: str
    contacts: int
    urls: Sequence[str]
    message: str


class SendGridObjects(SendGrid):
    """One account, for reading. Every method raises as SendGrid's do; where the key may not, ForbiddenHereError."""

    async def page(self, objects: str, following: str = "") -> Page:
        """Some of the objects of one kind.

        Args:
            objects: lists, segments, campaigns, campaign_stats, templates or unsubscribe_groups.
            following: of the page before; empty: the first page.
        """
        path = following or _FIRST_PAGES[objects]
        answer: Any = await self._call("GET", path)
        if isinstance(answer, list):
            return Page(_objects(answer, path), "")
        found = next((answer[key] for key in ("result", "results") if key in answer), answer)
        return Page(_objects(found, path), following_page(answer))

    async def single(self, objects: str, object_id: str) -> Item | None:
        """One object with its details; None where there is none of this id.

        Args:
            objects: segments, campaigns or templates.
            object_id: of the object.
        """
        try:
            return await self._call("GET", _SINGLE[objects].format(id=quote(object_id, safe="")))
        except NotFoundError:
            return None

    async def suppressions(self, type_: str, until: int, offset: int) -> list[Item]:
        """At most SUPPRESSIONS_PAGE entries of a suppression list.

        Args:
            type_: bounces, blocks, …; empty: of unsubscribe groups.
            until: entries made later are left out, in seconds since 1970.
            offset: so many are left out.
        """
        path = f"/v3/suppression/{type_}" if type_ else "/v3/asm/suppressions"
        query = f"end_time={until}&limit={SUPPRESSIONS_PAGE}&offset={offset}"
        return _objects(await self._call("GET", f"{path}?{query}"), path)

    async def start_export(self, list_id: str = "", segment_id: str = "") -> str:
        """Ask for an export of contacts; returns its id.

        Args:
            list_id: whose members are wanted,
            segment_id: or whose; with neither, all contacts.

        Raises:
            NotFoundError: there is no such list or segment.
        """
        chosen = {"list_ids": [list_id]} if list_id else {"segment_ids": [segment_id]} if segment_id else {}
        # JSON, because CSV has the names of custom fields in capital letters.
        return str((await self._call("POST", _EXPORTS, orjson.dumps({"file_type": "json", **chosen})))["id"])

    async def export(self, export_id: str) -> Export:
        """How far an export is."""
        answer = await self._call("GET", f"{_EXPORTS}/{quote(export_id)}")
        return Export(
            status=str(answer.get("status", "pending")),
            contacts=int(answer.get("contact_count") or 0),
            urls=[str(url) for url in answer.get("urls") or ()],
            message=str(answer.get("message") or ""),
        )

    async def file(self, url: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, as they arrive. Its link is signed and refuses a key beside its signature.

        Raises:
            DeadLinkError: the link has expired, or is none.
            Retry: the download broke off; the same link can be tried again.
        """
        try:
            async with self._answer("GET", url, None, {}, _FILE_TIMEOUT) as response:
                async for piece in response.content.iter_any():
                    yield piece
        except (Fatal, Reject) as error:
            raise DeadLinkError(f"the link to an export's file does not work: {error}") from error

    async def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            return await super()._call(method, path, body)
        except ForbiddenError as error:
            raise ForbiddenHereError(str(error), _scope(path)) from error


def _objects(found: object, path: str) -> list[Item]:
    """What an answer lists. One that lists nothing is not taken for one that lists no objects: these would be gone."""
    if found is None:
        return []
    if not isinstance(found, list):
        raise Retry(f"SendGrid's answer to GET {path.partition('?')[0]} has no list of objects")
    return [each for each in found if isinstance(each, dict)]


def _scope(path: str) -> str:
    return next((scope for beginning, scope in _SCOPES.items() if path.startswith(beginning)), "")


def missing_scopes(scopes: Sequence[str], needed: Sequence[str] = SCOPES) -> list[str]:
    """What a key lacks. A scope is also there when all its parts are: suppression.bounces.read and so on.

    Args:
        scopes: what the key has.
        needed: what it needs.
    """
    return [scope for scope in needed if scope not in scopes and not _has_parts(scope, scopes)]


def _has_parts(scope: str, scopes: Sequence[str]) -> bool:
    area, _, right = scope.rpartition(".")
    return area == "suppression" and any(each.startswith(f"{area}.") and each.endswith(f".{right}") for each in scopes)
