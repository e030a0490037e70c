"""The embedded Kafka's part of the data folder has a size: its topics are made, and kept, within it."""

import asyncio
import os

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connectors.errors import Fatal
from connectors.kafka import Producer, Record
from schemas import topics
from streams.schema import capped, configure_topics, ensure_topics, wanted_topics
from streams.settings import Settings

_GB = 2**30


def embedded(source: str, embedded_bytes: int, port: int = 9092) -> Settings:
    return Settings(kafka={"embedded_port": port, "embedded_bytes": embedded_bytes}, sources=[{"name": source}])


@pytest.mark.parametrize("size", [2 * _GB, 10 * _GB, 500 * _GB])
def test_all_partitions_together_take_no_more(size: int) -> None:
    made = capped(embedded("sendgrid", size))

    full = [int(each["retention.bytes"]) + int(each["segment.bytes"]) for each in made.values()]
    assert 0.9 * size < 4 * sum(full) <= size
    assert all(int(each["segment.bytes"]) > int(each.get("max.message.bytes", 0)) for each in made.values())


def test_raw_records_have_half_of_it() -> None:
    raw = capped(embedded("sendgrid", 10 * _GB))[topics.raw("sendgrid")]

    assert 4 * (int(raw["retention.bytes"]) + int(raw["segment.bytes"])) == pytest.approx(5 * _GB, rel=0.01)


def test_too_little_says_how_much_it_takes() -> None:
    settings = embedded("sendgrid", 1)
    number = len(wanted_topics(settings))
    least = f"{number * 4 * 17 * 2**20:,}"  # a segment that holds the largest record

    with pytest.raises(Fatal, match=rf"found 1, expected at least {least}: {number} topics of 4"):
        capped(settings)


@pytest.mark.parametrize(
    "kafka", [{"embedded_bytes": 0}, {"bootstrap_servers": "kafka:9092"}], ids=["no limit", "not embedded"]
)
def test_without_a_limit_topics_have_none(kafka: dict[str, object]) -> None:
    assert not any("retention.bytes" in each for each in capped(Settings(kafka=kafka)).values())


async def described(settings: Settings, topic: str) -> dict[str, str]:
    """What the broker has configured."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.servers)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for *_, entries in answer.resources for entry in entries}


async def test_the_broker_has_it_and_follows_another_setting(servers: Settings, source: str) -> None:
    raw = topics.raw(source)
    settings = embedded(source, 10 * _GB, servers.kafka.embedded_port)
    await ensure_topics(settings)
    first = await described(settings, raw)
    smaller = embedded(source, 2 * _GB, servers.kafka.embedded_port)
    await configure_topics(smaller)
    async with asyncio.timeout(60):  # the broker hears of it from the controller
        while (second := await described(settings, raw)) == first:
            await asyncio.sleep(0.05)

    for found, wanted in ((first, capped(settings)[raw]), (second, capped(smaller)[raw])):
        assert {name: found[name] for name in wanted} == wanted
    assert second["retention.ms"] == first["retention.ms"]


async def test_the_largest_record_still_has_room(servers: Settings, source: str) -> None:
    settings = embedded(source, 2 * _GB, servers.kafka.embedded_port)
    await ensure_topics(settings)
    async with Producer(settings.kafka.cluster) as producer:
        await producer.publish(topics.dead_letters(source), Record(None, os.urandom(topics.EVENT_MAX_BYTES - 4096)))
