"""Many membership changes within one cadence: how many uploads, how fast, how much memory.

`python -m bench.contacts` starts Kafka, the engine, a worker, and SendGrid as a fake in a process of its own, whose
jobs take no time: what is measured is gridstream's part.
"""

import asyncio
import json
import sys
import tempfile
import time
from argparse import ArgumentParser
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
from rich.console import Console

from bench.processes import peak_mb
from connectors.kafka import NO_HEADERS, Admin, Record
from schemas import topics
from schemas.cohorts import CohortBatch
from streams.groups import group
from tests.pipeline import running
from tests.servers import embedded_servers

_BATCH = 1000
_SOURCE = "bench"
_LOOK_SECONDS = 0.5


async def measure(changes: int, lists: int, flush_seconds: int) -> None:
    """Print what was measured."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fake = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakes.sendgrid"), stdout=asyncio.subprocess.PIPE
        )
        assert fake.stdout
        account = json.loads(await fake.stdout.readline())
        async with AsyncExitStack() as stack:
            stack.callback(fake.terminate)
            settings, data, _ = await stack.enter_async_context(embedded_servers(folder / "data"))
            environment = {"GRIDSTREAM_CONTACTS": json.dumps([{"name": _SOURCE, "flush_seconds": flush_seconds}])}
            of_source = {"api_key": account["key"], "api_url": account["url"]}
            async with running(settings, data, _SOURCE, folder, environment=environment, **of_source) as pipeline:
                records = (
                    CohortBatch(
                        account=_SOURCE,
                        received_at=int(time.time() * 1000),
                        id=f"c{number % lists}",
                        name=f"Cohort {number % lists}",
                        action="enter",
                        computed_at=int(time.time() * 1000),
                        message_id=f"{number}::enter::0",
                        users=[
                            (f"u{user}", {"email": f"person-{user}@example.com", "first_name": f"First {user}"})
                            for user in range(number * _BATCH, (number + 1) * _BATCH)
                        ],
                    )
                    for number in range(changes // _BATCH)
                )
                await pipeline.publish(
                    topics.COHORTS, *(Record(batch.key, batch.line(), NO_HEADERS) for batch in records)
                )
                started = time.perf_counter()
                await pipeline.supervisor.start(pipeline.worker("contacts"))
                async with Admin(settings.kafka.cluster) as admin:
                    while await _lag(admin):  # noqa: ASYNC110  another process's state
                        await asyncio.sleep(_LOOK_SECONDS)
                gathered = time.perf_counter() - started
                while await pipeline.count("cohort_members") < changes:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)
                finished = time.perf_counter() - started
                (worker,) = (each for each in psutil.process_iter() if each.cmdline()[-2:] == ["worker", "contacts"])

                uploads = await pipeline.rows("contact_syncs", "countIf(requested > 0) AS uploads")
                console.print(
                    f"{changes:,} changes, {lists} lists: gathered in {gathered:.0f} s ({changes / gathered:,.0f}/s), "
                    f"on the lists in {finished:.0f} s ({changes / finished:,.0f}/s), "
                    f"{uploads[0]['uploads']} uploads (at most {-(-changes // 30_000) + lists}), "
                    f"peak memory {peak_mb(worker.pid)} MB"
                )
        await fake.wait()


async def _lag(admin: Admin) -> int:
    offsets = await admin.offsets([topics.COHORTS])
    committed = await admin.committed(group("contacts"))
    return sum(following - committed.get(partition, 0) for partition, (_, following) in offsets.items())


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.contacts", description="Membership changes within one cadence.")
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--lists", type=int, default=3)
    parser.add_argument("--flush-seconds", type=int, default=90, help="the cadence: it has to be longer than gathering")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.changes, arguments.lists, arguments.flush_seconds))
