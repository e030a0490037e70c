"""Sending mails: a group at a time is claimed, sent, and written down."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from connectors.errors import Fatal, Reject, Retry
from connectors.kafka import Producer
from connectors.sendgrid import SendGrid, UncertainOutcomeError
from schemas import topics
from schemas.dead_letters import DeadLetter
from schemas.mail import Mail, MailRefusedError, Rule
from schemas.segment import Call
from streams import failpoints, metrics
from streams.aside import publish
from streams.clock import now
from streams.delivery import Refusals, persistently
from streams.mail.book import Entry, MailBook, State

log = structlog.get_logger()

AT_ONCE = 200
"""Calls of SendGrid's at the same time: it answers in 0.1 to 0.2 s. As many are left in doubt when it breaks."""
_LONGEST_SECONDS = 60.0
"""Between two attempts, whatever SendGrid asks for: the next one says it again."""
_REASON = 500
_TROUBLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mail that a record asks for.

    Attributes:
        rule: that makes it.
        call: that it is made of.
        record: the call, as it came.
        partition: that it came from.
        letter: the dead letter that the record replays.
        resend: the attempt that a person wants repeated, whatever became of it.
    """

    rule: Rule
    call: Call
    record: bytes
    partition: int
    letter: DeadLetter | None = None
    resend: int | None = None

    @property
    def id(self) -> str:
        """Of the mail."""
        return self.rule.id_of(self.call)

    @property
    def is_asked(self) -> bool:
        """Whether a person wants it."""
        return self.letter is not None or self.resend is not None

    def entry(self) -> Entry:
        """What is known of it at first."""
        call = self.call
        return Entry(self.id, self.rule.name, call.message_id, call.user_id, call.received_at)

    def is_due(self, entry: Entry | None) -> bool:
        """Whether it is to be sent, as far as that is known of it."""
        if entry is None or entry.state == "waiting":
            return True
        if self.letter and entry.state in ("refused", "late"):
            return True
        return entry.state in ("sending", "uncertain") and self.resend == entry.attempt


@dataclass(slots=True)
class _Trouble:
    """Why nothing more is sent just now."""

    error: Retry | None = None
    fatal: Fatal | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Mails that are sent together.

    Attributes:
        wanted: what is not decided yet, by id.
        entries: how far each is, by id.
        said_at: when it was last written that they wait, in milliseconds since 1970.
    """

    wanted: dict[str, Wanted]
    entries: dict[str, Entry] = field(default_factory=dict)
    said_at: int = 0


