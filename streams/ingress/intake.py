"""What all endpoints share: how a body is read and brought to Kafka."""

import asyncio
from ipaddress import ip_address

import structlog
from aiohttp import web

from connectors.errors import Reject, Retry
from connectors.kafka import Producer, Record
from streams import failpoints
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
    """

    def __init__(self, producer: Producer) -> None:
        self.bodies = Bodies()
        self._producer = producer
        self._unconfirmed = 0

    async def accept(self, *records: tuple[str, Record]) -> None:
        """Return when Kafka has all records, each with its topic.

        Raises:
            Refusal: 503, as Kafka is away, slow or full; 413, as it takes no record this large.
        """
        size = sum(len(record.value) for _, record in records)
        if self._unconfirmed + size > _UNCONFIRMED_BYTES:
            raise Refusal(503, "too much is waiting for Kafka", RETRY_AFTER)
        self._unconfirmed += size
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
            self._unconfirmed -= size

    async def ready(self) -> bool:
        """Whether Kafka answers."""
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._producer.ping()
        except (Retry, TimeoutError):
            return False
        return True


def is_local(request: web.Request) -> bool:
    """Whether it comes from this machine."""
    return bool(request.remote) and ip_address(str(request.remote)).is_loopback
