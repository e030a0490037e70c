"""Bringing one SendGrid list to what its cohort says, in calls that may all be repeated.

News of contacts that are about no list go the same way; they just name none.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog

from connectors.errors import Fatal, GridstreamError, Reject, Retry
from connectors.http import NotFoundError
from connectors.sendgrid import MOST_FOUND, MOST_REMOVED, Job
from schemas.cohorts import NO_LIST
from schemas.contacts import (
    IDENTIFIERS,
    MOST_ROWS,
    Mapper,
    errored_addresses,
    fitting,
    list_name,
    refused_addresses,
    upload,
)
from streams.clock import now
from streams.contacts.account import Account
from streams.contacts.memberships import Cohort, Pending, Sync
from streams.delivery import Refusals, persistently
from streams.pieces import pieces

log = structlog.get_logger()

T = TypeVar("T")
Part = list[tuple[Pending, bytes]]
"""People, and the contacts they are sent as."""

_LEAVING_ROWS = 5000
_LOOK_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Between two looks at an import job; the last one again and again."""
_VERIFY_SECONDS = (0.0, 5.0, 15.0, 60.0)
"""Before each look whether people are off a list: SendGrid takes them off some time after it was asked."""
_LOST_MS = 5 * 60 * 1000
"""How long an upload whose answer was lost may still be on its way."""
_GONE_MS = 24 * 3600 * 1000
"""Somebody who does not resolve for so long is no contact any more."""
_UNSAID = "SendGrid's import job left this contact out, without saying why"


class LostError(Exception):
    """The list belongs to another worker now, or this one stops."""


