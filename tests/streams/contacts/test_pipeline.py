"""The whole way: a cohort webhook on the ingress becomes a list, through the real Kafka and the real engine."""

import asyncio
import json
from pathlib import Path

import aiohttp

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.cohorts import cohort_batch
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.fakes.cohorts import Body, Cohort, CohortSender
from tests.fakes.sendgrid import FakeSendGrid
from tests.pipeline import Pipeline, running

_PATIENCE_SECONDS = 60


async def test_a_cohort_becomes_a_list(servers: Settings, data: DataFolder, source: str, tmp_path: Path) -> None:
    async with FakeSendGrid() as fake:
        environment = {"GRIDSTREAM_CONTACTS": json.dumps([{"name": source, "flush_seconds": 0.2, "secret": "s3cret"}])}
        of_source = {"api_key": fake.key, "api_url": fake.url}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            await pipeline.supervisor.start(pipeline.worker("contacts"))
            cohort = Cohort("Power users", "pu1")
            everybody = {f"u{number}": {"email": f"p{number}@example.com"} for number in range(500)}
            await send(pipeline, cohort.run(everybody, 1_790_000_000))
            await until(fake, {f"p{number}@example.com" for number in range(500)})

            staying = dict(list(everybody.items())[:300])
            await send(pipeline, cohort.run(staying, 1_790_000_060))
            await until(fake, {f"p{number}@example.com" for number in range(300)})

            async with asyncio.timeout(_PATIENCE_SECONDS):
                while "complete" not in (await pipeline.command("cohorts", "list"))[1]:
                    pass
            code, output, _ = await pipeline.command("cohorts", "show", "Power users")
            assert (code, "300" in output, "200" in output) == (0, True, True)
            code, output, _ = await pipeline.command("doctor")
            assert f"contacts {source}: its API key works" in output
            code, _, errors = await pipeline.command("cohorts", "show", "Nobody")
            assert (code, "there is no cohort Nobody" in errors) == (1, True)


async def test_what_is_for_no_account_is_put_aside_until_there_is_one(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    late = f"{source}late"
    body = json.dumps(Cohort("VIP", "v1").run({"u1": {"email": "ada@example.com"}}, 1_790_000_000)[0]).encode()
    batch = cohort_batch(body, late, 1_790_000_000_000)
    async with FakeSendGrid() as fake:
        of_source = {"api_key": fake.key, "api_url": fake.url}
        entries = [{"name": source, "flush_seconds": 0.2}]
        environment = {"GRIDSTREAM_CONTACTS": json.dumps(entries)}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            await pipeline.supervisor.start(pipeline.worker("contacts"))
            await pipeline.publish(topics.COHORTS, Record(batch.key, batch.line(), NO_HEADERS))
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not (letters := await pipeline.rows("dead_letters", "step, reason")):
                    await asyncio.sleep(0.1)
        assert letters == [{"step": "contacts", "reason": letters[0]["reason"]}]
        assert f"no [[contacts]] entry {late}" in letters[0]["reason"]

        environment = {"GRIDSTREAM_CONTACTS": json.dumps([*entries, {"name": late, "flush_seconds": 0.2}])}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            await pipeline.supervisor.start(pipeline.worker("contacts"))
            code, output, errors = await pipeline.command("dead-letters", "replay")
            assert (code, "1 succeeded" in output) == (0, True), errors
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while fake.members("VIP") != {"ada@example.com"}:
                    await asyncio.sleep(0.1)


async def send(pipeline: Pipeline, bodies: list[Body]) -> None:
    async with aiohttp.ClientSession() as session:
        sender = CohortSender(session, f"{pipeline.base}/amplitude/cohorts/{pipeline.source}", "s3cret")
        assert not await sender.send(bodies), "some were not accepted"


async def until(fake: FakeSendGrid, people: set[str]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while fake.members("Power users") != people:
            await asyncio.sleep(0.1)
