"""Commands that run something: up, ingress, worker, simulate."""

import asyncio
import sys
from typing import Annotated

import typer

from streams import ingress as ingress_server
from streams import logs
from streams import worker as worker_process
from streams.commands.options import DATA, Config, Data, Installation
from streams.process import stop_event
from streams.supervisor import Program, Supervisor
from streams.up import up as run_up

Demo = Annotated[bool, typer.Option("--demo", help="Also send a simulated, signed feed to the first source.")]


def up(config: Config = None, data: Data = DATA, *, demo: Demo = False) -> None:
    """Run everything on this machine: Kafka and ClickHouse (unless configured), ingress and all roles."""
    logs.configure("up")
    installation = Installation.of(config, data)
    asyncio.run(run_up(installation.settings, installation.data, installation.arguments, demo=demo))


def ingress(
    config: Config = None,
    data: Data = DATA,
    *,
    demo: Annotated[bool, typer.Option("--demo", hidden=True)] = False,
) -> None:
    """Run one ingress: the HTTP server that webhooks are posted to."""
    logs.configure("ingress")
    installation = Installation.of(config, data)
    settings = installation.settings
    if demo:
        settings = settings.with_key(installation.data.demo_signer().public_key)
    asyncio.run(ingress_server.run(settings))


def worker(
    roles: Annotated[list[str], typer.Argument(help=f"Any of: {', '.join(worker_process.ROLES)}.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Run workers: one process per role."""
    for role in roles:
        if role not in worker_process.ROLES:
            raise typer.BadParameter(f"there is no role {role}; roles: {', '.join(worker_process.ROLES)}")
    installation = Installation.of(config, data)
    port = installation.settings.worker.metrics_port
    if len(roles) == 1:
        logs.configure(roles[0])
        asyncio.run(worker_process.run(roles[0], installation.settings, installation.data, port))
    else:
        logs.configure("worker")
        asyncio.run(_several(roles, installation.arguments, port))


async def _several(roles: list[str], arguments: tuple[str, ...], port: int) -> None:
    stopped = stop_event()
    async with Supervisor() as supervisor:
        await supervisor.start(
            *(
                Program(
                    role,
                    [sys.executable, "-m", "streams.cli", "worker", role, *arguments],
                    environment={"GRIDSTREAM_WORKER__METRICS_PORT": str(port and port + number)},
                )
                for number, role in enumerate(roles)
            )
        )
        await stopped.wait()
