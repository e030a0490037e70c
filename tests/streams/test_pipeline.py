"""From the POST to the row, on real processes, a real Kafka and the real engine."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner

from connectors.kafka import Cluster, Producer
from schemas import topics
from schemas.events import EVENTS
from streams.accounting import SourceAccount
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.pipeline import Pipeline, running
from tests.samples import VECTORS, sample

NAMES = {event.name: event for event in EVENTS}


@pytest.fixture
async def pipeline(servers: Settings, data: DataFolder, source: str, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with running(servers, data, source, tmp_path) as pipeline:
        yield pipeline


async def test_one_event_of_each_type_ends_in_its_table_and_in_activity(pipeline: Pipeline) -> None:
    for event in EVENTS:
        assert await pipeline.post(sample(event.table)) == 200
    account = await pipeline.settled()

    assert account.balanced
    assert account.rows == account.accepted == len(EVENTS)
    for event in EVENTS:
        (row,) = await pipeline.rows(event.table)
        assert set(row) == {column.name for column in event.columns}
    activity = {row["event"]: row for row in await pipeline.rows("activity")}
    assert set(activity) == {event.name for event in EVENTS if event.name != "unknown"} | {"inbox_placement"}
    assert activity["click"]["url"] == "https://www.example.com/landing?utm_source=spring&x=1"
    assert activity["open"]["url"] == ""


async def test_the_signed_vectors_posted_five_times_are_fourteen_rows(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    keys = [vector.key for vector in VECTORS]
    async with running(servers, data, source, tmp_path, public_keys=keys) as pipeline:
        for _ in range(5):
            for vector in VECTORS:
                headers = {
                    "X-Twilio-Email-Event-Webhook-Signature": vector.signature,
                    "X-Twilio-Email-Event-Webhook-Timestamp": vector.timestamp,
                }
                assert await pipeline.post(vector.body, **headers) == 200
        account = await pipeline.settled()

        assert account.balanced
        assert (account.accepted, account.distinct, account.duplicates, account.rows) == (70, 14, 56, 14)
        for vector in VECTORS:
            for sent in json.loads(vector.body):
                rows = await pipeline.rows(NAMES[sent["event"]].table)
                (row,) = [row for row in rows if row["event_id"] == sent["sg_event_id"]]
                assert row["email"] == sent["email"]
                assert row["smtp_id"] == sent["smtp-id"]
                assert row["timestamp"].timestamp() == sent["timestamp"]
                assert row["category"] == sent.get("category", [])
                assert row["custom_args"] == {}
                for key in ("reason", "status", "response", "useragent", "ip", "url", "type", "asm_group_id", "tls"):
                    if key in sent:
                        assert row[key] == sent[key]


async def test_what_is_no_event_is_a_dead_letter_and_takes_no_neighbour_along(pipeline: Pipeline) -> None:
    assert await pipeline.post(b'[{"event":"open"},5,{"event":"click"}]') == 200
    assert await pipeline.post(b"no json \xff") == 200
    assert await pipeline.post(b"") == 200
    assert await pipeline.post(b"[]") == 200
    account = await pipeline.settled()

    assert account.balanced
    assert (account.accepted, account.malformed, account.dead_letters, account.rows) == (4, 2, 2, 2)
    letters = {row["payload"]: row for row in await pipeline.rows("dead_letters")}
    assert letters["5"]["reason"] == "not a JSON object"
    undecodable = letters[base64.b64encode(b"no json \xff").decode()]
    assert undecodable["encoding"] == "base64"
    assert undecodable["step"] == "normalize"
    assert undecodable["state"] == "waiting"
    assert await pipeline.count("deliveries") == 4


async def test_a_row_that_clickhouse_refuses_is_a_dead_letter_and_takes_no_neighbour_along(pipeline: Pipeline) -> None:
    poison = [b'{"event_id":"x","timestamp":"not a time"}', b"nothing", b'{"event_id":"y","nosuch":1}']
    good = [orjson.dumps({"event_id": f"g{n}", "timestamp": "2026-11-21 12:00:00.000"}) for n in range(20)]
    lines = [*good[:7], poison[0], *good[7:9], poison[1], poison[2], *good[9:]]
    producer = Producer(Cluster(pipeline.servers))
    await producer.start()
    topic = topics.events(pipeline.source, NAMES["click"])
    outgoing = producer.outgoing()
    for line in lines:
        outgoing.add(topic, 0, None, line)
    await producer.publish_all(outgoing)
    await producer.stop()
    account = await pipeline.settled()

    assert account.rows == 20
    assert account.refused == 3
    letters = await pipeline.rows("dead_letters")
    assert {row["payload"].encode() for row in letters} == set(poison)
    assert {row["step"] for row in letters} == {"store"}


async def test_a_strangers_client_reads_the_topics_as_they_are_described(pipeline: Pipeline) -> None:
    body = sample("click")
    headers = {"Content-Type": "application/json;charset=utf-8"}
    assert await pipeline.post(body, **headers) == 200
    await pipeline.settled()

    consumer = AIOKafkaConsumer(
        topics.raw(pipeline.source),
        topics.events(pipeline.source, NAMES["click"]),
        bootstrap_servers=pipeline.servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        records: dict[str, ConsumerRecord[bytes, bytes]] = {}
        while len(records) < 2:
            record = await consumer.getone()
            records[record.topic] = record
        raw = records[topics.raw(pipeline.source)]
        event = records[topics.events(pipeline.source, NAMES["click"])]
        partitions = consumer.partitions_for_topic(event.topic)
    finally:
        await consumer.stop()
    named = dict(raw.headers)
    assert raw.value == body
    assert raw.key is None
    assert int(named["received_at"]) > 1_700_000_000_000
    assert named["verified"] == b"none"
    assert named["content_type"] == b"application/json;charset=utf-8"
    assert {"signature", "timestamp"}.isdisjoint(named)
    value = orjson.loads(event.value)
    assert event.key == b"user-1815"
    assert event.partition == DefaultPartitioner()(b"user-1815", sorted(partitions), sorted(partitions))
    assert event.headers == ()
    assert value["timestamp"] == "2024-04-24 23:06:40.000"
    assert value["user_id"] == "user-1815"
    assert set(value) <= {column.name for column in NAMES["click"].columns}


def test_the_balance_can_fail() -> None:
    right = SourceAccount(accepted=10, distinct=7, duplicates=2, malformed=1, refused=1, dead_letters=2, rows=6)

    assert right.balanced
    for wrong in (
        replace(right, rows=5),
        replace(right, rows=7),
        replace(right, accepted=11),
        replace(right, duplicates=-1, distinct=10),
        replace(right, dead_letters=1),
        replace(right, missing=1),
    ):
        assert not wrong.balanced


async def test_processes_of_one_ingress_share_its_port_and_their_metrics(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    environment = {"GRIDSTREAM_INGRESS__PROCESSES": "2"}
    async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
        for _ in range(40):
            assert await pipeline.post(sample("click")) == 200
        account = await pipeline.settled()
        texts = []
        async with aiohttp.ClientSession() as session:
            for _ in range(8):  # whichever process answers
                async with session.get(f"{pipeline.base}/metrics", headers={"Connection": "close"}) as answer:
                    texts.append(await answer.text())
        ingress = psutil.Process(pipeline.supervisor.pids["ingress"])
        serving = len(ingress.children())

    line = f'gridstream_requests_total{{source="{source}",status="200"}} 40.0'
    assert all(line in text for text in texts)
    assert (account.accepted, account.distinct, serving) == (40, 1, 2)
