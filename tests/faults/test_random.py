"""Random deaths of random processes under load: what nobody has thought of."""

import asyncio
import os
import signal
import time
from random import Random

import orjson
import psutil
import pytest

from tests.faults.catalogue import fault
from tests.faults.rig import Rig

SECONDS = float(os.environ.get("FAULTS_SECONDS", "15"))
RATE = float(os.environ.get("FAULTS_RATE", "500"))
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
_LONGEST_PAUSE = 5.0
_OUTAGE_EVERY = 10
_LONGEST_OUTAGE = SECONDS / 20


async def strike(rig: Rig, random: Random) -> str:
    """Do something to some process, and say what."""
    victim = random.choice(rig.mortal)
    number = random.choice(_SIGNALS)
    pid = rig.pid(victim)
    os.kill(pid, number)
    if number == signal.SIGSTOP:
        await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))
        os.kill(pid, signal.SIGCONT)
    else:
        await rig.gone(victim, pid)
    return f"{number.name} {victim}"


@pytest.mark.timeout(2 * SECONDS + 600)
@fault("random signals to random processes", seen="posts are answered 503 now and then; rows are seconds late")
async def test_random_kills_of_random_processes_lose_and_repeat_nothing(rig: Rig) -> None:
    random = Random(time.time_ns())
    struck: list[str] = []
    async with rig.load(rate=RATE, sizes=(1, 200), seconds=SECONDS) as load:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))
            if random.randrange(_OUTAGE_EVERY) == 0:
                async with rig.clickhouse.away():
                    await asyncio.sleep(random.uniform(0, _LONGEST_OUTAGE))
                struck.append("outage of ClickHouse")
            else:
                struck.append(await strike(rig, random))
        rig.recovering()
    memory = {name: psutil.Process(rig.pid(name)).memory_info().rss >> 20 for name in rig.mortal}
    code, output, errors = await rig.pipeline.command("status", "--json")
    print(f"{len(load.events):,} distinct events, {len(struck)} strikes ({', '.join(struck)}), MB {memory}")  # noqa: T201

    assert code == 0, errors
    assert orjson.loads(output)["balanced"]
