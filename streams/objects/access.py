"""What is wrong with an API key, in words that help."""

from connectors.errors import Fatal
from connectors.http import ForbiddenError, UnauthorizedError
from connectors.sendgrid_objects import MARKETING, ForbiddenHereError, SendGridObjects, missing_scopes
from streams.sections import Source


class NoMarketingError(Fatal):
    """The account has no Marketing Campaigns, so it has no objects of it either."""


def named(source: Source) -> str:
    """A source's key, for people: which it is, never what it is."""
    return f'the api_key of [[sources]] "{source.name}"'


async def scopes(source: Source, api: SendGridObjects) -> list[str]:
    """What the key of a source may do.

    Raises:
        Fatal: nothing; the message says what may be the reason.
        Retry, Reject: SendGrid would not say.
    """
    try:
        return await api.scopes()
    except (UnauthorizedError, ForbiddenError) as error:
        raise Fatal(
            f"SendGrid refuses {named(source)}: wrong, revoked, or of another region. {_hints(source)}"
        ) from error


async def explained(error: ForbiddenHereError, source: Source, api: SendGridObjects) -> Fatal:
    """Why SendGrid forbids something to a key.

    Raises:
        Retry, Reject: SendGrid would not say what the key may do.
    """
    try:
        missing = missing_scopes(await scopes(source, api), [error.scope])
    except Fatal as refused:
        return refused
    if missing:
        return Fatal(lack(source, missing))
    if error.scope == MARKETING:
        return NoMarketingError("the account has no Marketing Campaigns: zero data synced")
    return Fatal(f"SendGrid forbids this to {named(source)}, though it has the scope {error.scope}. {_hints(source)}")


def lack(source: Source, missing: list[str]) -> str:
    """What to say of a key that lacks scopes."""
    return (
        f"{named(source)} lacks {', '.join(missing)}: give it this right under Settings › API Keys"
        f"{', if the account has Marketing Campaigns' if MARKETING in missing else ''}. {_hints(source)}"
    )


def _hints(source: Source) -> str:
    return (
        "It can also be that SendGrid's IP access list (Settings › IP Access Management) does not have this machine. "
        f"To test it from here: curl -i -H 'Authorization: Bearer KEY' {source.api_url.rstrip('/')}/v3/scopes"
    )
