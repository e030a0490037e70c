"""All contacts and who is in which list and segment, by exports: SendGrid has no other way to read them.

An export of all contacts does not say who is where, and one of several lists not who is in which. So there is one of
all, and one of each list and segment.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from connectors.errors import Fatal, Reject, Retry
from connectors.http import NotFoundError
from connectors.sendgrid_objects import DeadLinkError, Export, SendGridObjects
from schemas.export_files import BadFileError, ExportFile, Record
from schemas.objects import RECIPIENTS, SEGMENTS, contact, contact_id
from streams.objects.calls import Calls, IncompleteError
from streams.objects.staging import Staging

_AT_ONCE = 2
"""SendGrid makes so many exports at the same time, others have seen."""
_TRIES = 3
_AGAIN_SECONDS = 30.0
_FIRST_LOOK_SECONDS = 0.5
_LOOK_SECONDS = 10.0
_LONGEST_SECONDS = 2 * 3600.0


class _Wanted(NamedTuple):
    """An export to be made: of a list, of a segment, or, where it names neither, of everybody."""

    list_id: str = ""
    segment_id: str = ""


class ExportFailedError(Reject):
    """SendGrid has given an export up."""


class ContactExports:
    """Pulls recipients.

    Args:
        api: of the account, open.
        calls: make its calls.
        staging: takes the recipients.
        on_progress: told how many have come, and of how many.
    """

    def __init__(
        self,
        api: SendGridObjects,
        calls: Calls,
        staging: Staging,
        on_progress: Callable[[int, int | None], None],
    ) -> None:
        self._api = api
        self._calls = calls
        self._staging = staging
        self._on_progress = on_progress
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._expected = 0

    async def run(self, lists: Sequence[str], segments: Sequence[str]) -> None:
        """Pull everything.

        Args:
            lists: ids of all lists.
            segments: ids of all segments.
        """
        fields = await self._calls("asking for custom fields", self._api.custom_fields)
        self._names = {str(each["name"]).lower(): str(each["name"]) for each in fields}
        wanted = iter(
            [_Wanted(), *(_Wanted(list_id=each) for each in lists), *(_Wanted("", each) for each in segments)]
        )
        workers = [asyncio.ensure_future(self._work(wanted)) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if (count := sum(self._counts.values())) < self._expected:
            raise IncompleteError(
                f"SendGrid counted {self._expected} contacts, its files have {count}: none was marked as deleted"
            )

    async def _work(self, wanted: Iterable[_Wanted]) -> None:
        for each in wanted:
            try:
                await self._pull(each)
            except NotFoundError:
                if not await self._is_gone(each):
                    raise
                # Nobody is in it.

    async def _is_gone(self, wanted: _Wanted) -> bool:
        """Whether a list or segment has been deleted since it was listed."""
        if wanted.list_id:
            return not await self._calls("looking for a list", partial(self._api.list_of, wanted.list_id))
        look = partial(self._api.single, SEGMENTS.name, wanted.segment_id)
        return bool(wanted.segment_id) and not await self._calls("looking for a segment", look)

    async def _pull(self, wanted: _Wanted) -> None:
        for left in reversed(range(_TRIES)):
            try:
                export = await self._finished(wanted)
                if not any(wanted):
                    self._expected = export.contacts
                    self._counts.clear()
                for url in export.urls:
                    await self._calls("downloading an export", partial(self._download, url, wanted, export.contacts))
            except (DeadLinkError, ExportFailedError):
                if not left:
                    raise
                await self._calls.pause(_AGAIN_SECONDS)
            else:
                return

    async def _finished(self, wanted: _Wanted) -> Export:
        export_id = await self._calls("asking for an export", partial(self._api.start_export, *wanted))
        waited, pause = 0.0, _FIRST_LOOK_SECONDS
        while waited < _LONGEST_SECONDS:
            await self._calls.pause(pause)
            waited, pause = waited + pause, min(2 * pause, _LOOK_SECONDS)
            export = await self._calls("looking at an export", partial(self._api.export, export_id))
            if export.status == "ready":
                return export
            if export.status != "pending":
                raise ExportFailedError(f"SendGrid could not export contacts: {export.message or export.status}")
        raise Fatal(f"SendGrid has not finished an export of contacts within {_LONGEST_SECONDS / 3600:.0f} hours")

    async def _download(self, url: str, wanted: _Wanted, total: int) -> None:
        """Read one file to its end; what is read again replaces itself."""
        take = self._take_members if any(wanted) else self._take_contacts
        file = ExportFile()
        if not any(wanted):
            self._counts[url] = 0
        try:
            async with aclosing(self._api.file(url)) as pieces:
                async for piece in pieces:
                    for records in file.feed(piece):
                        await take(records, wanted)
                        if not any(wanted):
                            self._count(url, records, total)
            for records in file.finish():
                await take(records, wanted)
                if not any(wanted):
                    self._count(url, records, total)
        except BadFileError as error:
            raise Retry(f"the file of an export cannot be read: {error}") from error

    def _count(self, url: str, records: Sequence[Record], total: int) -> None:
        self._counts[url] += len(records)
        self._on_progress(sum(self._counts.values()), total or None)

    async def _take_contacts(self, records: Sequence[Record], _: _Wanted) -> None:
        try:
            rows = [RECIPIENTS.row(contact(record, self._names)) for record in records]
        except ValueError as error:
            raise BadFileError(str(error)) from error
        await self._staging.add(rows)

    async def _take_members(self, records: Sequence[Record], wanted: _Wanted) -> None:
        column, value = ("list_ids", wanted.list_id) if wanted.list_id else ("segment_ids", wanted.segment_id)
        ids = map(contact_id, records)
        await self._staging.join({"id": each, column: [value]} for each in ids if each)