class Sender:
    """Sends the mails of one account.

    Args:
        api: open.
        book: of the account's source.
        producer: started; takes dead letters.
        source: whose dead letters take what is refused.
        user_id_key: the custom argument that brings the user id back.
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        api: SendGrid,
        book: MailBook,
        producer: Producer,
        source: str,
        user_id_key: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._book = book
        self._producer = producer
        self._source = source
        self._user_id_key = user_id_key
        self._pause = pause
        self._claimant = uuid.uuid4().hex
        self._places = asyncio.Semaphore(AT_ONCE)
        self._refusals: defaultdict[str, Refusals] = defaultdict(Refusals)
        self._troubles = 0
        self._groups: set[_Group] = set()
        metrics.MAILS_WAITING.set_function(lambda: sum(len(group.wanted) for group in self._groups))
        self.owns: Callable[[int], bool] = lambda _: True
        """Whether a partition is this worker's at the moment."""

    async def deliver(self, wanted: Sequence[Wanted]) -> set[int]:
        """Decide what becomes of mails: when this returns it is written down.

        Args:
            wanted: of different ids.

        Returns:
            Partitions that another worker has now: what was wanted from these is left to it.

        Raises:
            Fatal: SendGrid refuses so much that something else must be wrong.
        """
        entries = await self._book.entries([each.id for each in wanted])
        group = _Group({})
        for each in wanted:
            entry = entries.get(each.id)
            if each.is_due(entry):
                group.wanted[each.id] = each
                group.entries[each.id] = entry or each.entry()
        await self._recall([(each, entries[each.id]) for each in wanted if each.id not in group.wanted])
        lost: set[int] = set()
        self._groups.add(group)
        try:
            await persistently("sending mails", partial(self._send_all, group, lost), self._pause)
        finally:
            self._groups.discard(group)
        return lost

    async def _recall(self, known: Sequence[tuple[Wanted, Entry]]) -> None:
        """What a record wants again that was begun before: nothing is sent, what is missing is written."""
        died = [entry for _, entry in known if entry.state == "sending"]
        if died:
            reason = "the worker ended during the call"
            await self._book.write([entry.now("uncertain", now(), reason=reason) for entry in died])
        for each, entry in known:
            if entry.state in ("refused", "late"):
                await publish(self._letter(each, entry), self._producer)
            elif each.letter:
                await publish(each.letter.now("replayed", now()), self._producer)

    async def _send_all(self, group: _Group, lost: set[int]) -> None:
        """Send until nothing is left.

        Raises:
            Retry: something is left for later.
            Fatal: nothing more can be sent.
        """
        while group.wanted:
            lost |= {each.partition for each in group.wanted.values() if not self.owns(each.partition)}
            for each in [each for each in group.wanted.values() if each.partition in lost]:
                del group.wanted[each.id]
            mails = await self._made(group)
            trouble = _Trouble()
            # After something went wrong one mail goes first: whatever is wrong still leaves no more than one uncertain.
            chosen = list(mails)[:1] if self._troubles else list(mails)
            if chosen:
                await self._send({mail: mails[mail] for mail in chosen}, group, trouble)
            if trouble.fatal:
                raise trouble.fatal
            if trouble.error:
                self._troubles += 1
                await self._say_that_it_waits(group)
                after = max(trouble.error.after or 0, _TROUBLE_SECONDS * 2**self._troubles)
                raise Retry(str(trouble.error), min(after, _LONGEST_SECONDS))
            self._troubles = 0

    async def _say_that_it_waits(self, group: _Group) -> None:
        """So that nobody takes these mails for abandoned."""
        at = now()
        if at - group.said_at > _LONGEST_SECONDS * 1000:
            group.said_at = at
            begun = [group.entries[mail] for mail in group.wanted if group.entries[mail].attempt]
            await self._book.write([entry.now("waiting", at) for entry in begun])

    async def _made(self, group: _Group) -> dict[str, Mail]:
        """The mails of a group, by id; those that cannot be sent are decided."""
        mails, refused = {}, []
        at = now()
        for each in group.wanted.values():
            entry = group.entries[each.id]
            try:
                mail = each.rule.mail(each.call, self._user_id_key, at, is_asked=each.is_asked)
            except MailRefusedError as error:
                refused.append(entry.now("refused", at, reason=str(error), attempt=entry.attempt + 1))
                continue
            about = {"email": mail.email, "template_id": mail.template_id}
            if each.rule.is_late(mail, at) and not each.is_asked:
                reason = f"rule {each.rule.name}: max_age: it is {(at - mail.due) / 1000:,.0f} seconds late"
                refused.append(entry.now("late", at, reason=reason, attempt=entry.attempt + 1, **about))
                continue
            mails[each.id] = mail
            group.entries[each.id] = entry.now(entry.state, at, call=each.record.decode(), **about)
        await self._write(group, refused)
        return mails

    async def _send(self, mails: dict[str, Mail], group: _Group, trouble: _Trouble) -> None:
        sending = []
        for mail in mails:
            entry = group.entries[mail]
            sending.append(entry.now("sending", now(), attempt=entry.attempt + 1, reason=""))
        # At once: a crash in between leaves the same mails in doubt, whichever of the two is written.
        _, rivals = await asyncio.gather(self._book.write(sending), self._book.claim(sending, self._claimant))
        await failpoints.reach("before-sending")
        outcomes = await asyncio.gather(
            *(
                self._call(entry, mails[entry.id], trouble)
                if entry.id not in rivals
                else _resolved(entry.now("uncertain", now(), reason="two workers were about to send it"))
                for entry in sending
            )
        )
        await failpoints.reach("after-sending")
        await self._write(group, outcomes)

    async def _call(self, entry: Entry, mail: Mail, trouble: _Trouble) -> Entry:
        async with self._places:
            if trouble.error or trouble.fatal:
                return entry.now("waiting", now())
            refusals = self._refusals[mail.rule]
            state: State
            try:
                sent = await self._api.send_mail(mail.body)
            except UncertainOutcomeError as error:
                trouble.error, state, reason = Retry(str(error)), "uncertain", str(error)
            except Retry as error:
                trouble.error, state, reason = error, "waiting", str(error)
            except Fatal as error:
                trouble.error = Retry(f"nothing is sent until this is put right: {error}", _LONGEST_SECONDS)
                state, reason = "waiting", str(error)
            except Reject as error:
                state, reason = "refused", f"rule {mail.rule}: {error}"
                try:
                    refusals.refused(f"mails of the rule {mail.rule}", str(error))
                except Fatal as fatal:
                    trouble.fatal, state = fatal, "waiting"
            else:
                refusals.accepted(1)
                state, at = "sent" if sent.is_delivered else "sandboxed", now()
                metrics.MAIL_SECONDS.labels(mail.rule).observe((at - entry.received_at) / 1000)
                return entry.now(state, at, sg_message_id=sent.message_id)
            return entry.now(state, now(), reason=reason[:_REASON])

    async def _write(self, group: _Group, outcomes: Sequence[Entry]) -> None:
        """Write down what became of mails; what is decided leaves the group."""
        if not outcomes:
            return
        await self._book.write(outcomes)
        for entry in outcomes:
            wanted = group.wanted[entry.id]
            if entry.state == "waiting":
                group.entries[entry.id] = entry
                continue
            del group.wanted[entry.id]
            if entry.state in ("refused", "late"):
                log.warning("a mail is not sent", rule=entry.rule, id=entry.id, reason=entry.reason)
                letter = self._letter(wanted, entry)
                letter = letter.failed_again(entry.reason, now()) if wanted.letter else letter
                await publish(letter, self._producer)
                continue
            if entry.state == "uncertain":
                log.warning("a mail may have been sent or not", rule=entry.rule, id=entry.id, reason=entry.reason)
            if wanted.letter:
                await publish(wanted.letter.now("replayed", now()), self._producer)

    def _letter(self, wanted: Wanted, entry: Entry) -> DeadLetter:
        """The dead letter of a mail that is not sent: always the same one."""
        return wanted.letter or DeadLetter(
            id=entry.id,
            source=self._source,
            step="mail",
            reason=entry.reason,
            received_at=entry.received_at,
            payload=wanted.record,
            topic=topics.MAILS,
        )


async def _resolved(entry: Entry) -> Entry:
    return entry
