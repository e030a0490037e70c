"""From the POST to Amplitude, on real processes and a real Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from connectors.kafka import Admin
from streams.datafolder import DataFolder
from streams.groups import group
from streams.settings import Settings
from tests.fakes.amplitude import FakeAmplitude
from tests.pipeline import Pipeline, running
from tests.samples import sample

_PATIENCE_SECONDS = 60


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.05)


async def begun(pipeline: Pipeline, role: str, destination: str) -> None:
    """Wait until a destination's worker reads: it begins with what comes from then on."""
    async with Admin(pipeline.servers) as admin, asyncio.timeout(_PATIENCE_SECONDS):
        while not await admin.members(group(role, destination)):
            await asyncio.sleep(0.05)


@pytest.fixture
async def amplitude() -> AsyncIterator[FakeAmplitude]:
    async with FakeAmplitude() as fake:
        yield fake


@pytest.fixture
async def pipeline(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path, amplitude: FakeAmplitude
) -> AsyncIterator[Pipeline]:
    entry = {"source": source, "api_key": amplitude.api_key, "url": amplitude.url}
    environment = {"GRIDSTREAM_AMPLITUDE": json.dumps([entry])}
    async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
        await pipeline.supervisor.start(pipeline.worker("forward"))
        await begun(pipeline, "forward", source)
        yield pipeline


async def test_an_event_reaches_amplitude(pipeline: Pipeline, amplitude: FakeAmplitude) -> None:
    assert await pipeline.post(sample("click")) == 200
    await eventually(lambda: bool(amplitude.events))

    (event,) = amplitude.events
    assert event["event_type"] == "[Sendgrid] click"
    assert event["user_id"] == "user-1815"
