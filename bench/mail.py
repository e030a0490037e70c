"""Many track calls that send mails: how fast, at which cost, how much memory.

`python -m bench.mail` starts Kafka, the engine, a worker, and SendGrid as a fake in a process of its own that answers
at once, or after `--answer-seconds`: what is measured is gridstream's part.
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

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.segment import Call
from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor
from tests.pipeline import running

_SOURCE = "bench"
_LOOK_SECONDS = 0.5


def record(number: int) -> Record:
    """One call, of the size that order events have."""
    at = int(time.time() * 1000)
    lines = [{"sku": f"sku-{each}", "name": "A fine thing", "quantity": 2, "price": 19.99} for each in range(5)]
    about = {"email": f"person-{number}@example.com", "name": f"Person {number}", "order": number, "lines": lines}
    call = Call("track", f"bench-{number}", f"u{number}", "", "Order Shipped", at, at, {}, about, {})
    return Record(call.key, call.record(), NO_HEADERS)


async def measure(mails: int, answer_seconds: float) -> None:
    """Print what was measured."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = DataFolder(folder / "data")
        data.prepare()
        settings = Settings(
            kafka={"embedded_port": embedded.free_port()}, clickhouse={"embedded_port": embedded.free_port()}
        )
        fake = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakes.sendgrid", "--answer-seconds", str(answer_seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert fake.stdout
        account = json.loads(await fake.stdout.readline())
        rule = {
            "event": "Order Shipped",
            "template_id": account["template"],
            "from": "shop@example.com",
            "to": "$.properties.email",
            "to_name": "$.properties.name",
            "categories": ["orders"],
        }
        async with AsyncExitStack() as stack:
            stack.callback(fake.terminate)
            supervisor = await stack.enter_async_context(Supervisor())
            await supervisor.start(await embedded.kafka(settings, data), embedded.engine(settings, data))
            environment = {"GRIDSTREAM_MAIL": json.dumps({"rules": [rule]})}
            of_source = {"api_key": account["key"], "api_url": account["url"]}
            async with running(settings, data, _SOURCE, folder, environment=environment, **of_source) as pipeline:
                await pipeline.publish(topics.MAILS, *map(record, range(mails)))
                await pipeline.supervisor.start(pipeline.worker("mail"))
                while not await pipeline.count("mails"):  # noqa: ASYNC110  another process's state
                    await asyncio.sleep(_LOOK_SECONDS)
                (worker,) = (each for each in psutil.process_iter() if each.cmdline()[-2:] == ["worker", "mail"])
                before, began, started = _sent(await pipeline.rows("mails", "state")), worker.cpu_times(), time.time()
                while (sent := _sent(await pipeline.rows("mails", "state"))) < mails:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)
                seconds, ended, done = time.time() - started, worker.cpu_times(), sent - before
                cpu = ended.user + ended.system - began.user - began.system

                console.print(
                    f"{done:,} mails in {seconds:.1f} s: {done / seconds:,.0f}/s, "
                    f"{cpu / done * 1e6:,.0f} µs of the worker's CPU each, peak memory {_peak_mb(worker.pid)} MB"
                )
        await fake.wait()


def _sent(rows: list[dict[str, str]]) -> int:
    return sum(row["state"] == "sent" for row in rows)


def _peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.mail", description="Track calls that send mails.")
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--answer-seconds", type=float, default=0.0, help="that SendGrid takes for an answer")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.mails, arguments.answer_seconds))
