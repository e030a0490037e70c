"""How the process starts, ends, and what outlives it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.process import Engine, alive, command, running, until_gone

COUNT = "SELECT count(), sum(a) FROM t"
PARENT = """
import subprocess, sys
engine = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
print(engine.pid, engine.stdout.readline().decode(), end="", flush=True)
engine.wait()
"""
HOLDER = """
import chdb, sys
connection = chdb.connect(sys.argv[1])
print("open", flush=True)
input()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a & b?c=%41" / "dätä"  # as odd as a path may be


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    folder.parent.mkdir()
    with running(folder) as engine:
        yield engine


def tell(engine: Engine, statement: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(engine.url, statement, engine.writer)) as response:
        body: bytes = response.read()
        return body


def refused(engine: Engine) -> str:
    """Wait for an engine that can't start; returns what it said."""
    assert engine.ended() == 1
    return engine.stderr.read_text()


def test_it_merges_in_as_many_threads_as_there_are_cores(engine: Engine) -> None:
    merges = tell(engine, b"SELECT value FROM system.server_settings WHERE name = 'background_pool_size'")

    assert int(merges) == max(2, min(len(os.sched_getaffinity(0)), 16))


def test_what_is_acknowledged_outlives_a_kill(folder: Path) -> None:
    folder.parent.mkdir()
    first = Engine(folder).ready()
    tell(first, b"CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    for number in range(20):
        rows = b"\n" + b"%d\n" % number * 1000
        tell(first, b"INSERT INTO t SETTINGS async_insert = %d FORMAT CSV" % (number % 2) + rows)

    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    with running(folder) as second:
        assert tell(second, COUNT.encode()) == b"20000\t190000\n"
        tell(second, b"INSERT INTO t VALUES (1)")
    with running(folder) as third:
        assert tell(third, COUNT.encode()) == b"20001\t190001\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_finishes_what_runs(engine: Engine, number: int) -> None:
    tell(engine, b"CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    with socket.create_connection(("127.0.0.1", engine.port)) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in engine.writer.items())
        rows = b"1\n" * 1000
        connection.sendall(
            f"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: x\r\n{head}"
            f"Expect: 100-continue\r\nContent-Length: {len(rows)}\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # so it is in hand
        engine.process.send_signal(number)
        engine.process.send_signal(signal.SIGTERM)  # a second one changes nothing, nor does the fixture's third
        connection.sendall(rows)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_the_same_folder_twice(engine: Engine) -> None:
    second = Engine(engine.folder)
    second.stderr = engine.stderr

    assert second.ended() == 1
    assert engine.stderr.read_text() == (
        f"gridstream engine: another process is working on the data folder {engine.folder}\n"
    )
    assert tell(engine, b"SELECT 1") == b"1\n"
    engine.stderr.write_text("")


def test_a_folder_that_another_program_has_open(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import chdb; c = chdb.connect({str(tmp_path / 'd')!r}); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout
        holder.stdout.readline()

        said = refused(Engine(tmp_path / "d"))

        assert said.startswith("gridstream engine: ")
        assert "Another server instance in same directory is already running" in said
        assert said.count("\n") == 1
        holder.kill()


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        said = refused(Engine(tmp_path / "d", port=port))

        assert said == f"gridstream engine: can't listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = refused(Engine(tmp_path / "file"))

    assert said == f"gridstream engine: can't write to the data folder {tmp_path / 'file'}: File exists\n"


@pytest.mark.parametrize("content", [None, " \n"], ids=["missing", "empty"])
def test_no_password(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "password"
    if content:
        file.write_text(content)
    done = subprocess.run(command(tmp_path / "d", file, 0), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("gridstream engine: ")
    assert str(file) in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    engine_command = command(tmp_path / "d", tmp_path / "password", 0)
    with subprocess.Popen([sys.executable, "-c", PARENT, *engine_command], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid, ready, url = parent.stdout.readline().decode().split()
        assert (ready, alive(int(pid))) == ("ready", True)

        parent.kill()

    until_gone(int(pid))
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        pass  # the port is free
