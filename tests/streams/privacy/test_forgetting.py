"""People are forgotten on real processes, a real Kafka and the real engine; then everything is read that is there."""

import asyncio
import hashlib
import io
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest, xxh32_hexdigest, xxh64_hexdigest, xxh128_hexdigest

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.columns import ARGS, COUNTS, FLAG, TIME, time_text
from schemas.ddl import identifier
from schemas.events import EVENTS
from schemas.normalize import FORGOTTEN, Normalizer
from schemas.privacy import Marks
from schemas.tables import CALLS, DEAD_LETTERS, DELIVERIES, EVENT_TABLES, HOURLY, REMOVALS, TABLES, Table
from schemas.verification_keys import RegisteredWebhook
from streams.clock import now
from streams.dashboard.counting import Counting
from streams.datafolder import DataFolder
from streams.schema import wanted_topics
from streams.settings import Settings
from tests.pipeline import PRIVACY_KEY, Pipeline, running
from tests.samples import sample
from tests.streams.dashboard.test_counting import settle

MARKS = Marks(PRIVACY_KEY)
WITHOUT_PEOPLE = (DELIVERIES, REMOVALS)


@pytest.fixture
async def pipeline(servers: Settings, data: DataFolder, source: str, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with running(servers, data, source, tmp_path) as pipeline:
        yield pipeline


@pytest.fixture
def ada(source: str) -> str:
    """Who is forgotten: nobody whom another test knows."""
    return f"ada.{source}@example.com"


@pytest.fixture
def bob(source: str) -> str:
    """Who is not."""
    return f"bob.{source}@example.com"


def body(email: str, *, copies: int = 1) -> bytes:
    """An event of each type, with an id of its own, and one of each without."""
    elements = []
    for event in EVENTS:
        (element,) = json.loads(sample(event.table))
        about = {"email": email.upper(), "amp_user_id": f"id of {email[:3]}"}
        elements += [element | about | {"sg_event_id": f"{email}-{event.name}"[::-1]}] * copies
        elements.append({"event": element["event"], "email": email, "timestamp": element["timestamp"]})
    return json.dumps(elements).encode()


async def post(pipeline: Pipeline, body: bytes) -> None:
    """POST as SendGrid does: again, as long as it is asked to."""
    async with asyncio.timeout(60):
        while (status := await pipeline.post(body)) == 503:
            await asyncio.sleep(0.2)
    assert status == 200


def hashes(text: str) -> set[str]:
    """What a guess of an address could be compared with."""
    found = {
        hashlib.new(name, text.encode()).hexdigest() for name in hashlib.algorithms_guaranteed if "shake" not in name
    }
    found |= {hashlib.blake2b(text.encode(), digest_size=size).hexdigest() for size in (8, 16, 20, 32)}
    found |= {hash_(text.encode()) for hash_ in (xxh3_64_hexdigest, xxh32_hexdigest, xxh64_hexdigest, xxh128_hexdigest)}
    return found | {str(xxh3_64_intdigest(text.encode()))}


async def traces(pipeline: Pipeline, email: str) -> tuple[set[str], set[str]]:
    """In which tables and in which topics something of somebody is: address, hash, or identity of an event."""
    events = [event for received in (0, 1_800_000_000_000) for event in Normalizer()(body(email), received or 1).events]
    guesses = {email, quote(email), *hashes(email), *(str(event.identity) for event in events)}
    guesses |= {json.loads(event.line)["event_id"] for event in events}

    def tells(text: str) -> bool:
        # Whose address is longer is somebody else.
        return any(guess in text.lower().replace(f"x{email}", "") for guess in guesses)

    tables = set()
    sql = "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'"
    for (table,) in (await pipeline.clickhouse.query(sql, {"database": pipeline.source})).result_rows:
        # Not through FINAL: whatever lies in any part.
        rows = await pipeline.clickhouse.query(f"SELECT * FROM {identifier(pipeline.source)}.{identifier(table)}")
        if any(tells(repr(row)) for row in rows.result_rows):
            tables.add(table)
    held = set()
    for topic in wanted_topics(pipeline.settings):
        for record in await pipeline.records(topic.name):
            if tells(f"{record.key!r} {(record.value or b'').decode('utf-8', 'replace')} {record.headers!r}"):
                held.add(topic.name)
    mutations = await pipeline.clickhouse.query("SELECT command FROM system.mutations")
    assert not any(tells(command) for (command,) in mutations.result_rows)
    return tables, held


async def forget(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    code, output, errors = await pipeline.command("forget", *arguments, "--json")
    assert code == 0, output + errors
    found: dict[str, Any] = json.loads(output)
    return found


def row_about(table: Table, email: str, number: int) -> dict[str, object]:
    """A row of any table that names somebody wherever it can."""
    quoted = f'{{"about": "{email}"}}'
    plain = {"encoding": "utf-8", "state": "waiting", "email": email, "user_id": email}
    if table is DEAD_LETTERS:  # which say of themselves what others cannot set
        plain |= {"id": str(number), "source": "a", "step": "mail", "topic": "b"}
    values: dict[str, object] = {
        ARGS.clickhouse: {"note": quoted},
        "Array(String)": [quoted],
        "Array(LowCardinality(String))": [quoted],
        "String": quoted,
        "LowCardinality(String)": quoted,
        TIME.clickhouse: time_text(now() - number * 86_400_000),
        FLAG.clickhouse: False,
        COUNTS.clickhouse: [{"value": [email, "x"], "is_test": False, "count": 1}],
    }
    return {column.name: plain.get(column.name, values.get(column.type.clickhouse, number)) for column in table.columns}


async def post_call(pipeline: Pipeline, email: str) -> None:
    call = {"userId": f"id of {email[:3]}", "messageId": f"call-{email[:3]}", "traits": {"email": email}}
    content = io.BytesIO(json.dumps(call).encode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{pipeline.base}/v1/identify", data=content) as response,
    ):
        assert response.status == 200


async def test_nothing_is_left_in_any_part_of_any_table_nor_in_any_topic(
    pipeline: Pipeline, ada: str, bob: str
) -> None:
    for person in (ada, bob):
        await post(pipeline, body(person, copies=2))
        await post(pipeline, body(person))
        await post_call(pipeline, person)
        await post(pipeline, f'["no event of {person}"]'.encode())
    bounce = {"event": "bounce", "email": f"x{ada}", "reason": f"user <x{ada}> unknown", "sg_event_id": "x"}
    await post(pipeline, json.dumps([bounce]).encode())
    quoting = {"event": "bounce", "email": bob, "reason": f"loop: <{ada}>", "sg_event_id": "loop"}
    link = {"event": "click", "email": bob, "url": f"https://x.example.com/?e={quote(ada)}", "sg_event_id": "link"}
    await post(pipeline, json.dumps([quoting, link]).encode())
    # What is kept for good is of nobody, and no topic to be emptied.
    webhook = RegisteredWebhook(pipeline.source, "1", "https://example.com/", ())
    await pipeline.publish(topics.VERIFICATION_KEYS, Record(webhook.key, webhook.line(), NO_HEADERS))
    before = await pipeline.settled()
    assert before.balanced
    assert before.removed == 0
    for table in TABLES:
        if table not in WITHOUT_PEOPLE and table not in EVENT_TABLES.values():
            lines = b"\n".join(orjson.dumps(row_about(table, each, n)) for n, each in enumerate((ada, bob), 1))
            name = f"{identifier(pipeline.source)}.{identifier(table.rows)}"
            await pipeline.clickhouse.insert(name, [lines])
    held, there = await traces(pipeline, ada)
    assert held == {table.rows for table in TABLES if table is not REMOVALS}
    assert {topics.raw(pipeline.source), topics.CALLS, topics.dead_letters(pipeline.source)} <= there

    report = await forget(pipeline, ada.upper(), "--truncate")

    tables, still = await traces(pipeline, ada)
    assert tables == set()
    assert still == set()
    assert report["sources"][pipeline.source]["events"] == 2 * len(EVENTS) + 2
    assert report["people"] == [MARKS(ada)]
    assert (report["remaining"], report["known"]) == (0, 0)
    assert ada not in json.dumps(report)
    assert report["until"] != "never"
    after = await pipeline.settled()
    assert after.balanced
    assert after.removed == 2 * len(EVENTS) + 2
    assert (after.accepted, after.distinct, after.duplicates) == (before.accepted, before.distinct, before.duplicates)
    assert after.rows == before.rows - after.removed
    for table in TABLES:
        if table not in WITHOUT_PEOPLE and table is not HOURLY:
            assert any(bob in repr(row) for row in await pipeline.rows(table.name)), table.name
    assert [row["email"] for row in await pipeline.rows("bounce") if row["event_id"] == "x"] == [f"x{ada}"]
    letters = [row for row in await pipeline.rows("dead_letters") if row["reason"] == FORGOTTEN.reason]
    assert {(row["payload"], row["state"]) for row in letters} == {("", "discarded")}

    again = await forget(pipeline, ada)

    assert (again["sources"][pipeline.source]["rows"], again["known"]) == ({}, 1)


async def test_a_replay_brings_nobody_back_and_what_comes_later_is_counted(
    pipeline: Pipeline, ada: str, bob: str, tmp_path: Path
) -> None:
    for person in (ada, bob):
        await post(pipeline, body(person))
        await post(pipeline, f'["no event of {person}"]'.encode())
    before = await pipeline.settled()
    people = tmp_path / "people"
    people.write_text(f"{ada}\n\nnobody.{pipeline.source}@example.com\n")

    report = await forget(pipeline, "--file", str(people))
    assert (await pipeline.command("replay", "--since", "1h"))[0] == 0
    after = await pipeline.settled()

    tables, held = await traces(pipeline, ada)
    assert tables == set()
    assert topics.raw(pipeline.source) in held  # until it expires, as the report says
    assert {each["topic"]: each["until"] for each in report["topics"]}.keys() >= held - {topics.CALLS}
    assert after.balanced
    assert after.removed == 2 * len(EVENTS)
    assert (after.accepted, after.distinct) == (before.accepted, before.distinct)
    assert after.rows == before.rows - after.removed

    later = {"event": "open", "email": ada, "sg_event_id": "later"}
    await post(pipeline, json.dumps([later, later]).encode())
    account = await pipeline.settled()

    assert account.balanced
    assert (account.removed, account.rows) == (after.removed + 1, after.rows)
    await post_call(pipeline, ada)
    await pipeline.settled()
    await wait_for_store(pipeline)
    assert (await traces(pipeline, ada))[0] == set()


async def wait_for_store(pipeline: Pipeline) -> None:
    """Until all calls are stored, or not."""
    async with asyncio.timeout(60):
        while (await pipeline.status()).lag["gridstream.store"]:
            await asyncio.sleep(0.1)


async def counted(pipeline: Pipeline, *dimensions: str) -> int:
    """What is counted ahead, by some dimensions."""
    sql = (
        "SELECT sum(arraySum(arrayMap(each -> each.count, counts))) FROM "
        f"{identifier(pipeline.source)}.hourly WHERE dimension IN {{dimensions:Array(String)}}"
    )
    return int((await pipeline.clickhouse.query(sql, {"dimensions": list(dimensions)})).result_rows[0][0])


async def test_what_was_counted_ahead_is_counted_again(pipeline: Pipeline, ada: str, bob: str) -> None:
    elements = [
        {"event": event, "email": person, "sg_event_id": f"{event}{person}", "timestamp": 1_790_000_000, "url": "u"}
        for event in ("delivered", "open", "click", "bounce")
        for person in (ada, bob)
    ]
    await post(pipeline, json.dumps(elements).encode())
    await pipeline.settled()
    await settle(Counting(pipeline.source, pipeline.clickhouse))

    assert await counted(pipeline, "all", "first") == 12
    report = await forget(pipeline, ada)

    assert await counted(pipeline, "all", "first") == 6
    assert report["sources"][pipeline.source]["hours"] == 1


@pytest.mark.parametrize("point", ["before-deleting", "after-deleting"])
async def test_killed_on_the_way_it_goes_on_when_done_again(
    pipeline: Pipeline, ada: str, bob: str, tmp_path: Path, point: str
) -> None:
    for person in (ada, bob):
        await post(pipeline, body(person))
    before = await pipeline.settled()
    await settle(Counting(pipeline.source, pipeline.clickhouse))
    plans = tmp_path / "plans of forget"
    plans.mkdir()
    (plans / f"{point}.kill").touch()

    code, _, _ = await pipeline.command("forget", ada, FAILPOINTS=str(plans))
    assert code == -signal.SIGKILL
    await forget(pipeline, ada, "--truncate")

    assert await traces(pipeline, ada) == (set(), set())
    after = await pipeline.settled()
    assert after.balanced
    assert after.removed == before.rows - after.rows == 2 * len(EVENTS)
    left = "SELECT name FROM system.tables WHERE database = {name:String} AND match(name, 'forgetting|uncounted')"
    assert (await pipeline.clickhouse.query(left, {"name": pipeline.source})).result_rows == []
    assert await counted(pipeline, "all") == after.rows


async def test_rows_of_their_user_ids_are_told_of_and_go_when_asked(pipeline: Pipeline, ada: str, bob: str) -> None:
    shared = {"event": "open", "amp_user_id": f"U-{pipeline.source}"}
    elements = [shared | {"email": ada, "sg_event_id": "1"}, shared | {"email": bob, "sg_event_id": "2"}]
    await post(pipeline, json.dumps(elements).encode())
    await pipeline.settled()

    assert (await forget(pipeline, ada))["rows_of_user_ids"] == 1
    assert await pipeline.count("_open") == 1
    await post(pipeline, json.dumps([elements[0] | {"email": bob, "sg_event_id": "3"}]).encode())
    await pipeline.settled()
    report = await forget(pipeline, bob, "--user-ids")
    account = await pipeline.settled()

    assert (report["rows_of_user_ids"], await pipeline.count("_open"), account.balanced) == (0, 0, True)


async def test_an_export_has_all_of_somebody_and_nothing_of_others(pipeline: Pipeline, ada: str, bob: str) -> None:
    for person in (ada, bob):
        await post(pipeline, body(person, copies=2))
        await post_call(pipeline, person)
    await pipeline.settled()
    await wait_for_store(pipeline)
    code, output, _ = await pipeline.command("export", ada.title())
    tables = json.loads(output)["sources"][pipeline.source]

    assert code == 0
    assert {name: len(rows) for name, rows in tables.items()} == {
        **{event.table: 2 for event in EVENTS},
        CALLS.name: 1,
    }
    assert bob not in output
    assert {row["email"] for event in EVENTS for row in tables[event.table]} == {ada}


async def test_what_waits_to_be_stored_is_not_overlooked(pipeline: Pipeline, ada: str) -> None:
    await pipeline.supervisor.stop("store")
    await post(pipeline, body(ada))
    async with asyncio.timeout(60):
        while not (await pipeline.status()).sources[pipeline.source].in_flight:
            await asyncio.sleep(0.1)
    code, _, errors = await pipeline.command("forget", ada)

    assert code == 1
    assert "start: gridstream worker store" in errors


async def test_what_is_missing_is_named(pipeline: Pipeline) -> None:
    for arguments, code, expected in (
        ((), 2, "name at least one address"),
        (("nobody",), 2, "expected an address"),
        (("a@example.com", "--sendgrid"), 1, "nothing to ask SendGrid with"),
        (("a@example.com", "--amplitude"), 1, "nothing to ask Amplitude with"),
        (("--file", "/nowhere"), 1, "cannot be read"),
    ):
        found, _, errors = await pipeline.command("forget", *arguments)

        assert found == code
        assert expected in " ".join(errors.split())


async def test_another_key_would_recognize_nobody_and_says_so(
    pipeline: Pipeline, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pipeline.publish(
        topics.FORGOTTEN, Record(MARKS(ada).encode(), orjson.dumps({"at": 1, "check": MARKS.check}), NO_HEADERS)
    )
    monkeypatch.setitem(pipeline._environment, "GRIDSTREAM_PRIVACY__KEY", "another")
    code, _, errors = await pipeline.command("forget", ada)

    assert code == 1
    assert "privacy.key is not the one" in errors
