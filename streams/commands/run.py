"""Commands that run something: up, ingress, worker, dashboard, simulate."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from connectors.errors import Fatal
from connectors.event_webhook import Signer
from connectors.tls import trusting_only
from streams import logs, ports, programs, reloading
from streams import worker as worker_process
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.times import moment_ms
from streams.dashboard import server as dashboard_server
from streams.datafolder import DataFolder
from streams.groups import ROLES
from streams.ingress import server as ingress_server
from streams.process import reload_event, stop_event
from streams.reloading import Configuration, Fleet, Programs
from streams.replaying import Replay
from streams.roles import WITHOUT_CLICKHOUSE
from streams.settings import Settings, load
from streams.simulator.feed import Feed
from streams.simulator.simulate import simulate as send
from streams.supervisor import Program, Supervisor
from streams.up import up as run_up

_FEED_RATE = 1000.0
"""Of the feed's own time, where it is sent as fast as it is taken."""

Demo = Annotated[bool, typer.Option("--demo", help="Also send a simulated, signed feed to the first source.")]


def up(config: Config = None, data: Data = DATA, *, demo: Demo = False) -> None:
    """Run everything on this machine: Kafka and ClickHouse (unless configured), ingress and all roles."""
    logs.configure("up")
    asyncio.run(run_up(config, DataFolder(data), demo=demo))


def ingress(
    config: Config = None,
    data: Data = DATA,
    *,
    demo: Annotated[bool, typer.Option("--demo", hidden=True)] = False,
    shared: Annotated[bool, typer.Option("--shared", hidden=True)] = False,
) -> None:
    """Run an ingress: the HTTP server that webhooks are posted to."""
    logs.configure("ingress")
    settings = load(config)
    folder = DataFolder(data)
    if demo:
        settings = settings.with_key(folder.demo_signer().public_key)
    if settings.ingress.processes > 1 and not shared:
        extra = ["--demo"] * demo

        def wanted(kept: ports.Kept, metrics: Path) -> Programs:
            return lambda new, arguments: [programs.ingresses(new, [*arguments, *extra], kept, metrics)]

        asyncio.run(_supervised(config, folder, wanted, databases=False))
    else:
        reloading.run(
            lambda: ingress_server.run(settings, is_shared=shared),
            lambda: reloading.prepare(load(config), folder, databases=False),
        )


def dashboard(config: Config = None, data: Data = DATA) -> None:
    """Run the live page: what the emails did, second by second."""
    logs.configure("dashboard")
    settings, folder = load(config), DataFolder(data)
    reloading.run(
        lambda: dashboard_server.run(settings, folder),
        lambda: reloading.prepare(load(config), folder),
    )


