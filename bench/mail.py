"""Many calls of Segment's clients: mails, how fast and at which cost; and what is accepted beside the webhook stream.

`python -m bench.mail` starts Kafka, the engine, an ingress, workers, and SendGrid as a fake in a process of its own
that answers at once, or after `--answer-seconds`: what is measured is gridstream's part. First the mails of track calls
that are in Kafka already, as fast as they go. Then, for some seconds and beside each other, identifies and tracks at a
given rate as batches of Segment's clients, and events at a given rate as SendGrid's webhook.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
from rich.console import Console

from bench.processes import peak_mb
from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.segment import Call
from tests.pipeline import Pipeline, running
from tests.servers import embedded_servers

_SOURCE = "bench"
_WRITE_KEY = "bench"
_EVENT = "Order Shipped"
_BATCH = 100
"""Calls of one request, as Segment's Python client sends them."""
_LOOK_SECONDS = 0.5


def order(number: int) -> dict[str, Any]:
    """The properties of one call, of the size that order events have."""
    lines = [{"sku": f"sku-{each}", "name": "A fine thing", "quantity": 2, "price": 19.99} for each in range(5)]
    return {"email": f"person-{number}@example.com", "name": f"Person {number}", "order": number, "lines": lines}


def record(number: int) -> Record:
    """A track call that is in Kafka."""
    at = int(time.time() * 1000)
    call = Call("track", f"bench-{number}", f"u{number}", "", _EVENT, at, at, {}, order(number), {})
    return Record(call.key, call.record(), NO_HEADERS)


def identify(number: int) -> dict[str, Any]:
    """An identify as a client sends it."""
    traits = {"email": f"person-{number}@example.com", "first_name": f"First {number}", "plan": "pro", "city": "London"}
    return {"type": "identify", "userId": f"u{number}", "messageId": f"identify-{number}", "traits": traits}


def track(number: int) -> dict[str, Any]:
    """A track as a client sends it."""
    about = {"event": _EVENT, "properties": order(number)}
    return {"type": "track", "userId": f"u{number}", "messageId": f"track-{number}"} | about


@dataclass(slots=True)
class Accepted:
    """Calls that were offered at a rate.

    Attributes:
        calls: that were answered with 200.
        seconds: that each of these answers took.
    """

    calls: int = 0
    seconds: list[float] = field(default_factory=list)

    def line(self, duration: float) -> str:
        """For people."""
        p99 = statistics.quantiles(self.seconds, n=100)[98]
        return f"{self.calls / duration:,.0f}/s, p99 {p99 * 1000:,.0f} ms"


