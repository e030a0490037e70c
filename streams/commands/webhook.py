"""`gridstream webhook`: the settings of SendGrid's Event Webhook."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer

from connectors.errors import Fatal
from connectors.http import ForbiddenError, UnauthorizedError
from connectors.sendgrid_webhooks import SendGridWebhooks, Webhook
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table
from streams.harmless import harmless
from streams.registering import TEST_SECONDS, Registration, ours, shown
from streams.sections import Source
from streams.settings import Settings

T = TypeVar("T")

group = typer.Typer(help="SendGrid's Event Webhook: what posts to this gridstream.", no_args_is_help=True)

_GRANT = (
    "In SendGrid, Settings > API Keys, make one with Full Access, or with the scopes "
    "user.webhooks.event.settings.create, .read and .update and user.webhooks.event.test.create"
)

OfSource = Annotated[str, typer.Option(help="The source; default: the first.")]
Wait = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long the test's events are waited for.")]


@group.command()
def show(config: Config = None, data: Data = DATA, *, source: OfSource = "") -> None:
    """Show the Event Webhooks of a source's account, and which of them are gridstream's."""
    settings = Installation.of(config, data).settings
    chosen = _with_api_key(settings, source)
    most, found, known = _run(_webhooks(settings, chosen))
    allowed = f" of {most} that its plan allows" if most else ""
    typer.echo(f"{chosen.name}: {len(found)} Event Webhooks{allowed}")
    columns = ("id", "url", "name", "enabled", "signed", "does not post", "posts here")
    print_table(columns, (_row(each, is_ours=each in known) for each in found), "")


def _row(webhook: Webhook, *, is_ours: bool) -> tuple[str, ...]:
    yes = {True: "yes", False: "no"}
    about = (yes[webhook.is_enabled], yes[bool(webhook.public_key)], ", ".join(webhook.off), yes[is_ours])
    return (webhook.id, shown(webhook.url), webhook.name, *about)


@group.command()
def register(
    url: Annotated[str, typer.Argument(metavar="URL", help="As SendGrid reaches it: https://host/sendgrid.")],
    config: Config = None,
    data: Data = DATA,
    *,
    source: OfSource = "",
    replace: Annotated[
        str, typer.Option(metavar="ID", help="Take over this webhook, whose old URL is a relay's from now on.")
    ] = "",
    wait: Wait = TEST_SECONDS,
) -> None:
    """Have SendGrid post all events to URL, signed, and see those of its test arrive. Twice changes nothing."""
    installation = Installation.of(config, data)
    chosen = _with_api_key(installation.settings, source)
    _run(_register(installation, chosen, url, replace, wait))


@group.command("test")
def try_out(config: Config = None, data: Data = DATA, *, source: OfSource = "", wait: Wait = TEST_SECONDS) -> None:
    """Have SendGrid post its test events, and wait until they are in the tables."""
    installation = Installation.of(config, data)
    _run(_test(installation, _with_api_key(installation.settings, source), wait))


async def _webhooks(settings: Settings, source: Source) -> tuple[int, list[Webhook], list[Webhook]]:
    async with _api(source) as api:
        webhooks = await api.webhooks()
    return webhooks.most, list(webhooks.all), await ours(settings, source, webhooks.all)


async def _register(installation: Installation, source: Source, url: str, replace: str, wait: float) -> None:
    async with _api(source) as api, installation.clickhouse() as clickhouse:
        await Registration(installation.settings, source, api, clickhouse, _say).register(url, replace, wait)


async def _test(installation: Installation, source: Source, wait: float) -> None:
    async with _api(source) as api, installation.clickhouse() as clickhouse:
        await Registration(installation.settings, source, api, clickhouse, _say).test(wait)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (UnauthorizedError, ForbiddenError) as error:
        raise Fatal(f"{error}. Is sources.api_key right, and may it do this? {_GRANT}") from error


def _api(source: Source) -> SendGridWebhooks:
    return SendGridWebhooks(source.api_key.get_secret_value(), source.api_url, source.on_behalf_of)


def _say(step: str) -> None:
    typer.echo(harmless(step))


def _with_api_key(settings: Settings, name: str) -> Source:
    chosen = settings.source(name)
    if chosen not in settings.with_api_key:
        raise Fatal(f"sources.api_key is not set for {chosen.name}: there is nothing to ask SendGrid with. {_GRANT}")
    return chosen
