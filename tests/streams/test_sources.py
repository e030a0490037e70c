"""Many accounts in one gridstream: each with its own keys, region, topics and tables, and its fair share."""

import asyncio
import json
from pathlib import Path

import orjson

from connectors.event_webhook import Signer
from connectors.kafka import Producer, Record
from schemas import topics
from streams.datafolder import DataFolder
from streams.schema import ensure_topics
from streams.settings import Settings
from tests.fakes.sendgrid import FakeSendGrid
from tests.pipeline import running

_PATIENCE_SECONDS = 60
_ENVIRONMENT = {"GRIDSTREAM_KAFKA__PARTITIONS": "1"}


def opened(source: str, number: int = 1) -> bytes:
    """Opens by people of a source."""
    return orjson.dumps(
        [{"event": "open", "email": f"{n}@{source}.example.com", "sg_event_id": f"{source}-{n}"} for n in range(number)]
    )


async def test_ten_accounts_of_two_regions_never_mix(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    names = [f"{source}_{number}" for number in range(10)]
    signers = {name: Signer.generate() for name in names}
    async with FakeSendGrid() as us, FakeSendGrid() as eu:
        regions = {name: eu if number % 2 else us for number, name in enumerate(names)}
        us.add_list("us")
        eu.add_list("eu")
        sources = [
            {
                "name": name,
                "public_keys": [signers[name].public_key],
                "api_key": regions[name].keys.add(),
                "api_url": regions[name].url,
            }
            for name in names
        ]
        environment = {**_ENVIRONMENT, "GRIDSTREAM_SOURCES": json.dumps(sources)}
        async with running(servers, data, names[0], tmp_path, environment=environment) as pipeline:
            for name, neighbour in zip(names, [*names[1:], names[0]], strict=True):
                body = opened(name)
                signed = signers[name].headers("1790000000", body)
                assert await pipeline.post(body, to=name, **signed) == 200
                assert await pipeline.post(body, to=neighbour, **signed) == 401
                assert await pipeline.post(body, to=name) == 401
            code, output, errors = await pipeline.command("sync", "lists")
            assert code == 0, output + errors
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not (status := await pipeline.status()).balanced or any(
                    account.rows != 1 or account.in_flight for account in status.sources.values()
                ):
                    await asyncio.sleep(0.1)
            for name in names:
                assert await pipeline.rows("_open", "email", of=name) == [{"email": f"0@{name}.example.com"}]
                region = "eu" if regions[name] is eu else "us"
                assert await pipeline.rows("lists", "name", of=name) == [{"name": region}]


async def test_a_flood_holds_up_no_other_source(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    """What others took in behind it is in their tables while the flood still waits in Kafka."""
    calm = [f"{source}_calm_{number}" for number in range(3)]
    flood = f"{source}_flood"
    sources = [{"name": name} for name in (flood, *calm)]
    await ensure_topics(servers.model_copy(update={"sources": Settings(sources=sources).sources}))
    async with Producer(servers.kafka.cluster) as producer:
        for number in range(150):
            await producer.publish(topics.raw(flood), Record(None, opened(f"{flood}{number}", 1000)))
        for name in calm:
            await producer.publish(topics.raw(name), Record(None, opened(name)))
    environment = {"GRIDSTREAM_WORKER__HELD_BYTES": str(4 << 20), "GRIDSTREAM_SOURCES": json.dumps(sources)}
    async with running(servers, data, flood, tmp_path, environment=environment) as pipeline:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while any([not await pipeline.rows("_open", "email", of=name) for name in calm]):
                await asyncio.sleep(0.05)
        waiting = (await pipeline.status()).sources[flood].in_flight

        assert waiting > 0
        account = await pipeline.settled()
        assert account.rows == 150_000
        assert account.balanced
