"""`gridstream cohorts`: which lists there are, and whether they are what their cohorts say."""

import asyncio
from typing import Annotated

import typer

from connectors.errors import Fatal
from streams.commands.options import DATA, Config, Data, Installation
from streams.commands.printing import print_table
from streams.contacts.report import CohortReport, reports

group = typer.Typer(help="Cohorts and their lists in SendGrid.", no_args_is_help=True)


@group.command("list")
def listing(config: Config = None, data: Data = DATA) -> None:
    """List all cohorts, with how far their lists are."""
    found = asyncio.run(_reports(Installation.of(config, data)))
    columns = ("account", "cohort", "size", "to add", "to remove", "refused", "last sync (UTC)", "state")
    print_table(columns, map(_row, found), nothing="No cohort has sent anything yet.")


def _row(report: CohortReport) -> tuple[object, ...]:
    refused = sum(report.refused.values())
    numbers = (report.size, report.entering, report.leaving, refused)
    return (report.account, report.name, *numbers, _time(report), report.verdict)


@group.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the cohort or of its list.")],
    config: Config = None,
    data: Data = DATA,
) -> None:
    """Show one: its list, what the syncs did, and who was refused why."""
    found = [each for each in asyncio.run(_reports(Installation.of(config, data))) if name in (each.name, each.list)]
    if not found:
        raise Fatal(f"there is no cohort {name}; `gridstream cohorts list` shows them")
    for report in found:
        about = {
            "account": report.account,
            "list in SendGrid": report.list or "not made yet",
            "state": report.verdict,
            "size": report.size,
            "last sync (UTC)": _time(report),
            "created or updated": report.sent,
            "removed": report.removed,
            "skipped for no email": report.skipped,
            "still to add": report.entering,
            "still to remove": report.leaving,
            **{f"refused: {reason}": count for reason, count in report.refused.items()},
        }
        print_table(("", report.name), about.items())


def _time(report: CohortReport) -> str:
    return f"{report.synced_at:%Y-%m-%d %H:%M:%S}" if report.synced_at else "never"


async def _reports(installation: Installation) -> list[CohortReport]:
    settings = installation.settings
    if not settings.contacts:
        raise Fatal("no [[contacts]] are configured; docs/contacts.md shows how")
    async with installation.clickhouse() as clickhouse:
        return [
            report
            for entry in settings.contacts
            for report in await reports(clickhouse, settings.source(entry.source).name, entry.name)
        ]
