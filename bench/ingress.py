"""How many POSTs an ingress takes, signed and unsigned.

`python -m bench.ingress` needs wrk, which sends them from the same machine.
"""

import asyncio
import shutil
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import orjson
from rich.console import Console

from bench.stage import Run, Stage, stage
from bench.workload import feed
from connectors.errors import Fatal
from connectors.event_webhook import Signer
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_BODIES = 200
"""That an ingress takes over and over: it looks at each by itself."""
_MOST = 4_000
"""POSTs a second, of which the tables see no two alike."""
_EVENTS = 20
_CONNECTIONS = 128
_SCRIPT = """
local posts = io.open("{file}", "rb")
request = function()
  local line = posts:read("*l")
  if not line then
    posts:seek("set")
    line = posts:read("*l")
  end
  local headers, length = {{}}, nil
  for name, value in line:gmatch("(%S-)=(%S+)") do headers[name] = value end
  length = tonumber(headers["Content-Length"])
  return wrk.format("POST", "{path}", headers, posts:read(length))
end
"""
"""What wrk sends: the posts of a file one after the other, each a line of its headers and then its body."""


def written(folder: Path, path: str, signer: Signer | None, posts: int) -> Path:
    """A script for wrk, and beside it the bodies of twenty events that it sends, each with its signature."""
    file = folder / "posts"
    with file.open("wb") as out:
        for body in feed(posts * _EVENTS, _EVENTS):
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            headers |= signer.headers("1790000000", body) if signer else {}
            out.write(" ".join(f"{name}={value}" for name, value in headers.items()).encode() + b"\n" + body)
    script = folder / "posts.lua"
    script.write_text(_SCRIPT.format(file=file, path=path))
    return script


class Load:
    """wrk, and what it posts to one source's ingress."""

    def __init__(
        self, stage: Stage, source: str, folder: Path, signer: Signer | None, posts: int, processes: int = 1
    ) -> None:
        wrk = shutil.which("wrk")
        if not wrk:
            raise SystemExit("bench.ingress needs wrk: apt-get install wrk")
        self._script = written(folder, f"/sendgrid/{source}", signer, posts)
        self._wrk = wrk
        sources = [{"name": source, "public_keys": [signer.public_key] if signer else []}]
        variables = {
            "GRIDSTREAM_SOURCES": orjson.dumps(sources).decode(),
            "GRIDSTREAM_INGRESS__PROCESSES": str(processes),
        }
        self._base, self.ingress = stage.ingress(source, variables)

    async def run(self, seconds: int) -> str:
        """Post for so many seconds. Returns how long answers took."""
        process = await asyncio.create_subprocess_exec(
            *(self._wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-s", str(self._script), "--latency", self._base),
            stdout=asyncio.subprocess.PIPE,
        )
        output = (await process.communicate())[0].decode()
        if "Non-2xx" in output or "Socket errors" in output:
            raise SystemExit(f"not all POSTs were taken:\n{output}")
        return " ".join(output.partition("Latency Distribution")[2].split()[:8])


async def ingress_alone(stage: Stage, source: str, seconds: int, signer: Signer | None, processes: int = 1) -> str:
    """POSTs for some seconds, to processes that share a port: how many were taken, and what that cost."""
    async with stage.source(source):
        with tempfile.TemporaryDirectory() as name:
            load = Load(stage, source, Path(name), signer, _BODIES, processes)
            async with stage.running(load.ingress):
                before = stage.costs()
                latency = await load.run(seconds)
                used = stage.costs()
        posts = await stage.taken(source)
    costs = {each: used[each].seconds - before[each].seconds for each in ("ingress", "Apache Kafka")}
    shares = ", ".join(f"{each} {cost / posts * 1e6:.0f} µs" for each, cost in costs.items())
    rate = posts / seconds
    return f"{rate:,.0f} POSTs/s, {rate * _EVENTS:,.0f} events/s, CPU a POST: {shares}; {latency}"


async def to_tables(stage: Stage, source: str, seconds: int) -> Run:
    """Signed POSTs for some seconds, until all their events are in the tables.

    Raises:
        Fatal: they are not, or not each of them once.
    """
    async with stage.source(source):
        with tempfile.TemporaryDirectory() as name:
            load = Load(stage, source, Path(name), Signer.generate(), seconds * _MOST)
            programs = load.ingress, stage.worker(source, "normalize"), stage.worker(source, "store")
            async with stage.running(*programs):
                await stage.have_members(group("normalize"), group("store"))
                before = stage.costs()
                began = time.perf_counter()
                await load.run(seconds)
                events = 0
                while (taken := await stage.taken(source) * _EVENTS) > events:
                    events = taken  # POSTs for whose answer wrk did not wait come in after its end
                    run = await stage.through(source, events, before, began)
        distinct = await stage.distinct(source)
        if distinct != events:
            raise Fatal(f"{distinct} distinct rows of {events} events; or more than {_MOST} POSTs a second")
    return run


async def main(seconds: int) -> None:
    """Measure, and print what was measured."""
    async with stage() as servers:
        CONSOLE.print("unsigned ", await ingress_alone(servers, "unsigned", seconds, None))
        CONSOLE.print("signed   ", await ingress_alone(servers, "signed", seconds, Signer.generate()))
        CONSOLE.print("to tables", (await to_tables(servers, "totables", 2 * seconds)).line())


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.ingress", description="How many POSTs an ingress takes.")
    parser.add_argument("--seconds", type=int, default=10)
    asyncio.run(main(parser.parse_args().seconds))
