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
from connectors.event_webhook import Signer
from streams.groups import group

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_BODIES = 200
_EVENTS = 20
_CONNECTIONS = 32
_SCRIPT = """
local requests = {{}}
local number = 0
init = function()  -- before it, wrk does not know the host
{requests}
end
request = function()
  number = number % #requests + 1
  return requests[number]
end
"""


def script(folder: Path, path: str, signer: Signer | None) -> Path:
    """What wrk sends: bodies of twenty events, each with its signature."""
    lines = []
    for number, body in enumerate(feed(_BODIES * _EVENTS, _EVENTS)):
        file = folder / f"{number}.body"
        file.write_bytes(body)
        headers = {"Content-Type": "application/json"} | (signer.headers("1790000000", body) if signer else {})
        written = ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())
        lines.append(
            f'requests[#requests + 1] = wrk.format("POST", "{path}", {{{written}}}, io.open("{file}", "rb"):read("*a"))'
        )
    found = folder / "posts.lua"
    found.write_text(_SCRIPT.format(requests="\n".join(lines)))
    return found


class Load:
    """wrk, and what it posts to one source's ingress."""

    def __init__(self, stage: Stage, source: str, folder: Path, signer: Signer | None, processes: int = 1) -> None:
        wrk = shutil.which("wrk")
        if not wrk:
            raise SystemExit("bench.ingress needs wrk: apt-get install wrk")
        self._script = script(folder, f"/sendgrid/{source}", signer)
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
            load = Load(stage, source, Path(name), signer, processes)
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
    """Signed POSTs for some seconds, until all their events are in the tables."""
    async with stage.source(source):
        with tempfile.TemporaryDirectory() as name:
            load = Load(stage, source, Path(name), Signer.generate())
            programs = load.ingress, stage.worker(source, "normalize"), stage.worker(source, "store")
            async with stage.running(*programs):
                await stage.have_members(group("normalize"), group("store"))
                before = stage.costs()
                began = time.perf_counter()
                await load.run(seconds)
                events = await stage.taken(source) * _EVENTS
                while await stage.rows(source) < events:  # noqa: ASYNC110  other processes
                    await asyncio.sleep(0.2)
                return stage.run_since(before, events, time.perf_counter() - began)


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
