"""What the world around does: bodies at the limits, a clock that jumps, a disk that is full."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Supervisor
from tests.faults.catalogue import fault
from tests.faults.conftest import Recorder, Servers
from tests.faults.load import Sent
from tests.faults.proxy import FaultProxy
from tests.faults.rig import KAFKA, Rig
from tests.pipeline import running
from tests.servers import embedded_servers

_MONTH = 2_629_800
_DAY = 24 * 3600
_LIMIT = 5_242_880


@fault("a POST whose events span 120 months", seen="nothing")
async def test_a_post_may_span_a_hundred_and_twenty_months(rig: Rig) -> None:
    first = 1_420_070_400  # 2015
    events = [{"event": "open", "sg_event_id": f"m{n}", "timestamp": first + n * _MONTH} for n in range(120)]
    rig.recovering()
    assert await rig.pipeline.post(orjson.dumps(events)) == 200

    await rig.account(Sent({(f"m{n}", first + n * _MONTH) for n in range(120)}))


@fault("a body at the size limit, and one above it", seen="200, and 413 for the one above")
async def test_a_body_may_be_as_large_as_the_limit(rig: Rig) -> None:
    time = 1_790_000_000
    argument = "\U0001f600é\\u0007" * 100
    event = orjson.dumps({"event": "click", "sg_event_id": "b00000", "timestamp": time, "argument": argument})
    number = _LIMIT // (len(event) + 1) - 1
    body = b"[" + b",".join(event.replace(b"b00000", b"b%05d" % n) for n in range(number)) + b"]"
    body += b" " * (_LIMIT - len(body))
    rig.recovering()

    assert await rig.pipeline.post(body) == 200
    assert await rig.pipeline.post(body + b" ") == 413
    await rig.account(Sent({(f"b{n:05}", time) for n in range(number)}))


@fault("the clock jumps a day ahead and two days back", seen="`received_at` is as wrong as the clock")
async def test_a_clock_that_jumps_loses_and_repeats_nothing(
    servers: Settings,
    data: DataFolder,
    source: str,
    mortals: Servers,
    tmp_path: Path,
    record: Recorder,
) -> None:
    clock = tmp_path / "clock"
    launcher = (sys.executable, "-m", "tests.faults.clock", str(clock))
    async with running(servers, data, source, tmp_path, launcher=launcher) as pipeline:
        rig = Rig(pipeline, mortals.supervisor, mortals.proxy, record)
        async with rig.load() as load:
            for jump in (_DAY, -_DAY):
                await load.more(100)
                clock.write_text(str(jump))
            await load.more(100)
            rig.recovering()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a full disk: needs the right to mount one ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no space: the file that takes it."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * (1 << 20)):
                pass
        except OSError:
            pass
    return file


@fault(
    "the disk of the data folder is full",
    seen="posts are answered 503; Kafka ends and is started again until there is space; rows are late",
)
async def test_a_full_disk_is_waited_for(small_disk: Path, tmp_path: Path, record: Recorder) -> None:
    async with (
        embedded_servers(small_disk / "data") as (settings, data, servers),
        FaultProxy(data.clickhouse_url(settings)) as proxy,
        running(settings, data, "full", tmp_path) as pipeline,
    ):
        rig = Rig(pipeline, servers, proxy, record)
        async with rig.load() as load:
            await load.more(100)
            running_broker = rig.pid(KAFKA)
            filler = fill(small_disk)
            await rig.says("ingress", "not accepted", 3)
            await rig.gone(KAFKA, running_broker)
            filler.unlink()
            rig.recovering()
            await load.more(100)


@fault("the disk of ClickHouse alone is full", seen="posts are answered 200; rows are late until there is space")
async def test_inserts_into_a_full_disk_are_repeated(
    small_disk: Path, servers: Settings, mortals: Servers, tmp_path: Path, record: Recorder
) -> None:
    data = DataFolder(small_disk / "data")
    data.prepare()
    engine = Settings(clickhouse={"embedded_port": embedded.free_port()})
    async with Supervisor() as supervisor:
        await supervisor.start(embedded.engine(engine, data))
        url = data.clickhouse_url(engine)
        used = Settings(kafka={"bootstrap_servers": servers.kafka.servers}, clickhouse={"url": url})
        async with running(used, data, "cramped", tmp_path) as pipeline:
            rig = Rig(pipeline, supervisor, mortals.proxy, record)
            async with rig.load() as load:
                await load.more(100)
                filler = fill(small_disk)
                await rig.says("store", "NOT_ENOUGH_SPACE", 3)
                await load.more(100)
                filler.unlink()
                rig.recovering()
