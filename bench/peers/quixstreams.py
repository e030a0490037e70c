"""quixstreams: a dataframe that expands each body into events, and sinks that insert at each checkpoint.

`python -m bench.peers.quixstreams` in its own environment.

Tried, on a busy machine, in CPU µs an event of the process. Normalize: 15 to 16 with lz4, 17 to 20 with zstd or with
the producer's own defaults; reports of failed deliveries only cost 1 to 2 less than of all. Linger of 5 to 200 ms,
checkpoints every 1, 3 or 5 s, a shorter wait for messages, checksums on or off: no difference that chance does not
make. Store: 10 in all cases; ClickHouse takes 7 with checkpoints every 3 s or 100,000 rows, 8 with every second or
20,000 rows. With checkpoints every 10 s the last rows wait for so long; larger fetch queues and no watch over brokers
change nothing.
"""
# mypy: disable-error-code="import-not-found,misc"
# gridstream's environment does not have the library.

import asyncio
from collections import defaultdict
from typing import Any

from quixstreams import Application
from quixstreams.models import SerializationContext, Serializer, Topic
from quixstreams.sinks import BaseSink

from bench.peers.librdkafka import PRODUCER
from bench.peers.task import Task
from connectors.clickhouse import ClickHouse
from schemas import topics
from schemas.ddl import identifier
from schemas.events import EVENTS
from schemas.normalize import Event, Normalizer
from schemas.tables import EVENT_TABLES

_ROWS = 100_000
_SECONDS = 3.0


class Line(Serializer):
    """An event's line as a record's value."""

    def __call__(self, value: Event, ctx: SerializationContext) -> bytes:  # noqa: ARG002  the interface
        """Serialize."""
        return value.line


class Insert(BaseSink):
    """Inserts at each checkpoint what came since the last: one insert a table, of all its partitions.

    quixstreams' own BatchingSink has a batch for each partition: four times as many inserts of a quarter of the rows.
    """

    def __init__(self, source: str, url: str) -> None:
        super().__init__()
        self._tables = {
            topics.events(source, event): f"{identifier(source)}.{identifier(EVENT_TABLES[event.name].rows)}"
            for event in EVENTS
        }
        self._lines: dict[str, list[bytes]] = defaultdict(list)
        self._clickhouse = ClickHouse(url)
        self._runner = asyncio.Runner()

    def setup(self) -> None:
        """Connect."""
        self._runner.run(self._clickhouse.connect())

    def add(
        self,
        value: bytes,
        key: Any,  # noqa: ANN401, ARG002  the interface
        timestamp: int,  # noqa: ARG002
        headers: Any,  # noqa: ANN401, ARG002
        topic: str,
        partition: int,  # noqa: ARG002
        offset: int,  # noqa: ARG002
    ) -> None:
        """One more row."""
        self._lines[topic].append(value)

    def flush(self) -> None:
        """Insert, before the checkpoint commits."""
        for topic, lines in self._lines.items():
            self._runner.run(self._clickhouse.insert(self._tables[topic], [b"\n".join(lines), b"\n"]))
        self._lines.clear()


def normalize(app: Application, source: str) -> None:
    """Raw topic to event topics."""
    normalizer = Normalizer()
    raw = app.topic(topics.raw(source), value_deserializer="bytes")
    targets = {
        event.name: app.topic(topics.events(source, event), value_serializer=Line(), key_serializer="string")
        for event in EVENTS
    }

    def events(value: bytes, _key: object, _timestamp: int, headers: list[tuple[str, bytes]]) -> list[Event]:
        return normalizer(value, int(dict(headers)["received_at"])).events

    def target(value: Event, _key: object, _timestamp: int, _headers: object) -> Topic:
        return targets[value.type.name]

    frame = app.dataframe(raw).apply(events, expand=True, metadata=True)
    frame = frame.set_headers(lambda *_: [])
    frame.to_topic(target, key=lambda event: event.user_id)


def store(app: Application, source: str, url: str) -> None:
    """Event topics to tables."""
    sink = Insert(source, url)
    for event in EVENTS:
        app.dataframe(app.topic(topics.events(source, event), value_deserializer="bytes")).sink(sink)


def application(task: Task) -> Application:
    """The application, as it serves this work best."""
    return Application(
        task.servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=task.folder,
        commit_interval=_SECONDS,
        commit_every=_ROWS if task.role == "store" else 0,
        loglevel="WARNING",
        producer_extra_config=PRODUCER,
        consumer_extra_config={"check.crcs": False},
    )


if __name__ == "__main__":
    task = Task.read()
    app = application(task)
    if task.role == "normalize":
        normalize(app, task.source)
    else:
        store(app, task.source, task.clickhouse)
    app.run()
