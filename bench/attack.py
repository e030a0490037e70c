"""What an attack on an ingress costs those who may post: signed POSTs beside it, and the ingress's memory.

`python -m bench.attack` attacks an ingress on this machine with everything that this machine has, one way after the
other, each for some seconds.
"""

import asyncio
import gzip
import io
import itertools
import os
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import orjson
from rich.console import Console

from bench.processes import cost
from bench.stage import Stage, stage
from bench.workload import feed
from connectors.event_webhook import Signer
from streams.supervisor import Supervisor

CONSOLE = Console(highlight=False, markup=False, soft_wrap=True)
_ATTACKERS = 400
"""Connections of an attack at once; an ingress of its own defaults takes 500 at most."""
_FLOOD = 2000
_PAUSE_SECONDS = 0.05
_EVENTS = 20
_LARGE = 5_000_000

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def _head(path: str, length: int, *more: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: ingress", f"Content-Length: {length}", *more, "", "")
    return "\r\n".join(lines).encode()


_FORGED = ("X-Twilio-Email-Event-Webhook-Signature: MEUCIQ==", "X-Twilio-Email-Event-Webhook-Timestamp: 1")
_BOMB = gzip.compress(b" " * 100_000_000)
_DEEP = b"[" * 400_000


async def _whole(dial: Dial, content: bytes) -> None:
    """A request, and another when it is answered."""
    while True:
        reader, writer = await dial()
        writer.write(content)
        await writer.drain()
        await reader.read(200)
        writer.close()


async def _slowly(dial: Dial, beginning: bytes) -> None:
    """A request that never ends: a byte every second, for as long as the connection lasts."""
    while True:
        _, writer = await dial()
        writer.write(beginning)
        with suppress(OSError):
            while not writer.is_closing():
                await writer.drain()
                await asyncio.sleep(1)
                writer.write(b"x")
        writer.close()


async def _idle(dial: Dial, _: bytes) -> None:
    """A connection on which nothing comes."""
    while True:
        reader, writer = await dial()
        await reader.read()
        writer.close()


_ATTACKS: Mapping[str, tuple[Callable[[Dial, bytes], Awaitable[None]], int, Callable[[str], bytes]]] = {
    "idle connections": (_idle, _FLOOD, lambda _: b""),
    "slow headers": (_slowly, _FLOOD, lambda path: f"POST {path} HTTP/1.1\r\nX: ".encode()),
    "slow bodies": (_slowly, _ATTACKERS, lambda path: _head(path, _LARGE, *_FORGED) + b"[" * 100_000),
    "large bodies, forged": (_whole, _ATTACKERS, lambda path: _head(path, _LARGE, *_FORGED) + b"x" * _LARGE),
    "large bodies, unsigned": (_whole, _ATTACKERS, lambda path: _head(path, _LARGE) + b"x" * _LARGE),
    "small ones, forged": (_whole, _ATTACKERS, lambda path: _head(path, 2, *_FORGED) + b"[]"),
    "gzip bombs": (_whole, _ATTACKERS, lambda _: _head("/v1/batch", len(_BOMB), "Content-Encoding: gzip") + _BOMB),
    "deep JSON": (_whole, _ATTACKERS, lambda _: _head("/v1/batch", len(_DEEP)) + _DEEP),
}


async def attack(kind: str, url: str) -> None:
    """Attack until somebody ends it."""
    way, connections, content = _ATTACKS[kind]
    parts = urlsplit(url)
    written = content(parts.path)

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def stubbornly() -> None:
        while True:
            with suppress(OSError):
                await way(dial, written)
            await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(stubbornly() for _ in range(connections)))


async def sent(url: str, signer: Signer, seconds: float) -> tuple[list[float], int]:
    """Signed POSTs as SendGrid sends them: how long each took until it was taken, and how many tries were not."""
    took: list[float] = []
    failed = 0
    began = time.perf_counter()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for body in itertools.cycle(feed(100 * _EVENTS, _EVENTS)):
            started = time.perf_counter()
            if started > began + seconds:
                return took, failed
            while True:
                headers = signer.headers(str(int(time.time())), body)
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(url, data=io.BytesIO(body), headers=headers) as answer:
                        if answer.ok:
                            break
                failed += 1
            took.append(time.perf_counter() - started)
            await asyncio.sleep(_PAUSE_SECONDS)
    return took, failed


async def measured(stage: Stage, name: str, kind: str, seconds: int) -> str:
    """One attack: a line of the table."""
    signer = Signer.generate()
    sources = [{"name": name, "public_keys": [signer.public_key]}]
    base, ingress = stage.ingress(name, {"GRIDSTREAM_SOURCES": orjson.dumps(sources).decode()})
    url = f"{base}/sendgrid/{name}"
    async with stage.source(name), Supervisor() as supervisor:
        await supervisor.start(ingress)
        await sent(url, signer, 2)
        before = cost(supervisor.pids["ingress"])
        attacker = None
        if kind in _ATTACKS:
            command = (sys.executable, "-m", "bench.attack", "--attack", kind, "--url", url)
            attacker = await asyncio.create_subprocess_exec(*command, env=dict(os.environ))
            await asyncio.sleep(2)
        took, failed = await sent(url, signer, seconds)
        if attacker:
            attacker.kill()
            await attacker.wait()
        after = cost(supervisor.pids["ingress"])
        taken = await stage.taken(name)
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return (
        f"| {kind} | {len(took)} | {failed} | {_ms(cuts[49])} | {_ms(cuts[98])} | {_ms(max(took))} "
        f"| {before.peak_mb} | {after.peak_mb} |{'' if taken >= len(took) else ' LOST'}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"


async def main(seconds: int, kinds: list[str]) -> None:
    """Measure, and print what was measured."""
    CONSOLE.print("| attack | POSTs taken | tries that failed | p50 ms | p99 ms | longest ms | MB before | peak MB |")
    CONSOLE.print("|---|--:|--:|--:|--:|--:|--:|--:|")
    async with stage() as servers:
        for number, kind in enumerate(kinds):
            CONSOLE.print(await measured(servers, f"attack{number}", kind, seconds))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench.attack", description="What an attack costs those who may post.")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", default=["none", *_ATTACKS])
    parser.add_argument("--attack", default="", help="be the attacker")
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    if arguments.attack:
        asyncio.run(attack(arguments.attack, arguments.url))
    else:
        asyncio.run(main(arguments.seconds, arguments.kinds))
