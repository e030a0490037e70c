"""What all endpoints share: how a body is read and brought to Kafka."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog
from aiohttp import web

from connectors.errors import Reject, Retry
from connectors.kafka import Producer, Record
from schemas.topics import owner
from streams import failpoints
from streams.fairness import has_enough
from streams.ingress.addresses import Network, is_local
from streams.ingress.bodies import Bodies
from streams.ingress.refusal import RETRY_AFTER, Refusal

log = structlog.get_logger()

_CONFIRM_SECONDS = 5.0
"""How long Kafka may take. A sender that waits longer gives up itself: some say after 10 s, SendGrid does not say."""
_UNCONFIRMED_BYTES = 64 << 20
"""So much may wait for Kafka at once; more is told to come again, so that memory stays bounded while Kafka is away."""


class Intake:
    """Brings bodies to Kafka, or has their senders come again.

    Attributes:
        bodies: reads them.

    Args:
        producer: started.
        trusted_proxies: whose word is taken for where requests come from.
    """

    def __init__(self, producer: Producer, trusted_proxies: Sequence[Network] = ()) -> None:
        self.bodies = Bodies()
        self._producer = producer
        self._trusted_proxies = trusted_proxies
        self._free = _UNCONFIRMED_BYTES
        self._unconfirmed: Counter[str] = Counter()

    async def accept(self, *records: tuple[str, Record]) -> None:
        """Return when Kafka has all records, each with its topic.

        Raises:
            Refusal: 503, as Kafka is away, slow or full; 413, as it takes no record this large.
        """
        size = sum(len(record.value) for _, record in records)
        whose = owner(records[0][0]) if records else ""
        if size > self._free or has_enough(self._unconfirmed[whose], self._free):
            raise Refusal(503, "too much is waiting for Kafka", RETRY_AFTER)
        self._free -= size
        self._unconfirmed[whose] += size
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await failpoints.reach("before-publishing")
                if len(records) == 1:  # as usual: a task for it would cost as much as the rest
                    await self._producer.publish(*records[0])
                else:
                    await asyncio.gather(*(self._producer.publish(topic, record) for topic, record in records))
                await failpoints.reach("after-publishing")
        except (Retry, TimeoutError) as error:
            topics = sorted({topic for topic, _ in records})
            log.warning("not accepted", topics=topics, reason=str(error) or "Kafka did not confirm in time")
            raise Refusal(503, "Kafka did not confirm in time", RETRY_AFTER) from error
        except Reject as error:
            raise Refusal(413, "Kafka takes no record this large") from error
        finally:
            self._free += size
            self._unconfirmed[whose] -= size

    def is_local(self, request: web.Request) -> bool:
        """Whether a request comes from this machine."""
        return is_local(request, self._trusted_proxies)

    async def ready(self) -> bool:
        """Whether Kafka answers."""
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._producer.ping()
        except (Retry, TimeoutError):
            return False
        return True