async def offer(
    session: aiohttp.ClientSession, url: str, call: Callable[[int], Any], rate: int, seconds: int
) -> Accepted:
    """Post batches of calls when they are due, whatever became of those before; return when all are answered."""
    accepted = Accepted()
    numbers = count()

    async def post() -> None:
        body = orjson.dumps({"batch": [call(next(numbers)) for _ in range(_BATCH)]})
        began = time.perf_counter()
        async with session.post(url, data=BytesIO(body)) as answer:
            if answer.status == HTTPStatus.OK:
                accepted.calls += _BATCH
                accepted.seconds.append(time.perf_counter() - began)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as posts:
        for number in range(rate * seconds // _BATCH):
            await asyncio.sleep(max(0.0, start + number * _BATCH / rate - time.perf_counter()))
            posts.create_task(post())
    return accepted


async def measure(arguments: Namespace) -> None:
    """Print what was measured."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fake = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakes.sendgrid", "--answer-seconds", str(arguments.answer_seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert fake.stdout
        account = json.loads(await fake.stdout.readline())
        rule = {
            "event": _EVENT,
            "template_id": account["template"],
            "from": "shop@example.com",
            "to": "$.properties.email",
            "to_name": "$.properties.name",
            "categories": ["orders"],
        }
        async with AsyncExitStack() as stack:
            stack.callback(fake.terminate)
            settings, data, _ = await stack.enter_async_context(embedded_servers(folder / "data"))
            environment = {
                "GRIDSTREAM_MAIL": json.dumps({"rules": [rule]}),
                "GRIDSTREAM_CONTACTS": json.dumps([{"name": _SOURCE, "flush_seconds": 10}]),
                "GRIDSTREAM_SEGMENT": json.dumps({"write_keys": [_WRITE_KEY], "contacts": _SOURCE}),
            }
            of_source = {"api_key": account["key"], "api_url": account["url"]}
            async with running(settings, data, _SOURCE, folder, environment=environment, **of_source) as pipeline:
                console.print(await _mails(pipeline, arguments.mails))
                console.print(await _beside(pipeline, arguments))
        await fake.wait()


async def _mails(pipeline: Pipeline, mails: int) -> str:
    """Mails whose calls wait in Kafka."""
    await pipeline.publish(topics.MAILS, *map(record, range(mails)))
    await pipeline.supervisor.start(pipeline.worker("mail"))
    while not await pipeline.count("mails"):  # noqa: ASYNC110  another process's state
        await asyncio.sleep(_LOOK_SECONDS)
    (worker,) = (each for each in psutil.Process().children() if each.cmdline()[-2:] == ["worker", "mail"])
    before, began, started = await _sent(pipeline), worker.cpu_times(), time.time()
    while (sent := await _sent(pipeline)) < mails:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    seconds, ended, done = time.time() - started, worker.cpu_times(), sent - before
    cpu = ended.user + ended.system - began.user - began.system
    return (
        f"{done:,} mails in {seconds:.1f} s: {done / seconds:,.0f}/s, "
        f"{cpu / done * 1e6:,.0f} µs of the worker's CPU each, peak memory {peak_mb(worker.pid)} MB"
    )


async def _beside(pipeline: Pipeline, arguments: Namespace) -> str:
    """Identifies, tracks and webhook events beside each other."""
    await pipeline.supervisor.start(pipeline.worker("contacts"))
    seconds, before = arguments.seconds, await _sent(pipeline)
    rate = ("--rate", str(arguments.events), "--count", str(arguments.events * seconds))
    feed = asyncio.ensure_future(pipeline.command("simulate", *rate, "--url", pipeline.url))
    headers = {"Authorization": aiohttp.encode_basic_auth(_WRITE_KEY, "")}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        url, started = f"{pipeline.base}/v1/batch", time.perf_counter()
        identifies, tracks = await asyncio.gather(
            offer(session, url, identify, arguments.identifies, seconds),
            offer(session, url, track, arguments.tracks, seconds),
        )
        duration = time.perf_counter() - started
        mails = await _sent(pipeline) - before
    _, report, _ = await feed
    while await _sent(pipeline) - before < tracks.calls:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    behind = time.perf_counter() - started - duration
    return (
        f"beside each other for {duration:.1f} s: identifies accepted {identifies.line(duration)}; "
        f"tracks accepted {tracks.line(duration)}, {mails / duration:,.0f} mails/s of them sent meanwhile, "
        f"the last within {behind:.1f} s more; "
        f"webhook: {report.strip()}"
    )


async def _sent(pipeline: Pipeline) -> int:
    ((sent,),) = (row.values() for row in await pipeline.rows("mails", "countIf(state = 'sent') AS sent"))
    return int(sent)


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.mail", description="Calls that send mails and update contacts.")
    parser.add_argument("--mails", type=int, default=20_000, help="that wait in Kafka at first")
    parser.add_argument("--answer-seconds", type=float, default=0.0, help="that SendGrid takes for an answer")
    parser.add_argument("--seconds", type=int, default=20, help="for which the following come beside each other")
    parser.add_argument("--identifies", type=int, default=2_000, help="a second")
    parser.add_argument("--tracks", type=int, default=500, help="a second, each of which sends a mail")
    parser.add_argument("--events", type=int, default=1_000, help="a second, of the webhook")
    asyncio.run(measure(parser.parse_args()))
