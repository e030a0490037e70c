"""From the POST to Amplitude and to relays, on real processes and a real Kafka."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any

from connectors.event_webhook import Signer
from connectors.kafka import Admin, Cluster
from schemas import topics
from schemas.events import EVENTS
from streams.datafolder import DataFolder
from streams.groups import group
from streams.settings import Settings
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.consumer import FakeConsumer
from tests.fakes.faults import LOST_ANSWER, Hang, Respond
from tests.pipeline import Pipeline, running
from tests.samples import sample

_PATIENCE_SECONDS = 60


async def eventually(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            answer = is_so()
            if await answer if isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.05)


async def start(pipeline: Pipeline, role: str, *destinations: str) -> None:
    """Start a worker and wait until it reads: a destination begins with what comes from then on."""
    await pipeline.supervisor.start(pipeline.worker(role))
    async with Admin(Cluster(pipeline.servers)) as admin:

        async def reads() -> bool:
            return all([await admin.members(group(role, each)) for each in destinations])

        await eventually(reads)


async def status(pipeline: Pipeline) -> list[Any]:
    """What `gridstream status` says of the destinations."""
    code, output, errors = await pipeline.command("status", "--json")
    assert code == 0, errors
    return list(json.loads(output)["destinations"].values())


async def test_events_reach_amplitude_and_what_it_refuses_can_be_replayed(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with FakeAmplitude() as amplitude:
        entry = {"source": source, "api_key": amplitude.api_key, "url": amplitude.url}
        environment = {"GRIDSTREAM_AMPLITUDE": json.dumps([entry])}
        async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
            await start(pipeline, "forward", source)
            amplitude.poison = {b"d9443c01a7336"}  # in the sample of `delivered`
            away = amplitude.fail("POST", "*", LOST_ANSWER, times=None)
            for event in EVENTS:
                assert await pipeline.post(sample(event.table)) == 200
            await eventually(lambda: away.seen > 0)
            os.kill(pipeline.supervisor.pids["forward"], signal.SIGKILL)
            away.stop()
            await eventually(lambda: len(amplitude.events) == len(EVENTS) - 2)

            sent = {event["event_type"]: event for event in amplitude.events}
            assert set(sent) == {
                f"[Sendgrid] {event.name}"
                for event in EVENTS
                if event.name not in ("delivered", "account_status_change", "unknown")
            } | {"[Sendgrid] inbox_placement"}
            assert {event["user_id"] for event in amplitude.events} == {"user-1815"}

            account = await pipeline.settled()
            assert account.balanced
            (letter,) = await pipeline.rows("dead_letters")
            assert (letter["step"], letter["topic"]) == ("forward", topics.forward(source))
            assert letter["reason"] == "Amplitude answered 403: Forbidden"

            (destination,) = await status(pipeline)
            assert (destination["delayed"], destination["refused"]) == (0, {letter["reason"]: 1})
            assert destination["done"] == len(EVENTS)

            amplitude.poison = set()
            code, output, _ = await pipeline.command("dead-letters", "replay", "--step", "forward")
            assert (code, output) == (0, "1 succeeded, 0 failed again\n")
            assert amplitude.events[-1]["event_type"] == "[Sendgrid] delivered"
            assert await pipeline.settled() == account

            repeats = amplitude.duplicates
            assert (await pipeline.command("replay", "--since", "1h"))[0] == 0
            assert (await pipeline.command("replay", "--since", "1h", "--forward"))[0] == 0
            await eventually(lambda: amplitude.duplicates >= repeats + len(EVENTS) - 1)
            assert amplitude.duplicates == repeats + len(EVENTS) - 1
            assert await pipeline.settled() == account


async def test_relays_get_what_sendgrid_signed_and_hold_up_nobody(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    signer = Signer.generate()
    async with FakeConsumer(signer.public_key) as well, FakeConsumer(signer.public_key) as ill:
        ill.fail("POST", "/*", Hang(), times=4)
        failing = ill.fail("POST", "/*", Respond(500), times=None)
        relays = [
            {"source": source, "name": "well", "url": f"{well.url}/events?a=b"},
            {"source": source, "name": "ill", "url": f"{ill.url}/", "timeout_seconds": 1},
        ]
        environment = {"GRIDSTREAM_RELAYS": json.dumps(relays)}
        async with running(
            servers, data, source, tmp_path, environment=environment, public_keys=[signer.public_key]
        ) as pipeline:
            await start(pipeline, "relay", "well", "ill")
            bodies = [sample(event.table) for event in EVENTS]
            for number, body in enumerate(bodies):
                headers = signer.headers(str(1_790_000_000 + number), body)
                assert await pipeline.post(body, **headers, **{"Content-Type": "application/json;charset=utf-8"}) == 200
            await eventually(lambda: len(well.bodies) == len(bodies))

            assert (await pipeline.settled()).rows == len(bodies)
            assert sorted(well.bodies) == sorted(bodies)
            (call, *_) = well.calls
            assert call.target == "/events?a=b"
            assert call.headers["content-type"] == "application/json;charset=utf-8"
            ill_one = (await status(pipeline))[1]
            assert ill_one["delayed"] > 0
            assert ill_one["oldest_waiting_seconds"] > 0
            failing.stop()
            await eventually(lambda: set(ill.bodies) == set(bodies))