def worker(
    roles: Annotated[list[str], typer.Argument(help=f"Any of: {', '.join(ROLES)}.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Run workers: one process per role."""
    for role in roles:
        if role not in ROLES:
            raise typer.BadParameter(f"there is no role {role}; roles: {', '.join(ROLES)}")
    settings, folder = load(config), DataFolder(data)
    databases = any(role not in WITHOUT_CLICKHOUSE for role in roles)
    if len(roles) == 1:
        logs.configure(roles[0])
        (role,) = roles

        async def prepare() -> None:
            new = load(config)
            worker_process.groups_of(role, new)
            await reloading.prepare(new, folder, databases=databases)

        reloading.run(lambda: worker_process.run(role, settings, folder), prepare)
    else:
        logs.configure("worker")

        def wanted(kept: ports.Kept, _: Path) -> Programs:
            return lambda new, arguments: [_workers(roles, new, arguments, kept)]

        asyncio.run(_supervised(config, folder, wanted, databases=databases))


def simulate(
    config: Config = None,
    data: Data = DATA,
    *,
    rate: Annotated[float, typer.Option(min=0, help="Events a second; 0: as fast as they are taken.")] = 10,
    count: Annotated[int, typer.Option(min=0, help="Events to send; 0: until Ctrl-C.")] = 0,
    url: Annotated[str, typer.Option(help="The webhook; default: the source's, on this machine.")] = "",
    source: Annotated[str, typer.Option(help="The source; default: the first.")] = "",
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signs the feed; default: the demo's key, if there is one.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", hidden=True)] = False,
) -> None:
    """Send a realistic SendGrid feed: life cycles of messages, framed and signed as SendGrid does it."""
    logs.configure("simulate")
    installation = Installation.of(config, data)
    settings = installation.settings
    chosen = settings.source(source)
    key = private_key or (installation.data.demo_key if installation.data.demo_key.exists() else None)
    password = chosen.password[0].get_secret_value() if chosen.password else ""
    with Progress(TextColumn("{task.description}"), console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("Sending …")
        sending = send(
            url or f"{settings.ingress.url}/sendgrid/{chosen.name}",
            Feed(seed=time.time_ns(), start=time.time(), rate=rate or _FEED_RATE),
            rate=rate,
            count=count,
            signer=_signer(key) if key else None,
            credentials=(chosen.username, password) if password else None,
            trust=None if url else trusting_only(settings.ingress.certificate),
            on_progress=lambda report: progress.update(task, description=report.line()),
        )
        report = asyncio.run(sending)
        progress.remove_task(task)
    if not quiet:
        typer.echo(report.line())


def replay(
    since: Annotated[str, typer.Option(metavar="T", help="Received from then on: ISO 8601, or an age such as 2h.")],
    config: Config = None,
    data: Data = DATA,
    *,
    until: Annotated[str, typer.Option(metavar="T", help="Received before then; default: now.")] = "",
    source: Annotated[str, typer.Option(help="The source; default: the first.")] = "",
    forward: Annotated[
        bool, typer.Option("--forward", help="Also to Amplitude, which knows repeats for 7 days only.")
    ] = False,
) -> None:
    """Normalize again what is in the raw topic. Nothing counts twice; what is missing is filled."""
    installation = Installation.of(config, data)
    settings = installation.settings
    chosen = settings.source(source)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Raw records", total=None)
        span = (moment_ms(since), moment_ms(until) if until else 0)
        running = Replay(settings, installation.data, chosen, *span, forward=forward)
        report = asyncio.run(running.run(lambda p: progress.update(task, completed=p.done, total=p.total)))
    typer.echo(f"normalized {report.total:,} raw records of {chosen.name} again")


def _signer(key: Path) -> Signer:
    try:
        return Signer.load(key)
    except (OSError, ValueError) as error:
        raise Fatal(f"the private key cannot be used: {error}") from error


def _workers(roles: Sequence[str], settings: Settings, arguments: Sequence[str], kept: ports.Kept) -> list[Program]:
    host, port = settings.worker.metrics_host, settings.worker.metrics_port
    if not port:
        return [programs.worker(role, arguments) for role in roles]
    return [programs.worker_at(role, arguments, kept, host, port + number) for number, role in enumerate(roles)]


async def _supervised(
    config: Path | None, data: DataFolder, wanted: Callable[[ports.Kept, Path], Programs], *, databases: bool
) -> None:
    """Run several programs until SIGTERM or SIGINT. SIGHUP reloads the settings."""
    stopped, asked = stop_event(), reload_event()

    async def prepare(_: Settings, new: Settings) -> None:
        await reloading.prepare(new, data, databases=databases)

    with TemporaryDirectory(prefix="gridstream-") as folder:
        configuration = Configuration(config, data, Path(folder))
        async with Supervisor() as supervisor:
            fleet = Fleet(
                supervisor, configuration, wanted(ports.Kept(), Path(folder)), prepare, reloading.finish_removed
            )
            await fleet.start(wait=False)  # servers may be away for as long as it takes
            await fleet.keep_running(asked, stopped)
