"""The agent: records of calls become wanted mails, and are acknowledged when it is decided what becomes of each."""

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any

import orjson
import structlog

from connectors.kafka import Headers, Producer, Record
from schemas import topics
from schemas.dead_letters import DeadLetter, letter_id, replayed
from schemas.mail import MailRules
from schemas.segment import Call
from streams.aside import publish
from streams.batching import BatchPolicy, batches
from streams.chunks import Chunk
from streams.clock import now
from streams.mail.book import Entry
from streams.mail.sender import Sender, Wanted
from streams.privacy.forgotten import Forgotten

log = structlog.get_logger()

GROUP = BatchPolicy(rows=500, seconds=0.05)
"""Mails that are sent together: each group costs ClickHouse three small inserts."""
_REPLAY = "replay"
"""The header of a record that comes again because somebody processes old ones: no reason to send mail."""
_RESEND = "resend"
"""The header of a record by which a person wants a mail sent whose call may have arrived: its id and attempt."""


class MailAgent:
    """Reads the topic of mails.

    Args:
        rules: which calls send which mails.
        sender: sends them.
        source: whose dead letters take what cannot be read.
        producer: started; takes dead letters.
        forgotten: to whom nothing is sent; None where nobody is.
    """

    def __init__(
        self, rules: MailRules, sender: Sender, source: str, producer: Producer, forgotten: Forgotten | None = None
    ) -> None:
        self._forgotten = forgotten
        self._rules = rules
        self._sender = sender
        self._source = source
        self._producer = producer

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Decide what becomes of what comes, then acknowledge it."""
        async for batch in batches(stream, GROUP):
            lost: set[int] = set()
            wanted = [
                mail
                for chunk in batch
                for record in await self._wanted(chunk)
                for mail in await self._read(record, chunk.partition)
            ]
            for group in groups(wanted, GROUP.rows):
                lost |= await self._sender.deliver(group)
            for chunk in batch:
                if chunk.partition not in lost:
                    chunk.acknowledge()

    async def _wanted(self, chunk: Chunk) -> Iterable[Any]:
        return chunk.records if self._forgotten is None else await self._forgotten.without(chunk.records)

    async def _read(self, record: Any, partition: int) -> list[Wanted]:  # noqa: ANN401  aiokafka's
        headers = dict(record.headers)
        letter = replayed(record.headers, record.value)
        if _REPLAY in headers and not letter:
            return []
        try:
            call = read_call(record.value)
        except ValueError as error:
            await self._put_aside(record, letter, f"not a call: {error}")
            return []
        wanted = [Wanted(rule, call, record.value, partition, letter) for rule in self._rules.of(call)]
        if _RESEND in headers:
            asked = orjson.loads(headers[_RESEND])
            return [
                Wanted(each.rule, call, record.value, partition, resend=asked["attempt"])
                for each in wanted
                if each.id == asked["id"]
            ]
        if letter and letter.id != unread_id(record.value):
            wanted = [each for each in wanted if each.id == letter.id]
        if not wanted:
            reason = f"there is no rule for it any more (event {call.event!r}); configure it, then replay this"
            await self._put_aside(record, letter, reason)
        return wanted

    async def _put_aside(self, record: Any, letter: DeadLetter | None, reason: str) -> None:  # noqa: ANN401
        log.warning("a record sends no mail", offset=record.offset, reason=reason)
        if letter:
            letter = letter.failed_again(reason, now())
        else:
            letter = DeadLetter(
                id=unread_id(record.value),
                source=self._source,
                step="mail",
                reason=reason,
                received_at=record.timestamp,
                payload=record.value or b"",
                topic=topics.MAILS,
            )
        await publish(letter, self._producer)


def resend(entry: Entry) -> Record:
    """The record that has a mail sent again, unless something has become of it since."""
    headers: Headers = [(_RESEND, orjson.dumps({"id": entry.id, "attempt": entry.attempt}))]
    call = entry.call.encode()
    return Record(read_call(call).key, call, headers)


def read_call(value: bytes | None) -> Call:
    """The call of a record.

    Raises:
        ValueError: it is none.
    """
    try:
        call = Call.of_record(orjson.loads(value or b""))
    except TypeError as error:
        raise ValueError(str(error)) from error
    texts = (call.type, call.message_id, call.user_id, call.anonymous_id, call.event)
    tables = (call.traits, call.properties, call.context)
    is_whole = all(isinstance(each, str) for each in texts) and all(isinstance(each, dict) for each in tables)
    if not is_whole or not all(type(each) is int for each in (call.timestamp, call.received_at)):
        raise ValueError("its fields are not of their types")
    return call


def unread_id(value: bytes | None) -> str:
    """The id of the dead letter of a record that is no mail yet."""
    return letter_id("mail", value)


def groups(wanted: Iterable[Wanted], most: int) -> Iterator[list[Wanted]]:
    """Mails in groups of different ids, in order. A mail that is only repeated is left out."""
    group: dict[str, Wanted] = {}
    for each in wanted:
        if each.id in group and not each.is_asked:
            continue
        if each.id in group or len(group) == most:
            yield list(group.values())
            group = {}
        group[each.id] = each
    if group:
        yield list(group.values())
