"""`gridstream reload`: a running `gridstream up` reads its settings again."""

import os
import signal
import time

import typer

from connectors.errors import Fatal
from streams.commands.options import DATA, Config, Data
from streams.datafolder import DataFolder
from streams.settings import load

_LOOK_SECONDS = 0.1


def reload(config: Config = None, data: Data = DATA) -> None:
    """Have `gridstream up` read its settings again: sources come, change and go, and nothing stops."""
    if config:
        load(config)
    folder = DataFolder(data)
    pid = folder.runner()
    if not pid:
        raise Fatal(
            f"no gridstream up is running on {data}. Processes that were started by themselves reload on SIGHUP: "
            "kill -HUP, systemctl reload, docker compose kill -s HUP"
        )
    before = folder.reloads()
    os.kill(pid, signal.SIGHUP)
    while (after := folder.reloads()) == before:
        if folder.runner() != pid:
            raise Fatal(f"gridstream up on {data} has ended meanwhile; look at what it printed")
        time.sleep(_LOOK_SECONDS)
    if error := after[1]:
        raise Fatal(f"{error}\nnot reloaded: everything goes on as it was")
    typer.echo("reloaded")
