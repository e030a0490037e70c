"""Mails of which nobody is left to say what became of them: found, and resolved as far as SendGrid lets one."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from connectors.kafka import Producer
from schemas import topics
from streams.clock import now
from streams.delivery import persistently
from streams.mail.agent import resend
from streams.mail.book import Entry, MailBook

log = structlog.get_logger()

_EVERY_SECONDS = 60.0
_ABANDONED_MS = 5 * 60_000
"""A call ends within a minute, and whoever waits writes so every minute: longer ago, there is nobody any more."""


async def resolve(book: MailBook) -> list[Entry]:
    """Write down as sent what the Event Webhook has told of, and as uncertain what was left in the middle.

    SendGrid can be asked for nothing more: its answer to a call is the only one there is.

    Returns:
        All mails that are still open.
    """
    found = await book.open_entries()
    doubtful = [each for each in found if each.state == "uncertain" or (each.state == "sending" and is_abandoned(each))]
    seen = await book.seen(doubtful) if doubtful else {}
    sent = [each.now("sent", now(), sg_message_id=seen[each.id], reason="") for each in doubtful if each.id in seen]
    reason = "nobody is left who knows whether the call was made"
    left = {
        each.id: each.now("uncertain", now(), reason=reason)
        for each in doubtful
        if each.id not in seen and each.state == "sending"
    }
    await book.write([*sent, *left.values()])
    if sent:
        log.info("uncertain mails were sent, as their events show", mails=len(sent))
    return [left.get(each.id, each) for each in found if each.id not in seen]


def is_abandoned(entry: Entry) -> bool:
    """Whether nobody works on an open mail any more."""
    return now() - entry.changed_at > _ABANDONED_MS


async def send_abandoned(entries: Sequence[Entry], producer: Producer) -> None:
    """Have mails sent that certainly were not, and for which nobody waits any more."""
    for entry in entries:
        if entry.state == "waiting" and is_abandoned(entry):
            await persistently("publishing", partial(producer.publish, topics.MAILS, resend(entry)))


async def keep_resolving(book: MailBook, producer: Producer, is_mine: Callable[[], bool]) -> None:
    """Do both, every now and then.

    Args:
        book: of the mails.
        producer: started.
        is_mine: whether this worker is the one that does it.
    """
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        if is_mine():
            await send_abandoned(await resolve(book), producer)
