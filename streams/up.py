"""`gridstream up`: everything on one machine, as child processes."""

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from connectors.embedded import jars
from connectors.errors import Fatal
from schemas.ddl import identifier
from schemas.events import EVENTS
from streams import embedded, ports, programs, reloading, schema
from streams.datafolder import DataFolder
from streams.groups import groups
from streams.process import reload_event, stop_event
from streams.reloading import Configuration, Fleet
from streams.settings import Settings
from streams.supervisor import Program, Supervisor

DEMO_RATE = 50
"""Events per second of the demo's feed."""

_FIRST_ROWS_SECONDS = 20.0
_LOOK_AGAIN_SECONDS = 0.5

_NEXT_STEPS = """
[bold]gridstream is running.[/bold]{demo}

  SendGrid posts to   {webhook}
                      {access}
                      To reach this machine from outside: cloudflared tunnel --url {ingress}
                      (or ngrok http {port}), then give SendGrid https://<the tunnel's host>/sendgrid
  The live page       {page}
  ClickHouse          {clickhouse}

  Try it:
    curl '{clickhouse}' -d 'SELECT event, count() FROM {database}.activity GROUP BY event FORMAT PrettyCompact'
    curl '{clickhouse}' -d 'SELECT url, count() FROM {database}.click GROUP BY url LIMIT 5 FORMAT PrettyCompact'

  Ctrl-C stops it; the data stays in {data}.
"""


async def up(config: Path | None, data: DataFolder, *, demo: bool) -> None:
    """Run everything until SIGTERM or SIGINT. SIGHUP reloads the settings.

    Args:
        config: the file of the settings, as named.
        data: where everything is kept.
        demo: send a simulated feed to the first source.

    Raises:
        Fatal: something could not be started.
    """
    stopped, asked = stop_event(), reload_event()
    console = Console(highlight=False, soft_wrap=True)
    data.prepare()
    with data.locked(), TemporaryDirectory(prefix="gridstream-") as folder:
        async with Supervisor() as supervisor:
            fleet = _fleet(supervisor, config, data, Path(folder), demo=demo)
            _require_free_ports(fleet.settings)
            starting = asyncio.ensure_future(_start(supervisor, fleet, data, console))
            stopping = asyncio.ensure_future(stopped.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                settings = fleet.settings
                if demo:
                    settings = settings.with_key(data.demo_signer().public_key)
                    await _show_first_rows(settings, data, console)
                console.print(_next_steps(settings, data, demo=demo))
                await fleet.keep_running(asked, stopped, data.note_reload)
            stopping.cancel()
            starting.cancel()
            console.print("Stopping …")
    console.print(f"Stopped. The next start goes on with the data in {data.path}.")


def _fleet(supervisor: Supervisor, config: Path | None, data: DataFolder, folder: Path, *, demo: bool) -> Fleet:
    """Ingress, then live page and roles, then what feeds them."""
    kept = ports.Kept()

    def wanted(settings: Settings, arguments: Sequence[str]) -> list[list[Program]]:
        roles = dict.fromkeys(group.role for group in groups(settings))
        partitions = settings.kafka.partitions
        workers = [each for role in roles for each in programs.workers(role, arguments, partitions)]
        return [
            programs.ingresses(settings, [*arguments, *["--demo"] * demo], kept, folder),
            [programs.dashboard(settings, arguments, kept), *workers],
            [programs.simulator(arguments, DEMO_RATE, data.demo_key)] if demo else [],
        ]

    async def prepare(old: Settings, new: Settings) -> None:
        _refuse_what_needs_a_restart(old, new)
        await reloading.prepare(new, data)

    return Fleet(supervisor, Configuration(config, data, folder), wanted, prepare, reloading.finish_removed)


async def _start(supervisor: Supervisor, fleet: Fleet, data: DataFolder, console: Console) -> None:
    settings = fleet.settings
    servers = []
    if not settings.kafka.bootstrap_servers:
        servers.append(await _kafka(settings, data, console))
    if not settings.clickhouse.url.get_secret_value():
        servers.append(embedded.engine(settings, data))
    console.print("Starting", ", ".join(server.name for server in servers) or "the roles", "…")
    await supervisor.start(*servers)
    await reloading.prepare(settings, data, databases=False)
    async with data.connection(settings) as clickhouse:
        await schema.apply(settings.retention_days, clickhouse, settings.clickhouse.cluster)
    await fleet.start()


async def _show_first_rows(settings: Settings, data: DataFolder, console: Console) -> None:
    """Wait until the feed has reached every table, and show it."""
    database = identifier(settings.source().name)
    tables = [(event.table, f"(SELECT count() FROM {database}.{identifier(event.table)})") for event in EVENTS]
    deadline = time.monotonic() + _FIRST_ROWS_SECONDS
    async with data.connection(settings) as clickhouse:
        while True:
            (counts,) = (await clickhouse.query(f"SELECT {', '.join(sql for _, sql in tables)}")).result_rows
            if all(counts) or time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    rows = " · ".join(f"{table} {count}" for (table, _), count in zip(tables, counts, strict=True))
    console.print(f"\nRows so far: {rows}")


async def _kafka(settings: Settings, data: DataFolder, console: Console) -> Program:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"Apache Kafka {jars.KAFKA_VERSION} from Maven Central (42 MB, once)", start=False)

        def show(done: int, of: int) -> None:
            progress.start_task(task)
            progress.update(task, completed=done, total=of)

        return await embedded.kafka(settings, data, show)


def _refuse_what_needs_a_restart(old: Settings, new: Settings) -> None:
    for key, before, after in (
        ("kafka.bootstrap_servers", old.kafka.bootstrap_servers, new.kafka.bootstrap_servers),
        ("kafka.embedded_port", old.kafka.embedded_port, new.kafka.embedded_port),
        ("clickhouse.embedded_port", old.clickhouse.embedded_port, new.clickhouse.embedded_port),
        ("clickhouse.url", bool(old.clickhouse.url.get_secret_value()), bool(new.clickhouse.url.get_secret_value())),
    ):
        if before != after:
            raise Fatal(f"{key} was changed, which needs a restart: stop gridstream up and start it again")


def _require_free_ports(settings: Settings) -> None:
    ports = [
        (settings.ingress.host, settings.ingress.port, "ingress.port"),
        (settings.dashboard.host, settings.dashboard.port, "dashboard.port"),
    ]
    if not settings.kafka.bootstrap_servers:
        ports.append(("127.0.0.1", settings.kafka.embedded_port, "kafka.embedded_port"))
    if not settings.clickhouse.url.get_secret_value():
        ports.append(("127.0.0.1", settings.clickhouse.embedded_port, "clickhouse.embedded_port"))
    for host, port, key in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise Fatal(f"port {port} on {host} cannot be used ({error.strerror}); free it or set {key}") from error


def _next_steps(settings: Settings, data: DataFolder, *, demo: bool) -> str:
    source = settings.source()
    if source.is_open:
        access = "Open to this machine only, until SendGrid's key is known: gridstream webhook register URL"
    else:
        access = "Requests need the source's signature or password, as configured"
    embedded = f"http://127.0.0.1:{settings.clickhouse.embedded_port}/"
    return _NEXT_STEPS.format(
        demo=f" A simulated feed of {DEMO_RATE} events/s goes into all tables." if demo else "",
        webhook=f"{settings.ingress.url}/sendgrid",
        access=access,
        ingress=settings.ingress.url,
        port=settings.ingress.port,
        page=settings.dashboard.url,
        clickhouse=embedded if not settings.clickhouse.url.get_secret_value() else "<clickhouse.url>",
        database=source.name,
        data=data.path,
    )
