"""sentry-arroyo: batches of bodies, whose events go to confluent-kafka; after its flush the offsets are committed.

`python -m bench.peers.arroyo` in its own environment.
"""
# mypy: disable-error-code="import-not-found,misc"
# gridstream's environment does not have the library.

import signal
from collections.abc import Mapping

from arroyo import Topic
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import CommitOffsets, RunTask
from arroyo.processing.strategies.abstract import ProcessingStrategy, ProcessingStrategyFactory
from arroyo.processing.strategies.batching import BatchStep, ValuesBatch
from arroyo.types import Commit, Message, Partition
from confluent_kafka import KafkaError, Producer

from bench.peers.librdkafka import PRODUCER
from bench.peers.task import Task
from schemas import topics
from schemas.events import EVENTS
from schemas.normalize import Normalizer

_BODIES = 200
_SECONDS = 0.5


class Publish:
    """Publishes the events of a batch of bodies; returns when Kafka has them.

    Args:
        task: what to do.
    """

    def __init__(self, task: Task) -> None:
        self._normalizer = Normalizer()
        self._topics = {event.name: topics.events(task.source, event) for event in EVENTS}
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": task.servers,
                "enable.idempotence": True,
                "on_delivery": self._delivered,
                **PRODUCER,
            }
        )

    def __call__(self, message: Message[ValuesBatch[KafkaPayload]]) -> None:
        """Publish.

        Raises:
            RuntimeError: Kafka did not take a record.
        """
        produce, names = self._producer.produce, self._topics
        for body in message.payload:
            received_at = int(dict(body.payload.headers)["received_at"])
            for event in self._normalizer(body.payload.value, received_at).events:
                produce(names[event.type.name], event.line, event.user_id)
            self._producer.poll(0)
        self._producer.flush()
        if self._failed:
            raise RuntimeError(str(self._failed[0]))

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error:
            self._failed.append(error)


class Steps(ProcessingStrategyFactory[KafkaPayload]):
    """The steps of a body."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def create_with_partitions(
        self,
        commit: Commit,
        partitions: Mapping[Partition, int],  # noqa: ARG002  the interface
    ) -> ProcessingStrategy[KafkaPayload]:
        """Make them."""
        return BatchStep(_BODIES, _SECONDS, RunTask(self._publish, CommitOffsets(commit)))


if __name__ == "__main__":
    task = Task.read()
    consumer = KafkaConsumer(
        build_kafka_consumer_configuration(
            {}, group_id=task.group, auto_offset_reset="earliest", bootstrap_servers=[task.servers]
        )
    )
    processor = StreamProcessor(consumer, Topic(topics.raw(task.source)), Steps(Publish(task)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processor.signal_shutdown())
    processor.run()
