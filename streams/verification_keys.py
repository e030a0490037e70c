"""The keys that verify what SendGrid posts: those of the settings, and beside them those that were registered."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.event_webhook import public_key
from connectors.kafka_table import KafkaTable
from schemas import topics
from schemas.verification_keys import RegisteredWebhook
from streams.delivery import persistently
from streams.settings import Settings

log = structlog.get_logger()


class SourceKeys:
    """The keys of one source.

    Attributes:
        valid: any of them verifies; none: the source asks for no signature.
    """

    def __init__(self, configured: Sequence[str]) -> None:
        self._configured = _keys(configured)
        self.valid = self._configured

    def registered(self, webhooks: Iterable[RegisteredWebhook]) -> None:
        """These webhooks post to it, too."""
        self.valid = self._configured + _keys(key for each in webhooks for key in each.public_keys)


def _keys(texts: Iterable[str]) -> list[ec.EllipticCurvePublicKey]:
    return [public_key(text) for text in dict.fromkeys(texts)]


class VerificationKeys:
    """The keys of all sources.

    Args:
        settings: read.
    """

    def __init__(self, settings: Settings) -> None:
        self._cluster = settings.kafka.cluster
        self._of = {source.name: SourceKeys(source.public_keys) for source in settings.sources}

    def of(self, source: str) -> SourceKeys:
        """Those of one source, now and as they change."""
        return self._of[source]

    async def follow(self, stack: AsyncExitStack) -> None:
        """Take what is registered, and what will be until the stack closes; returns when all that there is is known.

        Raises:
            Fatal: Kafka forbids it.
        """
        table = await persistently("reading verification keys", self._read)
        stack.push_async_exit(table)
        self._take(table)
        following = asyncio.ensure_future(self._follow(table))
        stack.callback(following.cancel)

    async def _read(self) -> KafkaTable:
        return await KafkaTable(self._cluster, topics.VERIFICATION_KEYS).__aenter__()

    async def _follow(self, table: KafkaTable) -> None:
        while True:
            await persistently("reading verification keys", table.changed)
            self._take(table)
            log.info("verification keys have changed")

    def _take(self, table: KafkaTable) -> None:
        webhooks = registered(table)
        for name, keys in self._of.items():
            keys.registered(each for each in webhooks if each.source == name)


def registered(table: KafkaTable) -> list[RegisteredWebhook]:
    """The webhooks in the topic of verification keys."""
    found = []
    for key, value in table.values.items():
        try:
            webhook = RegisteredWebhook.of_record(key, value)
            for each in webhook.public_keys:
                public_key(each)
        except ValueError as error:
            log.warning("not a registered webhook", key=key.decode("utf-8", "replace"), reason=str(error))
        else:
            found.append(webhook)
    return found
