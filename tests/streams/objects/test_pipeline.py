"""The command and the role as real processes, on the real Kafka and the real engine."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.server import Call
from tests.pipeline import GRIDSTREAM, Pipeline, running

_PATIENCE_SECONDS = 60


async def test_killed_in_the_middle_readers_keep_the_last_state(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with FakeSendGrid() as fake:
        # A key as people paste it.
        of_source: Any = {"api_key": f" {fake.key}\n", "api_url": fake.url}
        async with running(servers, data, source, tmp_path, **of_source) as pipeline:
            vip = fake.add_list("VIP")
            people = [fake.add_contact(f"{number}@example.com", lists=[vip.id]) for number in range(3000)]
            code, output, _ = await pipeline.command("sync")
            assert code == 0, output
            assert any(
                line.split()[:6] == [source, "recipients", "3,000", "3,000", "0", "0"] for line in output.splitlines()
            )
            assert await state(pipeline) == [("VIP", 3000)]

            vip.name = "very VIP"
            fake._book.delete([each.id for each in people[:1000]])
            for number in range(1000):
                fake.add_list(f"List {number}")
            await killed(pipeline, fake, in_second_page)
            assert await state(pipeline) == [("VIP", 3000)]
            await killed(pipeline, fake, in_file, "recipients")
            assert await state(pipeline) == [("VIP", 3000)]

            for each in list(fake.lists.values()):
                if each.name.startswith("List"):
                    del fake._lists.all[each.id]
            fake.fail("GET", "/v3/templates", 403)
            chosen = ("lists", "templates", "recipients", "--source", source)
            code, output, errors = await pipeline.command("sync", *chosen)
            assert (code, "SendGrid forbids this" in output) == (1, True)
            assert await state(pipeline) == [("very VIP", 2000)]
            assert "recipients" in errors, "progress"
            assert {row["finished"] for row in await pipeline.rows("syncs", "toYear(finished) = 1970 AS finished")} == {
                0,
                1,
            }


async def test_one_worker_syncs_and_another_takes_over(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with FakeSendGrid() as fake:
        environment = {"GRIDSTREAM_OBJECTS__EVERY_SECONDS": "0.5"}
        of_source: Any = {"api_key": fake.key, "api_url": fake.url}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            vip = fake.add_list("VIP")
            workers = [pipeline.worker("objects"), pipeline.worker("objects")]
            await pipeline.supervisor.start(*workers)
            await until_named(pipeline, "VIP")

            for number, process in enumerate(objects_workers()):
                process.kill()
                vip.name = f"VIP {number}"
                await until_named(pipeline, vip.name)
            assert await pipeline.rows("syncs", "countIf(error != '') AS failed") == [{"failed": 0}]


def objects_workers() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [each for each in found if each.cmdline()[-2:] == ["worker", "objects"]]


async def until_named(pipeline: Pipeline, name: str) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while await pipeline.rows("lists", "name") != [{"name": name}]:
            await asyncio.sleep(0.1)


async def state(pipeline: Pipeline) -> list[tuple[str, int]]:
    """The lists that a reader sees, and how many recipients are on them."""
    lists = await pipeline.rows("lists", "name, is_deleted")
    ((people,),) = (row.values() for row in await pipeline.rows("recipients", "countIf(NOT is_deleted) AS recipients"))
    return [(row["name"], people) for row in lists if not row["is_deleted"]]


async def killed(
    pipeline: Pipeline, fake: FakeSendGrid, where: Callable[[FakeSendGrid, Call, int], None], *objects: str
) -> None:
    """Run `gridstream sync` until it is killed."""
    process = await asyncio.create_subprocess_exec(
        *(*GRIDSTREAM, "sync", *objects),
        env={**os.environ, **pipeline._environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    fake.on_call = lambda call: where(fake, call, process.pid)
    assert await asyncio.wait_for(process.wait(), _PATIENCE_SECONDS) == -signal.SIGKILL
    fake.on_call = None


def in_second_page(_: FakeSendGrid, call: Call, pid: int) -> None:
    if call.path == "/v3/marketing/lists" and "page_token" in call.query:
        os.kill(pid, signal.SIGKILL)


def in_file(fake: FakeSendGrid, call: Call, pid: int) -> None:
    if not call.path.startswith("/storage/"):
        return
    name = call.path.removeprefix("/storage/")
    file = fake.files.all[name]

    def content() -> Iterator[bytes]:
        chunks = iter(file.content())
        yield next(chunks)
        os.kill(pid, signal.SIGKILL)
        yield from chunks

    fake.files.all[name] = replace(file, content=content)
