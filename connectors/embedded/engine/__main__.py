"""The engine's process: `python -m connectors.embedded.engine --path DIR --password-file FILE`.

It says `ready http://127.0.0.1:8123` on stdout when it serves, and ends on SIGTERM, on SIGINT and when its parent is
gone: what runs gets a few seconds to finish. What it acknowledged outlives even its being killed.
"""

import argparse
import asyncio
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from connectors.embedded.engine.access import Memory, half_of_the_machine
from connectors.embedded.engine.database import CannotOpenError, Database
from connectors.embedded.engine.server import Server

_LONGEST_URL = 1 << 20
_LOOK_FOR_PARENT = 0.5  # seconds


def main() -> None:
    """Run until told to stop. Exit code 1, with one line on stderr, if it can't work."""
    parent = os.getppid()
    options = _options()
    os.environ["TZ"] = "UTC"  # the server's timezone, wherever the machine stands
    try:
        password = _password(options.password_file)
        folder = _locked(options.path)
        listening = _listening(options.host, options.port)
        hint = f"To write, be the user gridstream, whose password is in {options.password_file.resolve()}."
        with Database(folder, Memory.share(options.memory_limit or half_of_the_machine())) as database:
            asyncio.run(_serve(Server(database, password, hint), listening, parent))
    except CannotOpenError as error:
        sys.exit(f"gridstream engine: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m connectors.embedded.engine", description="The ClickHouse engine.")
    parser.add_argument("--path", type=Path, required=True, help="folder of the data; made if it isn't there")
    parser.add_argument("--host", default="127.0.0.1", help="reading needs no password, so think before another")
    parser.add_argument("--port", type=int, default=8123, help="0: a free one, said in the ready line")
    parser.add_argument("--password-file", type=Path, required=True, help="holds the password of the user gridstream")
    parser.add_argument("--memory-limit", type=int, default=0, metavar="BYTES", help="default: half of the machine's")
    return parser.parse_args()


def _password(file: Path) -> str:
    try:
        password = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotOpenError(f"can't read the password file {file}: {error}") from error
    if not password:
        raise CannotOpenError(f"the password file {file} is empty")
    return password


def _locked(path: Path) -> Path:
    """The folder, for this process alone as long as it lives."""
    try:
        folder = path.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise CannotOpenError(f"can't write to the data folder {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CannotOpenError(f"another process is working on the data folder {folder}") from error
    return folder


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # of what Python adds to it, the line has enough
        raise CannotOpenError(f"can't listen on {host}:{port}: {reason}") from error


async def _serve(server: Server, listening: socket.socket, parent: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)  # not the loop's: a second one must not end the process while it closes
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # who leaves frees his thread
        shutdown_timeout=1.0,  # the server has already waited
        auto_decompress=False,
        read_bufsize=1 << 20,
        max_line_size=_LONGEST_URL,
        max_field_size=_LONGEST_URL,
    )
    await runner.setup()
    await web.SockSite(runner, listening).start()
    host, port, *_ = listening.getsockname()
    print(f"ready http://{host}:{port}", flush=True)  # noqa: T201 (what starts it waits for the line)
    while os.getppid() == parent and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _LOOK_FOR_PARENT)
        except TimeoutError:
            continue
    await runner.cleanup()


if __name__ == "__main__":
    main()
