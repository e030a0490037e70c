"""How an account's lists are: what `gridstream cohorts` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.clickhouse import ClickHouse
from schemas.cohorts import NO_LIST
from schemas.ddl import identifier
from streams.contacts.memberships import Memberships

_SIZES = "SELECT cohort, count() FROM $db.cohort_members WHERE account = {account:String} GROUP BY cohort"
_SYNCS = """
SELECT
    cohort, sum(created + updated), sum(removed), sum(skipped_no_email),
    argMax(state, started_at), argMax(message, started_at), max(started_at)
FROM $db.contact_syncs WHERE account = {account:String} GROUP BY cohort
"""
_REJECTS = """
SELECT rejects.cohort, rejects.reason, count() AS people
FROM $db.cohort_rejects AS rejects
LEFT JOIN (SELECT cohort, email, since FROM $db.cohort_states WHERE account = {account:String}) AS states
    ON states.cohort = rejects.cohort AND states.email = rejects.email
WHERE rejects.account = {account:String} AND rejects.at > states.since
GROUP BY rejects.cohort, rejects.reason ORDER BY people DESC
"""
"""Whoever came onto the list after they were refused is not counted."""


@dataclass(frozen=True, slots=True)
class CohortReport:
    """One cohort and its list.

    Attributes:
        account: the contacts entry.
        name: the cohort's.
        list: its list's name in SendGrid; empty where there is none yet.
        size: how many people gridstream has on it.
        entering: people who have to be put onto it.
        leaving: people who have to be taken off it.
        sent: contacts that were created or updated.
        removed: people who were taken off it.
        skipped: people without an address.
        refused: people who were refused and are not on the list, by reason.
        state: of the last sync; empty where there was none.
        message: what it says where it failed.
        synced_at: when it began.
    """

    account: str
    name: str
    list: str
    size: int
    entering: int
    leaving: int
    sent: int
    removed: int
    skipped: int
    refused: Mapping[str, int]
    state: str
    message: str
    synced_at: datetime | None

    @property
    def verdict(self) -> str:
        """Whether the list is what the cohort says."""
        if self.state == "failed":
            return f"failed: {self.message}"
        if self.entering or self.leaving:
            return "not done yet"
        return "all but the refused" if self.refused else "complete"


async def reports(clickhouse: ClickHouse, database: str, account: str) -> list[CohortReport]:
    """All cohorts of an account.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not say.
    """

    async def ask(sql: str) -> Sequence[Sequence[Any]]:
        result = await clickhouse.query(sql.replace("$db", identifier(database)), {"account": account})
        return result.result_rows

    memberships = Memberships(clickhouse, database, account)
    sizes = dict(map(tuple, await ask(_SIZES)))
    syncs = {cohort: sums for cohort, *sums in await ask(_SYNCS)}
    refused: dict[str, dict[str, int]] = {}
    for cohort, reason, people in await ask(_REJECTS):
        refused.setdefault(cohort, {})[reason] = people
    found = []
    for each in await memberships.cohorts():
        if each.id == NO_LIST and each.id not in syncs:
            continue
        sent, removed, skipped, state, message, synced_at = syncs.get(each.id, (0, 0, 0, "", "", None))
        entering, leaving = await memberships.pending(each.id)
        found.append(
            CohortReport(
                account=account,
                name=each.name or "(contacts)",
                list=each.list,
                size=sizes.get(each.id, 0),
                entering=entering,
                leaving=leaving,
                sent=sent,
                removed=removed,
                skipped=skipped,
                refused=refused.get(each.id, {}),
                state=state,
                message=message,
                synced_at=synced_at,
            )
        )
    return found
