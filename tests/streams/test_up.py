"""`gridstream up` as its users meet it: one process tree, its ports, its signals, its data."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest

from streams import embedded, programs

_START_SECONDS = 90


class Up:
    """A running `gridstream up` on ports and a folder of its own."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        self.ports = ports
        self.environment = {
            **os.environ,
            "GRIDSTREAM_INGRESS__PORT": str(ports["ingress"]),
            "GRIDSTREAM_KAFKA__EMBEDDED_PORT": str(ports["kafka"]),
            "GRIDSTREAM_CLICKHOUSE__EMBEDDED_PORT": str(ports["clickhouse"]),
            "GRIDSTREAM_DASHBOARD__PORT": str(ports["dashboard"]),
        }
        self.output = b""
        self.process: asyncio.subprocess.Process

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "streams.cli", *arguments, "--data", str(self.folder)]

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run another command on the same installation: exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def start(self, *arguments: str) -> None:
        self.output = b""
        self.process = await asyncio.create_subprocess_exec(
            *self.command("up", *arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self.process.stdout
        async with asyncio.timeout(_START_SECONDS):
            while b"Ctrl-C stops it" not in self.output:
                line = await self.process.stdout.readline()
                assert line, self.output.decode()
                self.output += line

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        assert self.process.stdout
        self.output += await asyncio.wait_for(self.process.stdout.read(), 30)
        return await self.process.wait()

    def children(self) -> dict[str, psutil.Process]:
        """The child processes, by what they are."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            line = " ".join(child.cmdline())
            for name in (
                *("kafka.Kafka", "connectors.embedded.engine", "ingress", "normalize", "store", "simulate"),
                "dashboard",
            ):
                if name in line:
                    found[name] = child
        return found

    async def post(self, body: bytes) -> int:
        url = f"http://127.0.0.1:{self.ports['ingress']}/sendgrid"
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
            return response.status

    async def status(self) -> dict[str, Any]:
        code, output, errors = await self.run("status", "--json")
        assert code == 0, errors
        status: dict[str, Any] = json.loads(output)
        return status

    async def settled(self, rows: int) -> dict[str, Any]:
        """The account, once so many rows are there and nothing is in flight."""
        async with asyncio.timeout(60):
            while True:
                code, output, _ = await self.run("status", "--json")  # fails while a server is away
                account: dict[str, Any] = json.loads(output)["sources"]["sendgrid"] if code == 0 else {}
                if account and account["rows"] >= rows and not account["in_flight"]:
                    return account


def free_ports() -> dict[str, int]:
    return {name: embedded.free_port() for name in ("ingress", "kafka", "clickhouse", "dashboard")}


@asynccontextmanager
async def up(folder: Path, *arguments: str) -> AsyncIterator[Up]:
    running = Up(folder, free_ports())
    await running.start(*arguments)
    try:
        yield running
    finally:
        if running.process.returncode is None:
            await running.stop()


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    async with up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def opened(first: int, count: int) -> bytes:
    return orjson.dumps(
        [{"event": "open", "email": "a@example.com", "sg_event_id": f"e{n}"} for n in range(first, first + count)]
    )


async def test_what_is_posted_is_a_row_and_the_status_says_so(shared: Up) -> None:
    assert await shared.post(opened(0, 3)) == 200
    account = await shared.settled(rows=3)

    assert account["accepted"] == account["rows"] == 3
    status = await shared.status()
    assert status["balanced"] is True
    assert status["roles"] == {"normalize": "running", "store": "running"}
    assert status["lag"] == {"gridstream.normalize": 0, "gridstream.store": 0}


async def test_the_live_page_is_there_and_shows_what_came_in(shared: Up) -> None:
    assert f"http://127.0.0.1:{shared.ports['dashboard']}" in shared.output.decode()
    before = (await shared.status())["sources"]["sendgrid"]["rows"]
    assert await shared.post(opened(1_000_000, 3)) == 200
    account = await shared.settled(rows=before + 3)

    page = f"http://127.0.0.1:{shared.ports['dashboard']}"
    async with aiohttp.ClientSession() as session:
        async with session.get(page) as answer:
            assert "gridstream" in await answer.text()
        async with session.get(f"{page}/api/panels/history", params={"find": "a@example.com"}) as answer:
            assert len((await answer.json())["rows"]) == account["rows"]
        async with session.get(f"{page}/metrics") as answer:
            assert answer.status == 200


async def test_sql_prints_a_table(shared: Up) -> None:
    code, output, _ = await shared.run("sql", "SELECT 40 + 2 AS answer")

    assert code == 0
    assert "answer" in output
    assert "42" in output


async def test_sql_says_what_is_wrong(shared: Up) -> None:
    code, _, errors = await shared.run("sql", "SELECT nonsense")

    assert code == 1
    assert "nonsense" in errors
    assert "Traceback" not in errors


async def test_doctor_finds_nothing_wrong(shared: Up) -> None:
    code, output, _ = await shared.run("doctor")

    wrong = [line for line in output.splitlines() if line.startswith("✗")]
    disks = [line for line in wrong if "of it is free" in line]  # of the machine that the test is on
    assert wrong == disks, output
    assert code == bool(disks)


async def test_a_second_one_on_the_same_data_is_refused(shared: Up) -> None:
    code, _, errors = await shared.run("up")

    assert code == 1
    assert errors == f"gridstream: another gridstream is running on {shared.folder}; stop it, or use another --data\n"


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("ingress", "ingress.port"),
        ("kafka", "kafka.embedded_port"),
        ("clickhouse", "clickhouse.embedded_port"),
        ("dashboard", "dashboard.port"),
    ],
)
async def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, server: str, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = Up(tmp_path / "data", free_ports() | {server: taken.getsockname()[1]})
        code, _, errors = await other.run("up")

        assert code == 1
        assert errors.count("\n") == 1
        assert f"port {taken.getsockname()[1]} on 127.0.0.1 cannot be used" in errors
        assert errors.endswith(f"free it or set {key}\n")


async def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    code, _, errors = await Up(tmp_path / "data", free_ports()).run("up")

    assert code == 1
    assert errors.count("\n") == 1
    assert errors.startswith("gridstream: the data folder cannot be used")


async def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[ingress]\nprot = 1\n")
    code, _, errors = await Up(tmp_path / "data", free_ports()).run("up", "--config", str(tmp_path / "broken.toml"))

    assert (code, errors) == (1, "gridstream: ingress.prot: no such setting; the nearest is port\n")


async def test_only_the_ports_that_were_asked_for_are_open_and_only_to_this_machine(shared: Up) -> None:
    listening = {
        (name, connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for name, child in shared.children().items()
        for connection in child.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }

    assert {ip for _, ip, _ in listening} == {"127.0.0.1"}
    by_name: dict[str, list[int]] = {}
    for name, _, port in listening:
        by_name.setdefault(name, []).append(port)
    assert by_name["ingress"] == [shared.ports["ingress"]]
    assert by_name["dashboard"] == [shared.ports["dashboard"]]
    assert by_name["connectors.embedded.engine"] == [shared.ports["clickhouse"]]
    assert shared.ports["kafka"] in by_name["kafka.Kafka"]
    assert len(by_name["kafka.Kafka"]) == 2  # and its controller
    assert len(by_name["normalize"]) == len(by_name["store"]) == 1  # their metrics, of each process


@pytest.mark.parametrize(
    ("cores", "partitions", "normalizers"), [(1, 4, 1), (2, 4, 1), (4, 4, 2), (64, 4, 4), (64, 1, 1)]
)
def test_a_machine_has_as_many_normalizers_as_it_is_large(
    monkeypatch: pytest.MonkeyPatch, cores: int, partitions: int, normalizers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))

    normalizing = programs.workers("normalize", ["--data", "d"], partitions)

    assert len({program.name for program in normalizing}) == len(normalizing) == normalizers
    assert len(programs.workers("store", [], partitions)) == 1


@pytest.mark.parametrize(
    "victim", ["ingress", "normalize", "store", "dashboard", "connectors.embedded.engine", "kafka.Kafka"]
)
async def test_a_child_that_is_killed_comes_back_and_nothing_is_missing(shared: Up, victim: str) -> None:
    before = (await shared.status())["sources"]["sendgrid"]["rows"]
    child = shared.children()[victim]
    accepted = 0
    attempts = 0
    child.kill()
    async with asyncio.timeout(90):
        while accepted < 20:
            try:
                accepted += await shared.post(opened(100_000 + before + accepted * 10, 10)) == 200
            except aiohttp.ClientError:  # the ingress itself is away: SendGrid would come again
                await asyncio.sleep(0.1)
            attempts += 1
        while victim not in shared.children():
            await asyncio.sleep(0.1)
    account = await shared.settled(rows=before + 200)

    assert account["rows"] == before + 200
    assert (await shared.status())["balanced"] is True


async def test_ctrl_c_ends_it_with_nothing_left_and_the_next_start_has_the_data(tmp_path: Path) -> None:
    running = Up(tmp_path / "data with a space", free_ports())
    await running.start()
    assert await running.post(opened(0, 5)) == 200
    await running.settled(rows=5)
    children = list(running.children().values())
    code = await running.stop()

    assert code == 0
    assert not any(child.is_running() for child in children)
    assert b"Traceback" not in running.output

    await running.start()
    assert (await running.settled(rows=5))["accepted"] == 5
    children = list(running.children().values())
    running.process.kill()
    await running.process.wait()
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)

    await running.start()
    assert await running.post(opened(5, 5)) == 200
    assert (await running.settled(rows=10))["accepted"] == 10
    assert await running.stop(signal.SIGTERM) == 0


async def test_a_copy_of_the_data_folder_is_a_backup(tmp_path: Path) -> None:
    async with up(tmp_path / "data") as running:
        assert await running.post(opened(0, 5)) == 200
        await running.settled(rows=5)
    archive, elsewhere = tmp_path / "gridstream-backup.tar.gz", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments in (  # as docs/operations.md has it
        ("--create", "--gzip", "--file", archive, "--directory", tmp_path, "data"),
        ("--extract", "--gzip", "--file", archive, "--directory", elsewhere),
    ):
        process = await asyncio.create_subprocess_exec("tar", *arguments)
        assert await process.wait() == 0

    async with up(elsewhere / "data") as restored:
        assert await restored.post(opened(5, 5)) == 200
        account = await restored.settled(rows=10)
        status = await restored.status()

    assert account["accepted"] == account["rows"] == 10
    assert status["balanced"] is True