class ListSync:
    """One flush of one list.

    Args:
        account: the list's.
        cohort: the list's.
        owned: whether this worker may still touch the list.
        refusals: of the account.
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        account: Account,
        cohort: Cohort,
        owned: Callable[[], bool],
        refusals: Refusals,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._api = account.api
        self._memberships = account.memberships
        self._cohort = cohort
        self._owned = owned
        self._refusals = refusals
        self._pause = pause

    async def run(self) -> bool:
        """Send what is pending. Returns whether nothing is any more.

        Raises:
            LostError: the list is not this worker's any more.
        """
        cohort = self._cohort.id
        await self._memberships.pass_over_absent(cohort)
        unfinished = await self._memberships.open_syncs(cohort)
        skipped = await self._memberships.skipped(cohort)
        pending = any(await self._memberships.pending(cohort))
        if not (unfinished or pending or skipped or self._cohort.name != self._cohort.listed_as):
            return True
        try:
            if cohort != NO_LIST:
                async with self._account.naming:
                    await self._have_list()
            for sync in unfinished:
                await self._resume(sync)
            await self._enter(skipped)
            await self._leave()
        except GridstreamError as error:
            log.warning("a list is not synced", account=self._account.name, cohort=cohort, reason=str(error))
            await self._memberships.save(self._new_sync().ended("failed", str(error)))
            return False
        return not any(await self._memberships.pending(cohort))

    async def _have_list(self) -> None:
        """Find, make or rename the list."""
        others = [each for each in await self._memberships.cohorts() if each.id not in (self._cohort.id, NO_LIST)]
        cohort = self._cohort
        if cohort.list_id:
            if not await self._call("looking at a list", partial(self._api.list_of, cohort.list_id)):
                log.warning("a list is gone from SendGrid and made anew", list=cohort.list)
                await self._memberships.start_over(cohort.id)
                cohort = replace(cohort, list_id="", listed_as="")
            elif cohort.name == cohort.listed_as:
                return
        wanted = self._account.settings.list_prefix
        # Of two cohorts of one name that have no list yet, the same one gets the name in every worker.
        taken = {each.list for each in others} | {
            wanted + each.name for each in others if not each.list_id and each.id < cohort.id
        }
        name = list_name(wanted + cohort.name, cohort.id, taken)
        if cohort.list_id:
            await self._call("renaming a list", partial(self._api.rename_list, cohort.list_id, name))
            list_id = cohort.list_id
        else:
            list_id = await self._find_list(name) or await self._make_list(name)
        self._cohort = replace(cohort, listed_as=cohort.name, list=name, list_id=list_id)
        await self._memberships.name_list(self._cohort)

    async def _find_list(self, name: str) -> str:
        async def find() -> str:
            async for each in self._api.lists():
                if each["name"] == name:
                    return str(each["id"])
            return ""

        return await self._call("looking for a list", find)

    async def _make_list(self, name: str) -> str:
        try:
            return await self._call("making a list", partial(self._api.create_list, name))
        except Reject as error:
            raise Reject(f"the list {name!r} cannot be made; an account has at most 1,000 lists. {error}") from error

    async def _enter(self, skipped: int) -> None:
        after = ""
        while last := await self._enter_page(after, skipped):
            after, skipped = last, 0
        if skipped:
            await self._memberships.save(replace(self._new_sync(), skipped_no_email=skipped).ended("completed"))

    async def _enter_page(self, after: str, skipped: int) -> str:
        """Send the next people, as many as fit one upload. Returns the last one's address; empty: there were none."""
        async with AsyncExitStack() as sending:
            async with self._account.paging:
                people = await self._memberships.entering(self._cohort.id, after, MOST_ROWS)
                if not people:
                    return ""
                mapper = await self._call(
                    "asking for custom fields", partial(self._account.fields.mapper, [each.person for each in people])
                )
                part = [(each, mapper.contact(each.person)) for each in people]
                # What one request cannot hold is read again with the next page, so that each but the last is full.
                part = part[: fitting(self._cohort.list_id, [contact for _, contact in part])]
                last = part[-1][0].person.email
                del people
                await sending.enter_async_context(self._account.room.of(len(part)))
                sent = await self._send(part, mapper, skipped)
                del part
            parts = [*sent.later, *await self._settle(sent, mapper)]
            while parts:
                sent = await self._send(parts.pop(), mapper, 0)
                parts += [*sent.later, *await self._settle(sent, mapper)]
        return last

    async def _send(self, part: Part, mapper: Mapper, skipped: int) -> "_Sent":
        """Send people, but for those whom SendGrid refuses at once."""
        sync = replace(self._new_sync(), requested=len(part), skipped_no_email=skipped)
        later: list[Part] = []
        while part:
            body, count = upload(self._cohort.list_id, [contact for _, contact in part])
            if count < len(part):  # they were cut to fit before they got their further identifiers
                later.append(part[count:])
                part = part[:count]
                sync = replace(sync, requested=len(part) + sync.errored)
            await self._memberships.save(sync)
            await self._memberships.record(self._cohort.id, (each for each, _ in part), "sending", sync.id)
            try:
                job_id = await self._call("uploading contacts", partial(self._api.upload, body))
            except Reject as refusal:
                if self._account.fields.are_to_blame(refusal.detail):
                    raise Retry(f"a custom field is not usable yet: {refusal}") from refusal
                reasons = refused_addresses(refusal.detail, {each.person.email for each, _ in part})
                if not reasons and len(part) > 1:
                    half = len(part) // 2
                    later.append(part[half:])
                    part = part[:half]
                    sync = replace(sync, requested=len(part) + sync.errored)
                    continue
                malformed = bool(reasons)
                reasons = reasons or {part[0][0].person.email: str(refusal)}
                again = await self._refuse([each for each, _ in part], reasons, malformed=malformed)
                later += self._parts(again, mapper)
                sync = replace(sync, errored=sync.errored + len(reasons) - len(again))
                part = [(each, contact) for each, contact in part if each.person.email not in reasons]
                continue
            self._account.fields.work()
            sync = replace(sync, state="pending", job_id=job_id)
            await self._memberships.save(sync)
            return _Sent(sync, [each for each, _ in part], later)
        await self._memberships.save(sync.ended("errored" if sync.errored else "completed"))
        return _Sent(None, [], later)

    async def _settle(self, sent: "_Sent", mapper: Mapper) -> list[Part]:
        """Wait for what becomes of people. Returns those who have to be sent another time."""
        return self._parts(await self._finish(sent.sync, sent.people), mapper) if sent.sync else []

    @staticmethod
    def _parts(people: Sequence[Pending], mapper: Mapper) -> list[Part]:
        return [[(each, mapper.contact(each.person)) for each in people]] if people else []

    async def _resume(self, sync: Sync) -> None:
        """Find out what became of an upload that another run of this began."""
        people = await self._memberships.sent(self._cohort.id, sync.id)
        if sync.job_id:
            try:
                await self._finish(sync, people)
            except NotFoundError as error:
                await self._memberships.save(sync.ended("interrupted", str(error)))
        else:
            await self._memberships.save(sync.ended("interrupted", "the answer to the upload was lost; it is repeated"))

    async def _finish(self, sync: Sync, people: Sequence[Pending]) -> list[Pending]:
        """Wait for an import job and write what became of each. Returns those who have to be sent with identifiers.

        Raises:
            Retry: the whole job failed, and not for what is in it.
        """
        job = await self._finished_job(sync.job_id)
        refused = await self._left_out(job, people) if job.status != "completed" else {}
        if job.status == "failed" and people and not refused:
            reason = "SendGrid's import job failed as a whole, without saying why"
            await self._memberships.save(sync.ended("failed", reason))
            raise Retry(reason)
        taken = [each for each in people if each.person.email not in refused]
        at = now()
        await self._memberships.record(self._cohort.id, (each for each in taken if each.since), "on")
        await self._memberships.record(self._cohort.id, (each for each in taken if not each.since), "on", since=at)
        self._refusals.accepted(len(taken))
        try:
            again = await self._refuse(people, refused)
        except Fatal as error:  # too many: they stay pending
            await self._memberships.save(sync.ended("failed", str(error)))
            raise
        errored = sync.errored + len(refused) - len(again)
        status = "completed" if job.status != "completed" and not errored else job.status
        ended = sync.ended("errored" if errored else status, created=job.created, updated=job.updated, errored=errored)
        await self._memberships.save(ended)
        return again

    async def _finished_job(self, job_id: str) -> Job:
        looks = 0
        while True:
            job = await self._call("looking at an import job", partial(self._api.job, job_id))
            if job.finished:
                return job
            await self._pause(_LOOK_SECONDS[min(looks, len(_LOOK_SECONDS) - 1)])
            looks += 1

    async def _left_out(self, job: Job, people: Sequence[Pending]) -> dict[str, str]:
        """Whom an import job left out, with its reasons."""
        emails = {each.person.email for each in people}
        reasons: dict[str, str] = {}
        if job.errors_url:
            report = await self._call("reading an error report", partial(self._api.report, job.errors_url))
            reasons = errored_addresses(report, emails)
        if job.errored > len(reasons) and job.status == "errored":
            # The report does not name them all: whoever is not on the list now is one of the others.
            found = await self._find(emails - reasons.keys())
            there = {email for email, contact in found.items() if self._is_member(contact)}
            reasons |= dict.fromkeys(emails - reasons.keys() - there, _UNSAID)
        return reasons

    async def _refuse(
        self, people: Iterable[Pending], reasons: Mapping[str, str], *, malformed: bool = False
    ) -> list[Pending]:
        """Write who was refused. Returns those whose contact only has to be sent with its further identifiers.

        Args:
            people: among them those who were refused.
            reasons: by address.
            malformed: whether it is the addresses' own fault, which no further identifier mends.
        """
        refused = [each for each in people if each.person.email in reasons]
        known = {} if malformed else await self._find([each.person.email for each in refused])
        again, final = [], []
        for each in refused:
            contact = known.get(each.person.email, {})
            identifiers = tuple((name, contact[name]) for name in IDENTIFIERS if contact.get(name))
            if identifiers and not each.person.identifiers:
                again.append(replace(each, person=replace(each.person, identifiers=identifiers)))
            else:
                final.append((each, reasons[each.person.email]))
                if not malformed:
                    self._refusals.refused("contacts", reasons[each.person.email])
        await self._memberships.reject(self._cohort.id, final)
        return again

    async def _leave(self) -> None:
        after = ""
        while people := await self._memberships.leaving(self._cohort.id, after, _LEAVING_ROWS):
            # Of whom nobody knows whether an upload of theirs is still on its way, it is waited for.
            settled = [each for each in people if each.phase == "on" or now() - each.moved > _LOST_MS]
            if settled:
                async with self._account.room.of(len(settled)):
                    await self._remove({each.person.email: each for each in settled})
            after = people[-1].person.email

    async def _remove(self, people: dict[str, Pending]) -> None:
        """Take people off the list, and look whether they are. Whoever is not, stays pending."""
        sync = replace(self._new_sync(), state="removing", requested=len(people))
        asked: set[str] = set()
        for seconds in _VERIFY_SECONDS:
            await self._pause(seconds)
            found = await self._find(people)
            gone = {email for email in people if self._is_gone(people[email], found.get(email), asked)}
            await self._memberships.record(self._cohort.id, (people[email] for email in gone), "off", since=0)
            sync = replace(sync, removed=sync.removed + len(gone))
            people = {email: each for email, each in people.items() if email not in gone}
            there = {str(found[email]["id"]): email for email in people if email in found}
            if not there:
                break
            for ids in pieces(there, MOST_REMOVED):
                asked |= {there[each] for each in await self._ask_removal(ids)}
        if sync.removed or asked:
            await self._memberships.save(sync.ended("partial" if people else "completed"))

    def _is_gone(self, person: Pending, contact: Mapping[str, Any] | None, asked: set[str]) -> bool:
        """Whether somebody is off the list for sure.

        Whoever does not resolve may do so later, as SendGrid's search is behind its uploads. For the same reason
        somebody who seems not to be on the list is taken off all the same.
        """
        if contact is None:
            return person.person.email in asked or now() - person.moved > _GONE_MS
        return person.person.email in asked and self._cohort.list_id not in contact["list_ids"]

    def _is_member(self, contact: Mapping[str, Any]) -> bool:
        return self._cohort.id == NO_LIST or self._cohort.list_id in contact["list_ids"]

    async def _ask_removal(self, ids: Sequence[str]) -> list[str]:
        """Ask for contacts to be taken off the list. Returns those of which it was asked: all that are there."""
        try:
            await self._call("taking contacts off a list", partial(self._api.remove, self._cohort.list_id, ids))
        except (NotFoundError, Reject):  # one that is not there any more fails them all
            if len(ids) == 1:
                return []
            half = len(ids) // 2
            return [*await self._ask_removal(ids[:half]), *await self._ask_removal(ids[half:])]
        return list(ids)

    async def _find(self, emails: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The contacts of any number of addresses."""
        found: dict[str, dict[str, Any]] = {}
        for some in pieces(emails, MOST_FOUND):
            contacts = await self._call("looking for contacts", partial(self._api.find, some))
            found |= {email.lower(): contact for email, contact in contacts.items()}
        return found

    def _new_sync(self) -> Sync:
        cohort = self._cohort
        return Sync(cohort.id, uuid.uuid4().hex, cohort.list, cohort.list_id, started_at=now())

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call SendGrid for as long as it takes, and only while the list is this worker's.

        Raises:
            LostError: it is not.
            Reject, Fatal: as the call.
        """

        async def attempt() -> T:
            if not self._owned():
                raise LostError
            return await call()

        return await persistently(what, attempt, self._pause)


class _Sent(NamedTuple):
    """An upload that SendGrid has taken.

    Attributes:
        sync: with its job; None where nobody was left to send.
        people: who is in it.
        later: who has to be sent another time.
    """

    sync: Sync | None
    people: list[Pending]
    later: list[Part]
