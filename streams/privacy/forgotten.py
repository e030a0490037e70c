"""Who is forgotten: read from the topic that remembers it, and looked at again before anything is decided.

To ask for the topic's end costs a round trip to Kafka, for a whole chunk of records: so whoever begins with a chunk
after somebody was forgotten knows it, and `gridstream forget` has to wait only for what was begun before.
"""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import orjson

from connectors.errors import Fatal
from connectors.kafka import Admin, Cluster, Producer, Record
from connectors.kafka_table import KafkaTable
from schemas import topics
from schemas.columns import UncertainError, milliseconds
from schemas.privacy import Guard, Later, Marks, People, addresses
from streams.clock import now
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.sections import Source
from streams.settings import Settings

_NO_KEY = "privacy.key is not set"
_ROW_NAMES = ("email", "user_id")


class Forgotten:
    """Everybody who is forgotten.

    Args:
        cluster: where the topic is.
        marks: None where there is no key.
        later: what becomes of what comes later.

    Attributes:
        people: as far as they were read.
        marks: as given.
    """

    def __init__(self, cluster: Cluster, marks: Marks | None, later: Later) -> None:
        self.people = People()
        self.marks = marks
        self._cluster = cluster
        self._later = later
        self._table = KafkaTable(cluster, topics.FORGOTTEN)

    def __bool__(self) -> bool:
        """Whether anybody is."""
        return bool(self.people)

    async def start(self) -> None:
        """Connect, and read who is.

        Raises:
            Retry: Kafka cannot be reached.
            Fatal: they were forgotten with another key.
        """
        async with Admin(self._cluster) as admin:
            topic = topics.of_forgotten()
            await admin.ensure_topics({topic.name: topic.settings}, 1, 0)
        await self._table.__aenter__()
        self._take()

    async def stop(self) -> None:
        """Disconnect."""
        await self._table.__aexit__(None, None, None)

    async def refresh(self) -> None:
        """Read who has been added.

        Raises:
            Retry: Kafka cannot be reached.
            Fatal: they were forgotten with another key.
        """
        if await self._table.refresh():
            self._take()

    def _take(self) -> None:
        for mark, value in self._table.values.items():
            said = orjson.loads(value)
            if self.marks is None:
                raise Fatal(f"somebody is forgotten, and {_NO_KEY}: nothing could be recognized as theirs")
            if said["check"] != self.marks.check:
                raise Fatal("privacy.key is not the one with which people were forgotten; set that one again")
            self.people.add(mark.decode(), said["at"])

    def guard(self, source: Source) -> Guard:
        """What becomes of the elements of a source."""
        return Guard(source.rules, self.marks, self.people, source.user_id_key, self._later)

    def drops(self, names: Iterable[str], received_at: int) -> bool:
        """Whether something about people may not be kept.

        Args:
            names: addresses and user ids.
            received_at: in milliseconds since 1970.
        """
        marks = self.marks
        if marks is None:
            return False
        since = max((self.people.get(marks(name.strip().lower()), 0) for name in names if name), default=0)
        # Only events are worth anything without their person.
        return since >= received_at if self._later == "keep" else bool(since)

    async def without(self, records: Iterable[Any]) -> list[Any]:
        """Those of some records, JSON of whatever shape, that tell of nobody who is forgotten."""
        await persistently("asking who is forgotten", self.refresh)
        if not self:
            return list(records)
        return [record for record in records if not self._tells(record)]

    def _tells(self, record: Any) -> bool:  # noqa: ANN401  aiokafka's
        text = (record.value or b"").decode("utf-8", "replace")
        names = {*addresses(text), (record.key or b"").decode("utf-8", "replace")}
        return self.drops(names, record.timestamp)

    async def rows_without(self, rows: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
        """Those of some rows that are about nobody who is forgotten."""
        await persistently("asking who is forgotten", self.refresh)
        if not self:
            return list(rows)
        return [row for row in rows if not self.drops(_names(row), _received(row))]

    async def add(self, names: Iterable[str], producer: Producer, at: int) -> None:
        """Have everybody who reads forget people.

        Args:
            names: addresses and user ids, in lower case.
            producer: started.
            at: in milliseconds since 1970.

        Raises:
            Retry, Reject: Kafka does not take it.
        """
        assert self.marks, _NO_KEY
        value = orjson.dumps({"at": at, "check": self.marks.check})
        for name in names:
            await producer.publish(topics.FORGOTTEN, Record(self.marks(name).encode(), value))


def _names(row: Mapping[str, object]) -> list[str]:
    return [str(row.get(name, "")) for name in _ROW_NAMES]


def _received(row: Mapping[str, object]) -> int:
    try:
        return milliseconds(row["received_at"])
    except (KeyError, UncertainError):
        return now()


def marks_of(settings: Settings, data: DataFolder) -> Marks | None:
    """What marks people, where there is a key."""
    key = data.privacy_key(settings)
    return Marks(key) if key else None


async def forgotten(settings: Settings, data: DataFolder, stack: AsyncExitStack) -> Forgotten:
    """Who is forgotten, as long as a stack is open.

    Raises:
        Fatal: the key is missing and needed.
    """
    marks = marks_of(settings, data)
    if marks is None and any(source.rules.hash for source in settings.sources):
        raise Fatal(f"{_NO_KEY}, and a source hashes: set it to a long random text, and never change it")
    found = Forgotten(settings.kafka.cluster, marks, settings.privacy.later_events)
    await persistently("asking who is forgotten", found.start)
    stack.push_async_callback(found.stop)
    return found
