"""Dead letters: finding them, and deciding what becomes of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from connectors.clickhouse import ClickHouse
from connectors.kafka import Headers, Producer, Record
from schemas import topics
from schemas.cohorts import CohortBatch
from schemas.ddl import identifier
from schemas.dead_letters import COLUMNS, HEADER, DeadLetter, State, Step
from streams.clock import now

_ASK_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters. What is empty does not matter.

    Attributes:
        ids: these,
        state: in this state,
        step: of this step,
        reason: with this text in their reason,
        since: received from this time on, in milliseconds since 1970.
    """

    ids: Sequence[str] = ()
    state: State | None = "waiting"
    step: Step | None = None
    reason: str = ""
    since: int = 0


async def find(clickhouse: ClickHouse, source: str, wanted: Filter, limit: int = 0) -> list[DeadLetter]:
    """A source's dead letters, the newest first.

    Args:
        clickhouse: connected.
        source: whose.
        wanted: which.
        limit: how many at most; 0: all.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not say.
    """
    conditions = {
        "has({ids:Array(String)}, id)": {"ids": list(wanted.ids)} if wanted.ids else None,
        "state = {state:String}": {"state": wanted.state} if wanted.state else None,
        "step = {step:String}": {"step": wanted.step} if wanted.step else None,
        "positionCaseInsensitive(reason, {reason:String}) > 0": {"reason": wanted.reason} if wanted.reason else None,
        "received_at >= fromUnixTimestamp64Milli({since:Int64})": {"since": wanted.since} if wanted.since else None,
    }
    chosen = {sql: values for sql, values in conditions.items() if values}
    where = " AND ".join(["1", *chosen])
    parameters = {name: value for values in chosen.values() for name, value in values.items()}
    sql = f"SELECT {COLUMNS} FROM {identifier(source)}.dead_letters WHERE {where} ORDER BY received_ms DESC"
    if limit:
        sql += f" LIMIT {limit:d}"
    return [DeadLetter.of_row(row) for row in (await clickhouse.query(sql, parameters)).named_results()]


async def replay(producer: Producer, letters: Iterable[DeadLetter]) -> None:
    """Have letters processed again, where they failed.

    Raises:
        Retry, Reject: Kafka does not take them.
    """
    for letter in letters:
        headers: Headers = [(HEADER, letter.header())]
        if letter.step == "normalize":
            headers += [("received_at", str(letter.received_at).encode()), ("verified", b"replay")]
            key = None
        elif letter.step == "contacts":
            key = _list_key(letter.payload)
        else:
            key = _user_id(letter.payload)
        await producer.publish(letter.topic, Record(key, letter.payload, headers))


async def discard(producer: Producer, letters: Iterable[DeadLetter]) -> None:
    """Decide that nothing is to be done about letters. They stay in the table.

    Raises:
        Retry, Reject: Kafka does not take it.
    """
    at = now()
    for letter in letters:
        record = Record(letter.id.encode(), letter.now("discarded", at).line())
        await producer.publish(topics.dead_letters(letter.source), record)


async def outcome(clickhouse: ClickHouse, letters: Sequence[DeadLetter], seconds: float) -> Counter[State]:
    """What became of letters that were replayed or discarded: how many are in which state.

    Waits until each has changed, for so many seconds at most; those that have not are not counted.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not say.
    """
    before = {letter.id: letter.changed_at for letter in letters}
    deadline = time.monotonic() + seconds
    while True:
        changed: Counter[State] = Counter()
        for source in {letter.source for letter in letters}:
            found = await find(clickhouse, source, Filter(ids=list(before), state=None))
            changed.update(letter.state for letter in found if letter.changed_at > before[letter.id])
        if changed.total() == len(before) or time.monotonic() > deadline:
            return changed
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _list_key(line: bytes) -> bytes | None:
    try:
        return CohortBatch.of_line(line).key
    except ValueError:
        return None


def _user_id(line: bytes) -> bytes | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return str(row.get("user_id", "")).encode() or None if isinstance(row, dict) else None
