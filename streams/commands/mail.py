"""`gridstream mail`: are the rules right, what became of the mails, and what is to become of those in doubt."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
import typer

from connectors.errors import Fatal
from connectors.kafka import Producer
from connectors.sendgrid import SendGrid, SentMail
from schemas import topics
from schemas.columns import time_text
from schemas.mail import MailRules
from streams.clock import now
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_findings, print_table
from streams.harmless import harmless
from streams.mail.agent import resend as resending
from streams.mail.book import STATES, Entry, MailBook
from streams.mail.check import check as examine
from streams.mail.resolving import is_abandoned, resolve
from streams.mail.trial import find_rule, send_trial
from streams.sections import Source
from streams.settings import Settings

group = typer.Typer(help="Mails that track calls send.", no_args_is_help=True)

_OUTCOME_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.2

Ids = Annotated[list[str], typer.Argument(metavar="ID")]


@group.command()
def check(config: Config = None, data: Data = DATA) -> None:
    """Check every rule against the account: template and its variables, sender, unsubscribe group, IP pool."""
    if not asyncio.run(_check(Installation.of(config, data))):
        raise typer.Exit(1)


async def _check(installation: Installation) -> bool:
    rules, source = _mail_of(installation.settings)
    async with _sendgrid(installation.settings, source) as api:
        return await print_findings(examine(rules, api))


@group.command("test")
def trial(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its name, its event, or its number in the settings.")],
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="The only recipient.")],
    config: Config = None,
    data: Data = DATA,
    *,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="SendGrid only checks it and delivers nothing.")] = False,
    properties: Annotated[str, typer.Option(metavar="JSON", help="Of the call, in place of sample texts.")] = "{}",
) -> None:
    """Send one mail of a rule, with sample data. It is recorded nowhere."""
    given = _table(properties)
    sent = asyncio.run(_trial(Installation.of(config, data), rule, to, given, is_sandbox=sandbox))
    if sent.is_delivered:
        typer.echo(f"SendGrid took the mail to {to}: message {harmless(sent.message_id)}")
    else:
        typer.echo(f"SendGrid would take the mail to {to}; in sandbox mode it delivers nothing")


async def _trial(
    installation: Installation, wanted: str, to: str, properties: Mapping[str, object], *, is_sandbox: bool
) -> SentMail:
    rules, source = _mail_of(installation.settings)
    rule = find_rule(rules, wanted)
    async with _sendgrid(installation.settings, source) as api:
        return await send_trial(rule, api, to, properties, is_sandbox=is_sandbox)


def _table(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--properties is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("--properties: expected a JSON object")
    return found


@group.command("list")
def listing(
    config: Config = None,
    data: Data = DATA,
    *,
    state: Annotated[str, typer.Option(help=f"One of: {', '.join(STATES)}.")] = "",
    email: Annotated[str, typer.Option(help="To this recipient only.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
) -> None:
    """List mails, the newest first, with what became of them."""
    if state not in ("", *STATES):
        raise typer.BadParameter(f"there is no state {state}; states: {', '.join(STATES)}")
    _print(asyncio.run(_list(Installation.of(config, data), state, email, limit)), "No mails.")


async def _list(installation: Installation, state: str, email: str, limit: int) -> list[Entry]:
    async with _book(installation) as book:
        return await book.newest(state, email, limit)


@group.command()
def pending(config: Config = None, data: Data = DATA) -> None:
    """List mails that may have been sent or not, after looking for events of them."""
    _print(asyncio.run(_pending(Installation.of(config, data))), "Nothing is in doubt.")


async def _pending(installation: Installation) -> list[Entry]:
    async with _book(installation) as book:
        return _in_doubt(await resolve(book))


@group.command()
def resend(ids: Ids, config: Config = None, data: Data = DATA) -> None:
    """Send mails in doubt again, whether they were sent or not. The role mail must be running."""
    became = asyncio.run(_resend(Installation.of(config, data), ids))
    typer.echo(", ".join(f"{count} {state}" for state, count in became.items()))


async def _resend(installation: Installation, ids: list[str]) -> Counter[str]:
    async with _book(installation) as book:
        entries = await _wanted(book, ids)
        async with Producer(installation.settings.kafka.cluster) as producer:
            for entry in entries:
                await producer.publish(topics.MAILS, resending(entry))
        deadline = time.monotonic() + _OUTCOME_SECONDS
        attempts = {entry.id: entry.attempt for entry in entries}
        while True:
            found = (await book.entries(ids)).values()
            tried = [each for each in found if each.attempt > attempts[each.id]]
            done = [each for each in tried if each.state not in ("sending", "waiting")]
            if len(done) == len(entries) or time.monotonic() > deadline:
                break
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
    became = Counter[str](entry.state for entry in done)
    became["not done yet"] = len(entries) - len(done)
    return +became


@group.command()
def drop(ids: Ids, config: Config = None, data: Data = DATA) -> None:
    """Decide that mails in doubt are not sent again; they stay in the table."""
    typer.echo(f"{asyncio.run(_drop(Installation.of(config, data), ids))} dropped")


async def _drop(installation: Installation, ids: list[str]) -> int:
    async with _book(installation) as book:
        entries = await _wanted(book, ids)
        await book.write([entry.now("dropped", now()) for entry in entries])
        return len(entries)


async def _wanted(book: MailBook, ids: list[str]) -> list[Entry]:
    entries = _in_doubt(list((await book.entries(ids)).values()))
    if unknown := set(ids) - {entry.id for entry in entries}:
        named = ", ".join(sorted(unknown))
        raise Fatal(f"no mail with this id is in doubt: {named}; `gridstream mail pending` shows them")
    return entries


def _in_doubt(entries: Iterable[Entry]) -> list[Entry]:
    return [each for each in entries if each.state == "uncertain" or (each.is_open and is_abandoned(each))]


def _print(entries: Iterable[Entry], nothing: str) -> None:
    columns = ("id", "rule", "to", "user id", "state", "since (UTC)", "called at (UTC)", "reason")
    rows = (
        (
            entry.id,
            entry.rule,
            entry.email,
            entry.user_id,
            entry.state,
            time_text(entry.changed_at),
            time_text(entry.received_at),
            entry.reason,
        )
        for entry in entries
    )
    print_table(columns, rows, nothing=nothing)


def _mail_of(settings: Settings) -> tuple[MailRules, Source]:
    if not settings.mail.rules:
        raise Fatal("no [[mail.rules]] are configured; docs/mail.md shows how")
    return settings.mail.compiled(), settings.source(settings.mail.source)


def _sendgrid(settings: Settings, source: Source) -> SendGrid:
    key = settings.mail.key(source)
    if not key:
        raise Fatal("there is no API key: set mail.api_key or sources.api_key")
    return SendGrid(key, source.api_url)


@asynccontextmanager
async def _book(installation: Installation) -> AsyncIterator[MailBook]:
    settings = installation.settings
    async with installation.clickhouse() as clickhouse:
        yield MailBook(clickhouse, settings.source(settings.mail.source).name)
