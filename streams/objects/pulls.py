"""What is asked of SendGrid for each kind of object."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from connectors.errors import Fatal
from connectors.sendgrid_objects import SUPPRESSIONS_PAGE, SendGridObjects
from schemas.objects import (
    CAMPAIGNS,
    GROUP_UNSUBSCRIBES,
    LISTS,
    RECIPIENTS,
    SEGMENTS,
    SUPPRESSION_TYPES,
    SUPPRESSIONS,
    TEMPLATES,
    UNSUBSCRIBE_GROUPS,
    Item,
    ObjectType,
    Row,
    suppression,
    template,
)
from streams.clock import now
from streams.objects.calls import Calls, IncompleteError
from streams.objects.exports import ContactExports
from streams.objects.staging import Staging
from streams.pieces import pieces

T = TypeVar("T")

_AT_ONCE = 100
"""Objects whose stored details are looked at together."""
_CALLS_AT_ONCE = 8
_TRIES = 3


class Puller:
    """Pulls objects of one account into a staging.

    Args:
        api: of the account, open.
        calls: make its calls.
        on_progress: told of each kind how many objects have come, and of how many where that is known.
    """

    def __init__(self, api: SendGridObjects, calls: Calls, on_progress: Callable[[str, int, int | None], None]) -> None:
        self._api = api
        self._calls = calls
        self._on_progress = on_progress

    async def pull(self, staging: Staging) -> None:
        """Pull everything of the staging's kind.

        Raises:
            IncompleteError: it changed faster than it could be pulled.
            Fatal, Reject: it cannot be pulled.
            LostError: it is another worker's.
        """
        await _PULLS[staging.kind.name](self, staging)

    async def pages(self, objects: str) -> AsyncIterator[Sequence[Item]]:
        """All pages of one kind of object.

        Args:
            objects: as `SendGridObjects.page` has it.
        """
        following = ""
        while True:
            page = await self._calls(f"pulling {objects}", partial(self._api.page, objects, following))
            yield page.items
            following = page.following
            if not following:
                return

    async def _listed(self, staging: Staging) -> None:
        """Objects that pages tell everything of."""
        count = 0
        async for items in self.pages(staging.kind.name):
            await staging.add(_row(staging.kind, item) for item in items)
            count += len(items)
            self._on_progress(staging.kind.name, count, None)

    async def _detailed(self, staging: Staging, shaped: Callable[[Item], Item] = lambda item: item) -> None:
        """Objects of which only each by itself has everything: those that have not changed are not asked for."""
        count = 0
        async for items in self.pages(staging.kind.name):
            for some in pieces(items, _AT_ONCE):
                rows = [_row(staging.kind, shaped(item)) for item in some]
                known = await staging.known([row["id"] for row in rows])
                await staging.add(await self._completed(staging.kind, rows, known, shaped))
                count += len(some)
                self._on_progress(staging.kind.name, count, None)

    async def _completed(
        self, kind: ObjectType, rows: Sequence[Row], known: Mapping[object, Row], shaped: Callable[[Item], Item]
    ) -> list[Row]:
        places = asyncio.Semaphore(_CALLS_AT_ONCE)

        async def complete(row: Row) -> Row:
            before = known.get(row["id"])
            if before and all(row.get(mark) == before[mark] for mark in kind.content_marks):
                return {**before, **row}
            async with places:
                what = f"looking at one of the {kind.name}"
                item = await self._calls(what, partial(self._api.single, kind.name, row["id"]))
            # One that is not there any more will be missing in the next pull's list: only that says that it is gone.
            return _row(kind, shaped(item)) if item else {**(before or {}), **row}

        return await _together(map(complete, rows))

    async def _campaigns(self, staging: Staging) -> None:
        await self._detailed(staging)
        async for items in self.pages("campaign_stats"):
            # Of a test there are also rows for each of its variations.
            totals = (item for item in items if item.get("ab_phase") in (None, "all"))
            await staging.join(CAMPAIGNS.joined_row(item) for item in totals)

    async def _suppressions(self, staging: Staging) -> None:
        count = 0
        fitting = True
        for type_ in (*SUPPRESSION_TYPES, GROUP_UNSUBSCRIBES):
            for _ in range(_TRIES):
                fits = True
                async for entries in self._entries("" if type_ == GROUP_UNSUBSCRIBES else type_):
                    fits = entries is not None
                    await staging.add(_row(SUPPRESSIONS, suppression(type_, each)) for each in entries or ())
                    count += len(entries or ())
                    self._on_progress(SUPPRESSIONS.name, count, None)
                if fits:
                    break
            fitting = fitting and fits
        if not fitting:
            raise IncompleteError("suppressions changed while they were read: none of them was marked as deleted")

    async def _entries(self, type_: str) -> AsyncIterator[Sequence[Item] | None]:
        """The pages of one suppression list; None where the next does not fit to those before.

        They are counted from the first entry, so one that is removed meanwhile makes another one slip through between
        two pages. Pages that overlap by an entry show that; new entries are left out by their time.
        """
        until = now() // 1000
        offset, last = 0, None
        while True:
            what = f"pulling {type_ or GROUP_UNSUBSCRIBES}"
            entries = await self._calls(what, partial(self._api.suppressions, type_, until, offset))
            if last is not None and entries[:1] != [last]:
                yield None
                return
            yield entries
            if len(entries) != SUPPRESSIONS_PAGE:
                return
            offset, last = offset + len(entries) - 1, entries[-1]

    async def _recipients(self, staging: Staging) -> None:
        exports = ContactExports(self._api, self._calls, staging, partial(self._on_progress, RECIPIENTS.name))
        lists = [str(item["id"]) async for items in self.pages(LISTS.name) for item in items]
        segments = [str(item["id"]) async for items in self.pages(SEGMENTS.name) for item in items]
        await exports.run(lists, segments)


_PULLS: Mapping[str, Callable[[Puller, Staging], Awaitable[None]]] = {
    LISTS.name: Puller._listed,  # noqa: SLF001  its own table
    SEGMENTS.name: Puller._detailed,  # noqa: SLF001
    CAMPAIGNS.name: Puller._campaigns,  # noqa: SLF001
    UNSUBSCRIBE_GROUPS.name: Puller._listed,  # noqa: SLF001
    SUPPRESSIONS.name: Puller._suppressions,  # noqa: SLF001
    TEMPLATES.name: lambda puller, staging: puller._detailed(staging, template),  # noqa: SLF001
    RECIPIENTS.name: Puller._recipients,  # noqa: SLF001
}


def _row(kind: ObjectType, item: Item) -> Row:
    try:
        return kind.row(item)
    except ValueError as error:
        raise Fatal(f"SendGrid's answer cannot be used: {error}") from error


async def _together(doing: Iterable[Awaitable[T]]) -> list[T]:
    """All at once; when one fails, the others are ended before its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in doing]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
