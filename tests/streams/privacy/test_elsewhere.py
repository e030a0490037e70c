"""SendGrid, Amplitude, and the roles that could bring somebody back from there."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.cohorts import Cohort
from tests.fakes.sendgrid import FakeSendGrid
from tests.pipeline import Pipeline, running
from tests.streams.privacy.test_forgetting import post

_PATIENCE_SECONDS = 60


async def send(pipeline: Pipeline, bodies: list[dict[str, Any]]) -> None:
    """Post what Amplitude's cohort webhook does."""
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            async with session.post(f"{pipeline.base}/amplitude/cohorts", json=body) as answer:
                assert answer.status == 200


async def until_on_list(fake: FakeSendGrid, name: str, people: set[str]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while people not in [fake.members(each.id) for each in fake.lists.values() if each.name == name]:
            await asyncio.sleep(0.1)


async def test_whoever_is_forgotten_is_deleted_elsewhere_and_comes_back_from_nowhere(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    ada, bob = f"ada.{source}@example.com", f"bob.{source}@example.com"
    async with FakeSendGrid() as fake, FakeAmplitude() as amplitude:
        amplitude.events = [{"user_id": f"id-{source}"}]
        keys = {"api_key": amplitude.api_key, "secret_key": amplitude.secret_key, "url": amplitude.url}
        environment = {
            "GRIDSTREAM_AMPLITUDE": json.dumps([keys]),
            "GRIDSTREAM_CONTACTS": json.dumps([{"name": source, "flush_seconds": 0.2}]),
        }
        of_source: Any = {"api_key": fake.key, "api_url": fake.url}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            await pipeline.supervisor.start(pipeline.worker("contacts"))
            cohort = Cohort("Power users", f"pu{source}")
            await send(pipeline, cohort.run({"a": {"email": ada}, "b": {"email": bob}}, 1_790_000_000))
            await until_on_list(fake, "Power users", {ada, bob})
            event = {"event": "open", "email": ada, "amp_user_id": f"id-{source}", "sg_event_id": "1"}
            await post(pipeline, json.dumps([event]).encode())
            await pipeline.settled()
            assert (await pipeline.command("sync", "recipients"))[0] == 0
            assert {row["email"] for row in await pipeline.rows("recipients")} == {ada, bob}

            code, output, errors = await pipeline.command("forget", ada, "--sendgrid", "--amplitude", "--json")
            assert code == 0, errors
            report = json.loads(output)

            assert report["sendgrid"] == {source: 1}
            assert report["amplitude"] == {source: "2026-12-01"}
            assert amplitude.deletions == [[f"id-{source}"]]
            assert {each.email for each in fake.contacts.values()} == {bob}
            assert report["sources"][source]["rows"].keys() >= {"recipients_rows", "cohort_states_rows", "open_rows"}

            fake.add_contact(ada)
            assert (await pipeline.command("sync", "recipients"))[0] == 0
            again = Cohort("Others", f"o{source}")
            await send(pipeline, again.run({"a": {"email": ada}, "b": {"email": bob}}, 1_790_000_100))
            await until_on_list(fake, "Others", {bob})
            for table in ("recipients", "cohort_changes", "cohort_states"):
                assert {row["email"] for row in await pipeline.rows(table)} == {bob}, table
