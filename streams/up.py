"""`gridstream up`: everything on one machine, as child processes."""

import asyncio
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from connectors.clickhouse import ClickHouse
from connectors.embedded import jars
from connectors.errors import Fatal, GridstreamError
from connectors.kafka import Admin
from schemas.ddl import identifier
from schemas.events import EVENTS
from streams import embedded, schema
from streams.beginnings import ensure_beginnings
from streams.datafolder import DataFolder
from streams.groups import Group, groups
from streams.process import stop_event, url_of
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


async def up(settings: Settings, data: DataFolder, arguments: Sequence[str], *, demo: bool) -> None:
    """Run everything until SIGTERM or SIGINT.

    Args:
        settings: read.
        data: where everything is kept.
        arguments: of this command line that the children need too.
        demo: send a simulated feed to the first source.

    Raises:
        Fatal: something could not be started.
    """
    stopped = stop_event()
    console = Console(highlight=False, soft_wrap=True)
    data.prepare()
    with data.locked():
        _require_free_ports(settings)
        async with Supervisor() as supervisor:
            starting = asyncio.ensure_future(_start(supervisor, settings, data, arguments, console, demo=demo))
            stopping = asyncio.ensure_future(stopped.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                if demo:
                    settings = settings.with_key(data.demo_signer().public_key)
                    await _show_first_rows(settings, data, console)
                console.print(_next_steps(settings, data, demo=demo))
                await stopping
            starting.cancel()
            console.print("Stopping …")
    console.print(f"Stopped. The next start goes on with the data in {data.path}.")


async def _start(
    supervisor: Supervisor,
    settings: Settings,
    data: DataFolder,
    arguments: Sequence[str],
    console: Console,
    *,
    demo: bool,
) -> None:
    command = [sys.executable, "-m", "streams.cli"]
    servers = []
    if not settings.kafka.bootstrap_servers:
        servers.append(await _kafka(settings, data, console))
    if not settings.clickhouse.url.get_secret_value():
        servers.append(embedded.engine(settings, data))
    console.print("Starting", ", ".join(server.name for server in servers) or "the roles", "…")
    await supervisor.start(*servers)
    await schema.ensure_topics(settings)
    if not settings.kafka.bootstrap_servers:
        await schema.configure_topics(settings)
    await ensure_beginnings(settings)
    clickhouse = ClickHouse(data.clickhouse_url(settings))
    await clickhouse.connect()
    try:
        await schema.apply([source.name for source in settings.sources], clickhouse, settings.clickhouse.cluster)
    finally:
        await clickhouse.close()
    by_role: dict[str, list[Group]] = defaultdict(list)
    for group in groups(settings):
        by_role[group.role].append(group)
    extra = ["--demo"] if demo else []
    await supervisor.start(
        Program(
            "ingress",
            [*command, "ingress", *arguments, *extra],
            is_ready=partial(embedded.answers, f"{url_of(settings.ingress.host, settings.ingress.port)}/ready"),
        ),
        Program(
            "dashboard",
            [*command, "dashboard", *arguments],
            is_ready=partial(embedded.answers, f"{url_of(settings.dashboard.host, settings.dashboard.port)}/health"),
        ),
        *(
            Program(
                role,
                [*command, "worker", role, *arguments],
                is_ready=partial(_have_members, settings.kafka.servers, role_groups),
                environment={"GRIDSTREAM_WORKER__METRICS_PORT": "0"},
            )
            for role, role_groups in by_role.items()
        ),
    )
    if demo:
        key = ["--private-key", str(data.demo_key)]
        await supervisor.start(
            Program("simulator", [*command, "simulate", *arguments, "--rate", str(DEMO_RATE), *key, "--quiet"])
        )


async def _show_first_rows(settings: Settings, data: DataFolder, console: Console) -> None:
    """Wait until the feed has reached every table, and show it."""
    database = identifier(settings.source().name)
    tables = [(event.table, f"(SELECT count() FROM {database}.{identifier(event.table)})") for event in EVENTS]
    clickhouse = ClickHouse(data.clickhouse_url(settings))
    await clickhouse.connect()
    deadline = time.monotonic() + _FIRST_ROWS_SECONDS
    try:
        while True:
            (counts,) = (await clickhouse.query(f"SELECT {', '.join(sql for _, sql in tables)}")).result_rows
            if all(counts) or time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        await clickhouse.close()
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


async def _have_members(servers: str, consumer_groups: Sequence[Group]) -> bool:
    try:
        async with Admin(servers) as admin:
            return all([await admin.members(group.name) for group in consumer_groups])
    except GridstreamError:
        return False


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
        access = "Open to this machine only. Before SendGrid may post: its verification key as public_keys"
    else:
        access = "Requests need the source's signature or password, as configured"
    embedded = f"http://127.0.0.1:{settings.clickhouse.embedded_port}/"
    return _NEXT_STEPS.format(
        demo=f" A simulated feed of {DEMO_RATE} events/s goes into all tables." if demo else "",
        webhook=f"{url_of(settings.ingress.host, settings.ingress.port)}/sendgrid",
        access=access,
        ingress=url_of(settings.ingress.host, settings.ingress.port),
        port=settings.ingress.port,
        page=url_of(settings.dashboard.host, settings.dashboard.port),
        clickhouse=embedded if not settings.clickhouse.url.get_secret_value() else "<clickhouse.url>",
        database=source.name,
        data=data.path,
    )
