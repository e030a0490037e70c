"""`gridstream forget` and `gridstream export`: people who ask to be forgotten, or what is known of them."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from connectors.errors import Fatal
from schemas.columns import time_text
from streams.clock import now
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table
from streams.privacy.exporting import export as exported
from streams.privacy.forgetting import Forgetting, Report, Wish, shown
from streams.privacy.forgotten import marks_of

Emails = Annotated[list[str] | None, typer.Argument(metavar="EMAIL", help="Addresses, in any letter case.")]


def forget(
    emails: Emails = None,
    config: Config = None,
    data: Data = DATA,
    *,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Also the addresses in it, one a line.")] = None,
    user_ids: Annotated[
        bool, typer.Option("--user-ids", help="Also what bears these people's user ids under another address.")
    ] = False,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Have Kafka delete at once what all have read: no replay of it any more.")
    ] = False,
    sendgrid: Annotated[bool, typer.Option("--sendgrid", help="Also the contacts in SendGrid.")] = False,
    amplitude: Annotated[bool, typer.Option("--amplitude", help="Also the users in Amplitude.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Delete people from every table, and report what was deleted, and what is gone when. Twice does no harm."""
    wanted = {_address(each) for each in [*(emails or ()), *_lines(file)]}
    if not wanted:
        raise typer.BadParameter("name at least one address, or a --file with some")
    installation = Installation.of(config, data)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("")

        def show(what: str) -> None:
            progress.update(task, description=what)

        wish = Wish(wanted, with_user_ids=user_ids, truncate=truncate, sendgrid=sendgrid, amplitude=amplitude)
        report = asyncio.run(Forgetting(installation.settings, installation.data, wish, show).run())
    if as_json:
        typer.echo(orjson.dumps(report.as_json()).decode())
    else:
        _print(report)
    if report.remaining:
        raise Fatal("somebody still writes rows about them; look who, and run this again")


def _address(text: str) -> str:
    given = text.strip().lower()
    if "@" not in given or any(character.isspace() for character in given):
        raise typer.BadParameter(f"expected an address, found {text!r}")
    return given


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"the file of addresses cannot be read: {error}") from error


def _print(report: Report) -> None:
    print_table(("", "forgotten"), _summary(report))
    rows = [
        (source, table, f"{count:,}")
        for source, erased in report.sources.items()
        for table, count in sorted(erased.rows.items())
    ]
    print_table(("database", "table", "rows deleted"), rows, nothing="No rows were found: nothing was left to delete.")
    pending = [(f"Kafka: {each.topic}", f"{each.records:,} records", shown(each.until)) for each in report.topics]
    if report.rows:
        pending.append(("ClickHouse: parts as they were", "on its disk only", shown(report.parts_until)))
    print_table(("still there", "what", "gone at the latest (UTC)"), pending, nothing="Nothing is still there.")


def _summary(report: Report) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("at (UTC)", time_text(report.at)),
        ("people", f"{len(report.people):,}" + (f", {report.known:,} of them before" if report.known else "")),
        ("rows deleted", f"{report.rows:,}"),
        ("events among them", f"{sum(erased.events for erased in report.sources.values()):,}"),
        ("places in log files", f"{report.logs:,}"),
    ]
    if report.rows_of_user_ids:
        other = f"{report.rows_of_user_ids:,} rows that do not name them; --user-ids deletes these too"
        facts.append((f"their {report.user_ids:,} user ids are in", other))
    if report.truncated:
        facts.append(("records that Kafka deleted", f"{report.truncated:,}"))
    facts += [(f"SendGrid deletes, of {name}", f"{count:,} contacts") for name, count in report.sendgrid.items()]
    facts += [
        (f"Amplitude deletes, of {name}", f"from {day} on" if day else "nobody: it knows none of them")
        for name, day in report.amplitude.items()
    ]
    facts.append(("the last copy is gone (UTC)", shown(report.until)))
    return facts


def export(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address, in any letter case.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Print all that is stored of somebody, as JSON."""
    installation = Installation.of(config, data)
    found = asyncio.run(_export(installation, _address(email)))
    typer.echo(orjson.dumps(found, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


async def _export(installation: Installation, address: str) -> dict[str, Any]:
    marks = marks_of(installation.settings, installation.data)
    sources: dict[str, dict[str, Any]] = {}
    async with installation.clickhouse() as clickhouse:
        for source in installation.settings.sources:
            tables = sources.setdefault(source.name, {})
            async with aclosing(exported(clickhouse, source, address, marks)) as parts:
                async for table, rows in parts:
                    tables[table.name] = rows
    return {"email": address, "exported_at": time_text(now()), "sources": sources}
