"""How many POSTs an ingress takes, signed and unsigned.

`python -m bench.ingress` needs wrk, which sends them from the same machine.
"""

import asyncio
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import orjson
from rich.console import Console

from bench.stage import Stage, stage
from bench.workload import feed
from connectors.event_webhook import Signer
from connectors.kafka import Admin
from schemas import topics
from streams import embedded
from streams.supervisor import Program

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


async def measured(stage: Stage, source: str, seconds: int, signer: Signer | None) -> str:
    """POSTs for some seconds: how many were taken, and what that cost."""
    wrk = shutil.which("wrk")
    if not wrk:
        raise SystemExit("bench.ingress needs wrk: apt-get install wrk")
    port = embedded.free_port()
    base = f"http://127.0.0.1:{port}"

    async def is_ready() -> bool:
        return await embedded.answers(f"{base}/ready")

    async with stage.source(source):
        keys = [signer.public_key] if signer else []
        environment = stage.environment(source) | {
            "GRIDSTREAM_INGRESS__PORT": str(port),
            "GRIDSTREAM_SOURCES": orjson.dumps([{"name": source, "public_keys": keys}]).decode(),
        }
        command = [sys.executable, "-m", "streams.cli", "ingress"]
        program = Program("ingress", command, is_ready, environment, stage.folder / "ingress.log")
        with tempfile.TemporaryDirectory() as name:
            file = script(Path(name), f"/sendgrid/{source}", signer)
            async with stage.running(program):
                before = stage.costs()
                load = await asyncio.create_subprocess_exec(
                    *(wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-s", str(file), "--latency", base),
                    stdout=asyncio.subprocess.PIPE,
                )
                output, _ = await load.communicate()
                used = stage.costs()
        async with Admin(stage.servers) as admin:
            offsets = await admin.offsets([topics.raw(source)])
        taken = sum(following for _, following in offsets.values())
    if not taken or "Non-2xx" in output.decode():
        raise SystemExit(f"not all POSTs were taken:\n{output.decode()}")
    costs = {each: used[each].seconds - before[each].seconds for each in ("ingress", "Apache Kafka")}
    shares = ", ".join(f"{each} {cost / taken * 1e6:.0f} µs" for each, cost in costs.items())
    latency = " ".join(output.decode().partition("Latency Distribution")[2].split()[:8])
    rate = taken / seconds
    return f"{rate:,.0f} POSTs/s, {rate * _EVENTS:,.0f} events/s, CPU a POST: {shares}; {latency}"


async def main(seconds: int) -> None:
    """Measure, and print what was measured."""
    async with stage() as servers:
        CONSOLE.print("unsigned", await measured(servers, "unsigned", seconds, None))
        CONSOLE.print("signed  ", await measured(servers, "signed", seconds, Signer.generate()))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.ingress", description="How many POSTs an ingress takes.")
    parser.add_argument("--seconds", type=int, default=10)
    asyncio.run(main(parser.parse_args().seconds))
