"""The command `gridstream`: all subcommands, and how their failures end."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from connectors.errors import GridstreamError
from streams import logs
from streams.commands import cohorts, dead_letters, look, mail, run, status, sync

cli = typer.Typer(
    name="gridstream",
    help="SendGrid, Segment and Amplitude on your own Kafka and ClickHouse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    run.up,
    run.ingress,
    run.worker,
    run.dashboard,
    run.simulate,
    run.replay,
    sync.sync,
    status.status,
    look.doctor,
    look.sql,
):
    cli.command()(command)
cli.add_typer(look.schema, name="schema")
cli.add_typer(dead_letters.group, name="dead-letters")
cli.add_typer(cohorts.group, name="cohorts")
cli.add_typer(mail.group, name="mail")


@cli.callback(invoke_without_command=True)
def _root(*, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    logs.configure(logs.COMMAND)
    if version:
        typer.echo(f"gridstream {importlib.metadata.version('gridstream')}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a problem it names, 2 wrong usage."""
    try:
        cli()
    except GridstreamError as error:
        text = str(error) if logs.is_of_command() else logs.hidden(str(error))
        for line in text.splitlines():
            print(f"gridstream: {line}", file=sys.stderr)  # noqa: T201  this is what it is for
        sys.exit(1)


if __name__ == "__main__":
    main()
