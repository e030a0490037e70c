"""Everybody else's servers: where objects, contacts and mails are, and where events and POSTs go."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from connectors.amplitude import Amplitude
from connectors.errors import GridstreamError
from connectors.http import ForbiddenError
from connectors.relay import Consumer
from connectors.sendgrid import SendGrid
from connectors.sendgrid_objects import SendGridObjects, missing_scopes
from connectors.sendgrid_webhooks import SendGridWebhooks
from streams.doctor.finding import Finding
from streams.objects import access
from streams.sections import Amplitude as AmplitudeSettings
from streams.sections import Contacts, Mail, Relay, Source
from streams.settings import Settings

_NEVER = {"open": "open", "click": "click", "subscription": "unsubscribe"}
"""Which event never comes without which tracking."""
_MAIL_SCOPE = "mail.send"
_CHECK_SCOPES = ("templates.read", "asm.groups.read", "ips.pools.read", "whitelabel.read")


async def accounts(settings: Settings) -> AsyncIterator[Finding]:
    """What is configured of them, one after the other."""
    for source in settings.with_api_key:
        yield await _objects(source)
        yield await _tracking(source)
    for entry in settings.contacts:
        yield await _contacts(entry, settings.source(entry.source))
    for destination in settings.amplitude:
        if destination.is_on:
            yield await _amplitude(destination, settings.source(destination.source))
    for relay in settings.relays:
        if relay.is_on:
            yield await _relay(relay)
    if settings.mail.rules:
        yield await _mail(settings.mail, settings.source(settings.mail.source))


async def _objects(source: Source) -> Finding:
    subject = f"api_key of {source.name}"
    try:
        async with SendGridObjects(source.api_key.get_secret_value(), source.api_url) as api:
            missing = missing_scopes(await access.scopes(source, api))
    except GridstreamError as error:
        return Finding(subject, str(error), "set sources.api_key to a key that works")
    if missing:
        return Finding(
            subject, f"lacks {', '.join(missing)}", f"what needs them is not synced: {access.lack(source, missing)}"
        )
    return Finding(subject, "may read all objects")


async def _tracking(source: Source) -> Finding:
    subject = f"tracking of {source.name}"
    try:
        async with SendGridWebhooks(source.api_key.get_secret_value(), source.api_url, source.on_behalf_of) as api:
            off = await api.untracked()
    except ForbiddenError:
        return Finding(subject, "not known: the api_key lacks the scope tracking_settings.read")
    except GridstreamError as error:
        return Finding(subject, str(error), "check sources.api_key, api_url and on_behalf_of")
    if off:
        never = ", ".join(_NEVER[name] for name in off)
        remedy = "switch it on in SendGrid, Settings > Tracking, or do without"
        return Finding(subject, f"{', '.join(off)} tracking is off: {never} will never come", remedy)
    return Finding(subject, "opens, clicks and unsubscribes are tracked")


async def _amplitude(entry: AmplitudeSettings, source: Source) -> Finding:
    subject = f"amplitude {source.name}"
    try:
        async with Amplitude(entry.key, entry.host, entry.min_id_length) as api:
            await api.check()
    except GridstreamError as error:
        return Finding(
            subject, str(error), "its API key is in Amplitude, Settings > Projects; a project in the EU: region"
        )
    return Finding(subject, f"its API key works at {entry.host}")


async def _relay(entry: Relay) -> Finding:
    subject = f"relay {entry.label}"
    try:
        async with Consumer(entry.url.get_secret_value(), entry.timeout_seconds) as consumer:
            status = await consumer.reach()
    except GridstreamError as error:
        return Finding(subject, str(error), "check relays.url; POSTs wait for it for relays.hours, then go on without")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Finding(subject, f"answers {status}", "check the user name and the password in relays.url")
    return Finding(subject, f"its consumer is there: it answers {status} where nothing is posted")


async def _contacts(entry: Contacts, source: Source) -> Finding:
    subject = f"contacts {entry.name}"
    key = entry.key(source)
    grant = "in SendGrid, Settings > API Keys: Full Access, or Restricted with Marketing > Full Access"
    if not key:
        return Finding(subject, "has no API key", f"set contacts.api_key or sources.api_key; make one {grant}")
    try:
        async with SendGrid(key, source.api_url) as api:
            scopes = await api.scopes()
            if not any(scope.startswith("marketing") for scope in scopes):
                return Finding(subject, "its API key may not use Marketing", f"change it {grant}")
            await api.custom_fields()
    except GridstreamError as error:
        return Finding(subject, str(error), f"check the key and api_url; keys are made {grant}")
    return Finding(subject, f"its API key works at {source.api_url}")


async def _mail(entry: Mail, source: Source) -> Finding:
    key = entry.key(source)
    grant = "in SendGrid, Settings > API Keys: Full Access, or Restricted with Mail Send > Full Access"
    if not key:
        return Finding("mail", "has no API key", f"set mail.api_key or sources.api_key; make one {grant}")
    try:
        async with SendGrid(key, source.api_url) as api:
            scopes = await api.scopes()
    except GridstreamError as error:
        return Finding("mail", str(error), f"check the key and api_url; keys are made {grant}")
    if _MAIL_SCOPE not in scopes:
        return Finding("mail", f"its API key lacks the scope {_MAIL_SCOPE}", f"change it {grant}")
    lacks = ", ".join(scope for scope in _CHECK_SCOPES if scope not in scopes)
    beside = f"; to check all of the rules it would need {lacks}" if lacks else ""
    return Finding("mail", f"its API key may send at {source.api_url} ({_MAIL_SCOPE}){beside}")
