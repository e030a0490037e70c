"""All checks, in the order in which things are mended: who is let in, our servers, everybody else's, the ingress."""

from collections.abc import AsyncIterator, Collection, Iterator

from connectors.errors import GridstreamError
from connectors.kafka_table import KafkaTable
from connectors.tls import trusting_only
from schemas import topics
from schemas.verification_keys import RegisteredWebhook
from streams import embedded
from streams.datafolder import DataFolder
from streams.doctor.accounts import accounts
from streams.doctor.finding import Finding
from streams.doctor.servers import servers
from streams.settings import Settings
from streams.verification_keys import registered


async def examine(settings: Settings, data: DataFolder) -> AsyncIterator[Finding]:
    """Check one thing after the other."""
    webhooks = {each.source for each in await _registered(settings)}
    for finding in _doors(settings, webhooks):
        yield finding
    yield _privacy(settings, data)
    async for finding in servers(settings, data):
        yield finding
    async for finding in accounts(settings):
        yield finding
    url = f"{settings.ingress.url}/ready"
    if await embedded.answers(url, trusting_only(settings.ingress.certificate)):
        yield Finding("ingress", f"ready at {url}")
    else:
        yield Finding("ingress", f"{url} does not answer", "start it: gridstream up, or gridstream ingress")


async def _registered(settings: Settings) -> list[RegisteredWebhook]:
    try:
        async with KafkaTable(settings.kafka.cluster, topics.VERIFICATION_KEYS) as table:
            return registered(table)
    except GridstreamError:  # Kafka is away, which is a finding of its own, or nobody has made the topic
        return []


def _doors(settings: Settings, registered: Collection[str]) -> Iterator[Finding]:
    """Who is let in where; that an open door is open to this machine only, the settings see to."""
    for source in settings.sources:
        is_signed = source.name in registered or bool(source.public_keys)
        proofs = ["a signature"] * is_signed + ["a password"] * bool(source.password)
        can_register = bool(source.api_key.get_secret_value())
        yield _door(
            f"source {source.name}", " and ".join(proofs), ", until: gridstream webhook register URL" * can_register
        )
    for entry in settings.contacts:
        yield _door(f"webhook of contacts {entry.name}", "its secret" if entry.secret else "")
    yield _door("segment", "a write key" if settings.segment.write_keys else "")
    yield _door("live page", "its password" if settings.dashboard.password.get_secret_value() else "")


def _door(subject: str, proof: str, until: str = "") -> Finding:
    return Finding(subject, f"asks for {proof}" if proof else f"open, to this machine only{until}")


def _privacy(settings: Settings, data: DataFolder) -> Finding:
    try:
        if data.privacy_key(settings):
            return Finding("privacy", "has the key of the marks that stand for people")
    except GridstreamError as error:
        return Finding("privacy", str(error), "make the file readable, or set privacy.key")
    if any(source.rules.hash for source in settings.sources):
        return Finding(
            "privacy", "a source hashes, and there is no key", "set privacy.key to a long random text, for ever"
        )
    return Finding("privacy", "no key: gridstream forget needs one, privacy.key")
