"""Settings that change while everything runs: sources come, change and go, and nothing is lost or refused."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import psutil
import pytest

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from schemas.ddl import identifier
from streams import embedded, ports
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.pipeline import GRIDSTREAM, PRIVACY_KEY

_PATIENCE_SECONDS = 90
_STEP_SECONDS = 0.05


class Town:
    """Processes on the run's servers, and the file of their settings."""

    def __init__(self, servers: Settings, data: DataFolder, clickhouse: ClickHouse, folder: Path) -> None:
        self.clickhouse = clickhouse
        self.config = folder / "gridstream.toml"
        self.data = folder / "data"
        self.base = f"http://127.0.0.1:{embedded.free_port()}"
        self.environment = {
            "GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.servers,
            "GRIDSTREAM_KAFKA__PARTITIONS": "1",
            "GRIDSTREAM_CLICKHOUSE__URL": data.clickhouse_url(servers),
            "GRIDSTREAM_INGRESS__PORT": self.base.rpartition(":")[2],
            "GRIDSTREAM_DASHBOARD__PORT": str(embedded.free_port()),
            "GRIDSTREAM_PRIVACY__KEY": PRIVACY_KEY,
        }
        self.metrics_port = embedded.free_port()
        self.supervisor = Supervisor()
        self._folder = folder
        self._number = 0
        self.sent: dict[str, int] = {}

    def configure(self, *sources: str, more: str = "") -> None:
        self.config.write_text("".join(f'[[sources]]\nname = "{source}"\n' for source in sources) + more)

    def program(self, name: str, *arguments: str, metrics_port: int = 0) -> Program:
        command = [*GRIDSTREAM, *arguments, "--config", str(self.config), "--data", str(self.data)]
        environment = {**self.environment, "GRIDSTREAM_WORKER__METRICS_PORT": str(metrics_port)}
        return Program(name, command, environment=environment, log=self._folder / f"{name}.log")

    def log(self, name: str) -> str:
        file = self._folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def says(self, name: str, text: str, times: int = 1) -> None:
        await until(lambda: self.log(name).count(text) >= times)

    async def reload(self) -> tuple[int, str]:
        """`gridstream reload`: exit code and what it says."""
        return await self.command("reload")

    async def command(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(*GRIDSTREAM, *arguments, "--data", str(self.data)),
            env={**os.environ, **self.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def post(self, source: str) -> int:
        """POST one event on a connection of its own."""
        self._number += 1
        event = {"event": "open", "email": "a@example.com", "sg_event_id": f"e{self._number}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.base}/sendgrid/{source}", data=orjson.dumps([event])) as answer,
        ):
            if answer.status == 200:
                self.sent[source] = self.sent.get(source, 0) + 1
            return answer.status

    @asynccontextmanager
    async def posting(self, source: str) -> AsyncIterator[list[int]]:
        """Posts one after the other meanwhile: the answers."""
        answers: list[int] = []

        async def post() -> None:
            while True:
                answers.append(await self.post(source))
                await asyncio.sleep(_STEP_SECONDS)

        posting = asyncio.ensure_future(post())
        yield answers
        last = len(answers)
        await until(lambda: len(answers) > last or posting.done())
        posting.cancel()
        await asyncio.wait({posting})
        assert posting.cancelled(), posting.exception()

    async def taken(self, source: str) -> None:
        """Wait until a source takes POSTs."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    if await self.post(source) == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(_STEP_SECONDS)

    async def stored(self, source: str) -> None:
        """Wait until everything that a source was sent is there, each event once."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (rows := await self.rows(source)) != self.sent[source]:
                assert rows < self.sent[source]
                await asyncio.sleep(_STEP_SECONDS)

    async def rows(self, source: str) -> int:
        ((rows,),) = (await self.clickhouse.query(f"SELECT count() FROM {identifier(source)}._open")).result_rows
        return int(rows)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(_STEP_SECONDS)


@pytest.fixture
async def town(servers: Settings, data: DataFolder, clickhouse: ClickHouse, tmp_path: Path) -> AsyncIterator[Town]:
    town = Town(servers, data, clickhouse, tmp_path)
    async with town.supervisor:
        yield town


async def test_sources_come_and_go_while_everything_runs(town: Town, source: str) -> None:
    first, added, removed = f"{source}_first", f"{source}_added", f"{source}_removed"
    town.configure(first, removed)
    await town.supervisor.start(town.program("up", "up"))
    await town.says("up", "Ctrl-C stops it")
    pid = town.supervisor.pids["up"]
    before = {child.pid for child in psutil.Process(pid).children(recursive=True)}
    assert await town.post(removed) == 200
    async with town.posting(first) as answers:
        assert await town.post(added) == 404
        town.configure(first, added)
        assert await town.reload() == (0, "reloaded\n")
    assert set(answers) == {200}
    assert await town.post(added) == 200
    assert await town.post(removed) == 404
    for name in (first, added, removed):
        await town.stored(name)
    after = {child.pid for child in psutil.Process(pid).children(recursive=True)}
    assert not before & after
    assert len(after) == len(before)

    town.configure(first, more="[ingress]\nprot = 1\n")
    code, said = await town.reload()
    assert code == 1
    assert "ingress.prot: no such setting; the nearest is port" in said
    assert "everything goes on as it was" in said

    town.configure(first, added, more="[kafka]\nembedded_port = 1\n")
    code, said = await town.reload()
    assert (code, "kafka.embedded_port was changed, which needs a restart" in said) == (1, True)

    town.configure(first, added)
    assert {child.pid for child in psutil.Process(pid).children(recursive=True)} == after
    children = psutil.Process(pid).children(recursive=True)
    next(child for child in children if "normalize" in child.cmdline()).kill()
    for name in (first, added):
        assert await town.post(name) == 200
        await town.stored(name)


async def test_processes_that_were_started_by_hand_reload_on_sighup(town: Town, source: str) -> None:
    first, added = f"{source}_first", f"{source}_added"
    town.configure(first)
    programs = {
        "ingress": town.program("ingress", "ingress"),
        "normalize": town.program("normalize", "worker", "normalize", metrics_port=town.metrics_port),
        "store": town.program("store", "worker", "store"),
    }
    assert (await town.command("schema", "apply", "--config", str(town.config)))[0] == 0
    await town.supervisor.start(*programs.values())
    pids = town.supervisor.pids
    await town.taken(first)
    for name in ("normalize", "store"):
        await town.says(name, "working")
    async with town.posting(first) as answers:
        for name in programs:
            town.configure("no source's name")
            os.kill(pids[name], signal.SIGHUP)
            await town.says(name, "not reloaded; everything goes on as it was")
            town.configure(first, added)
            os.kill(pids[name], signal.SIGHUP)
            await town.says(name, "reloading")
            await town.says(name, "working" if name != "ingress" else "listening", 2)
        await town.taken(added)
    assert set(answers) == {200}
    for name in (first, added):
        await town.stored(name)
    assert town.supervisor.pids == pids
    assert await embedded.answers(f"http://127.0.0.1:{town.metrics_port}/health")


async def test_several_of_one_command_are_replaced_one_after_the_other(town: Town, source: str) -> None:
    first, added = f"{source}_first", f"{source}_added"
    town.configure(first, more="[ingress]\nprocesses = 2\n")
    assert (await town.command("schema", "apply", "--config", str(town.config)))[0] == 0
    await town.supervisor.start(
        town.program("ingresses", "ingress"),
        town.program("workers", "worker", "normalize", "store", metrics_port=town.metrics_port),
    )
    await town.taken(first)
    async with town.posting(first) as answers:
        town.configure(first, added, more="[ingress]\nprocesses = 2\n")
        for name, pid in town.supervisor.pids.items():
            os.kill(pid, signal.SIGHUP)
            await town.says(name, '"reloaded"')
        await town.taken(added)
    assert set(answers) == {200}
    for name in (first, added):
        await town.stored(name)
    for port in (town.metrics_port, town.metrics_port + 1):
        assert await embedded.answers(f"http://127.0.0.1:{port}/health")


async def test_there_has_to_be_one_that_runs(town: Town) -> None:
    town.data.mkdir()
    code, said = await town.reload()

    assert code == 1
    assert f"no gridstream up is running on {town.data}" in said
    assert "SIGHUP" in said


class TestSupervisor:
    async def test_a_program_that_does_not_get_ready_takes_nobodys_place(self, tmp_path: Path) -> None:
        async with Supervisor() as supervisor:
            await supervisor.start(Program("one", ["sleep", "60"]))
            before = supervisor.pids
            with pytest.raises(Fatal, match="one ended at its start"):
                await supervisor.replace(Program("one", ["false"], tells_ready=True, log=tmp_path / "log"))

            assert supervisor.pids == before

    async def test_one_that_does_replaces_the_old_one(self) -> None:
        async with Supervisor() as supervisor:
            await supervisor.start(Program("one", ["sleep", "60"]))
            (before,) = supervisor.pids.values()
            code = "import time; from streams.process import tell_ready; tell_ready(); time.sleep(60)"
            await supervisor.replace(Program("one", [sys.executable, "-c", code], tells_ready=True))
            (after,) = supervisor.pids.values()

            assert after != before
            assert not psutil.pid_exists(before)


def hand_on(sockets: Sequence[socket.socket], port: int, environment: pytest.MonkeyPatch) -> None:
    handed = [each.dup() for each in sockets]
    for name, value in ports.handed("127.0.0.1", port, handed).items():
        environment.setenv(name, value)
    for each in handed:
        each.detach()


class TestPorts:
    def test_an_open_port_is_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "_mine", [])
        sockets = ports.new("127.0.0.1", 0)
        port = sockets[0].getsockname()[1]
        hand_on(sockets, port, monkeypatch)
        with socket.create_connection(("127.0.0.1", port)) as waiting:  # nobody has accepted it yet
            (taken_over,) = ports.opened("127.0.0.1", port)
            ports.close(sockets)
            accepted, _ = taken_over.accept()
            accepted.sendall(b"hello")

            assert waiting.recv(5) == b"hello"
            accepted.close()
        ports.close([taken_over])

    def test_one_that_is_not_asked_for_any_more_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "_mine", [])
        sockets = ports.new("127.0.0.1", 0)
        port = sockets[0].getsockname()[1]
        hand_on(sockets, port, monkeypatch)
        ports.close(sockets)
        other = ports.opened("127.0.0.1", 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        ports.close(other)

    def test_a_port_in_use_is_named(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Fatal, match=rf"^port {port} on 127.0.0.1 cannot be used \(Address already in use\)$"):
                ports.Kept().of("127.0.0.1", port)
