"""A worker that makes no progress, and one that would put everything aside: they end, and say why."""

import asyncio
import sys
from pathlib import Path

import orjson
import psutil

from connectors.kafka import Record
from schemas import topics
from schemas.events import EVENTS
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.faults.catalogue import fault
from tests.faults.conftest import Recorder, Servers
from tests.faults.rig import Rig
from tests.pipeline import running

_CLICK = next(event for event in EVENTS if event.name == "click")


@fault(
    "a worker hangs",
    seen="after worker.stuck_seconds it says what it waits for and ends; its supervisor starts it again",
)
async def test_a_worker_that_is_stuck_says_so_and_ends(
    servers: Settings, data: DataFolder, source: str, mortals: Servers, tmp_path: Path, record: Recorder
) -> None:
    environment = {"GRIDSTREAM_WORKER__STUCK_SECONDS": "3"}
    async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
        rig = Rig(pipeline, mortals.supervisor, mortals.proxy, record)
        stuck = rig.pid("store")
        async with rig.load() as load:
            rig.plan("store", "before-inserting.wait")
            await rig.reached("store", "before-inserting")
            await rig.gone("store", stuck)
            await load.more(100)
    said = pipeline.log("store")
    assert "no progress for" in said
    assert "records waiting" in said
    assert "failpoints" in said  # the line at which the agent waits


async def test_a_worker_whose_event_loop_stands_still_is_ended_from_outside_of_it() -> None:
    script = "import time; from streams.watchdog import LoopWatch; LoopWatch(0.2); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE)
    _, errors = await asyncio.wait_for(process.communicate(), 50)

    assert process.returncode == 1
    assert b"the event loop stands still" in errors


async def test_a_store_that_would_put_a_whole_topic_aside_ends_instead(
    servers: Settings, data: DataFolder, source: str, mortals: Servers, tmp_path: Path, record: Recorder
) -> None:
    async with running(servers, data, source, tmp_path) as pipeline:
        rig = Rig(pipeline, mortals.supervisor, mortals.proxy, record)
        before = rig.pid("store")
        line = orjson.dumps({"event_id": "x", "nobody": "has such a column"})
        async with asyncio.timeout(60):
            await pipeline.publish(topics.events(source, _CLICK), *[Record(None, line)] * 50)
        await rig.gone("store", before)
        assert "too many rows" in pipeline.log("store")
        status = await pipeline.status()
        assert status.sources[source].in_flight
        assert not psutil.pid_exists(before)
