"""Plain Faust, as its guide shows it: an agent sends each event to its topic; agents take batches and insert them.

`faust -A bench.peers.faust worker` in gridstream's own environment, which has the library.
"""

import faust
from faust.types import StreamT

from bench.peers.task import Task
from connectors.clickhouse import ClickHouse
from schemas import topics
from schemas.ddl import identifier
from schemas.events import EVENTS, EventType
from schemas.normalize import Normalizer
from schemas.tables import EVENT_TABLES

_ROWS = 10_000
_SECONDS = 1.0

task = Task.read()
app = faust.App(
    task.group,
    broker=f"kafka://{task.servers}",
    value_serializer="raw",
    datadir=task.folder,
    topic_allow_declare=False,
    topic_disable_leader=True,
)
normalizer = Normalizer()
clickhouse = ClickHouse(task.clickhouse)
raw = app.topic(topics.raw(task.source), value_type=bytes)
targets = {event.name: app.topic(topics.events(task.source, event), value_type=bytes) for event in EVENTS}


async def normalize(bodies: StreamT[bytes]) -> None:
    """Raw topic to event topics."""
    async for body in bodies.events():
        received_at = int(body.headers["received_at"])
        for event in normalizer(body.value, received_at).events:
            await targets[event.type.name].send(key=event.user_id, value=event.line)


def store(event: EventType) -> None:
    """One event topic to its table."""
    table = f"{identifier(task.source)}.{identifier(EVENT_TABLES[event.name].rows)}"

    async def insert(lines: StreamT[bytes]) -> None:
        async for batch in lines.take(_ROWS, within=_SECONDS):
            await clickhouse.insert(table, [b"\n".join(batch), b"\n"])

    app.agent(targets[event.name], name=event.topic)(insert)


if task.role == "normalize":
    app.agent(raw)(normalize)
else:
    app.task(clickhouse.connect)
    for event in EVENTS:
        store(event)
