"""What is known of one account's memberships: what was wished, what was done. It is all in ClickHouse.

A person is pending while somebody wished something newer than what is done. Each of the few writes below may be
repeated, and whatever is not written is done again: so a crash between any two of them repeats calls, and loses none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import orjson

from connectors.clickhouse import ClickHouse
from schemas.cohorts import NO_LIST, CohortBatch
from schemas.columns import time_text
from schemas.contacts import Person
from schemas.tables import (
    COHORT_BATCHES,
    COHORT_CHANGES,
    COHORT_LISTS,
    COHORT_REJECTS,
    COHORT_STATES,
    CONTACT_SYNCS,
)
from streams.clock import now
from streams.database import Database
from streams.privacy.forgotten import Forgotten

Phase = Literal["sending", "on", "rejected", "off"]

_COHORTS = """
SELECT batches.cohort, batches.named, lists.name, lists.list, lists.list_id
FROM (
    SELECT cohort, argMax(name, version) AS named FROM $db.cohort_batches
    WHERE account = {account:String} GROUP BY cohort
) AS batches
LEFT JOIN (SELECT * FROM $db.cohort_lists WHERE account = {account:String}) AS lists USING (cohort)
ORDER BY batches.cohort
"""
_PENDING = """
SELECT
    changes.email AS email,
    argMax(changes.user_id, changes.version) AS user_id,
    argMax(changes.action, changes.version) AS action,
    max(changes.version) AS newest,
    groupArray((changes.version, changes.traits)) AS traits,
    any(states.phase) AS phase,
    any(states.handled) AS handled,
    toUnixTimestamp64Milli(any(states.since)) AS since,
    toUnixTimestamp64Milli(greatest(any(states.stored_at), max(changes.received_at))) AS moved
FROM (
    SELECT email, user_id, action, version, traits, received_at FROM $db.cohort_changes_rows
    WHERE account = {account:String} AND cohort = {cohort:String} AND email > {after:String}
) AS changes
LEFT JOIN (
    SELECT email, phase, handled, since, stored_at FROM $db.cohort_states_rows FINAL
    WHERE account = {account:String} AND cohort = {cohort:String} AND email > {after:String}
) AS states USING (email)
WHERE changes.version > states.handled
GROUP BY email
"""
_ENTERING = "action = 'enter'"
_LEAVING = "action = 'exit' AND phase IN ('on', 'sending')"
_NOT_THERE = "action = 'exit' AND phase NOT IN ('on', 'sending')"


@dataclass(frozen=True, slots=True)
class Cohort:
    """A cohort and its list.

    Attributes:
        id: the cohort's.
        name: what it is called now.
        listed_as: what it was called when its list got its name.
        list: the list's name; empty where there is none yet.
        list_id: the list's; empty where there is none yet.
    """

    id: str
    name: str
    listed_as: str = ""
    list: str = ""
    list_id: str = ""


class Wish(NamedTuple):
    """Somebody is to be on a list, or not: as the batch says."""

    batch: CohortBatch
    person: Person


@dataclass(frozen=True, slots=True)
class Pending:
    """Somebody about whom something newer was wished than what is done.

    Attributes:
        person: with all traits that came since then.
        version: of the newest wish.
        phase: of what was done; empty where nothing was.
        handled: version of the newest wish that is done.
        since: when they came onto the list, in ms since 1970; 0 where they are not known to be on it.
        moved: when the last of all this was, in ms since 1970.
    """

    person: Person
    version: int
    phase: str
    handled: int
    since: int
    moved: int


@dataclass(frozen=True, slots=True)
class Sync:
    """One import job or removal, as people see it in `contact_syncs`."""

    cohort: str
    id: str
    list: str
    list_id: str
    started_at: int
    job_id: str = ""
    state: str = "sending"
    message: str = ""
    requested: int = 0
    created: int = 0
    updated: int = 0
    errored: int = 0
    removed: int = 0
    skipped_no_email: int = 0
    finished_at: int = 0

    def ended(self, state: str, message: str = "", **counts: int) -> "Sync":
        """The same, finished now."""
        return replace(self, state=state, message=message, finished_at=now(), **counts)  # type: ignore[arg-type]


class Memberships:
    """Reads and writes one account's.

    Args:
        clickhouse: open.
        database: of the account's source.
        account: its name.
        forgotten: about whom nothing is written; None where nobody is.
    """

    def __init__(self, clickhouse: ClickHouse, database: str, account: str, forgotten: Forgotten | None = None) -> None:
        self._database = Database(clickhouse, database, forgotten)
        self._account = account

    async def cohorts(self) -> list[Cohort]:
        """All cohorts that were ever heard of, and the one that is no list."""
        return [Cohort(NO_LIST, ""), *(Cohort(*row) for row in await self._query(_COHORTS))]

    async def entering(self, cohort: str, after: str, limit: int) -> list[Pending]:
        """Who has to be put onto the list, by address, from the one behind `after`."""
        return await self._pending(_ENTERING, cohort, after, limit)

    async def leaving(self, cohort: str, after: str, limit: int) -> list[Pending]:
        """Who has to be taken off the list: only people that gridstream put there, or may have."""
        return await self._pending(_LEAVING, cohort, after, limit)

    async def pass_over_absent(self, cohort: str) -> None:
        """Whoever leaves without being on the list is done."""
        await self._query(
            "INSERT INTO $db.cohort_states_rows (account, cohort, email, user_id, phase, version, handled) "
            "SELECT {account:String}, {cohort:String}, email, user_id, 'off', newest, newest\n"
            f"FROM ({_PENDING} HAVING {_NOT_THERE})",
            cohort=cohort,
            after="",
        )

    async def record(
        self, cohort: str, people: Iterable[Pending], phase: Phase, sync: str = "", since: int | None = None
    ) -> None:
        """Write what was done about people; `sending` also before it is."""
        rows = (
            {
                "account": self._account,
                "cohort": cohort,
                "email": each.person.email,
                "user_id": each.person.user_id,
                "phase": phase,
                "version": each.version,
                "handled": each.handled if phase == "sending" else each.version,
                "sync": sync,
                "since": time_text(each.since if since is None else since),
            }
            for each in people
        )
        await self._database.insert(COHORT_STATES, rows)

    async def sent(self, cohort: str, sync: str) -> list[Pending]:
        """Who was sent with a sync whose outcome is not written yet."""
        rows = await self._query(
            "SELECT email, user_id, version, phase, handled, toUnixTimestamp64Milli(since)\n"
            "FROM $db.cohort_states\n"
            "WHERE account = {account:String} AND cohort = {cohort:String}\n"
            "AND sync = {sync:String} AND phase = 'sending'",
            cohort=cohort,
            sync=sync,
        )
        return [
            Pending(Person(email, user_id, {}), version, phase, handled, since, 0)
            for email, user_id, version, phase, handled, since in rows
        ]

    async def start_over(self, cohort: str) -> None:
        """The list is gone: whoever was on it is to be put on it again."""
        await self._query(
            "INSERT INTO $db.cohort_states_rows (account, cohort, email, user_id, phase)\n"
            "SELECT account, cohort, email, user_id, 'off' FROM $db.cohort_states\n"
            "WHERE account = {account:String} AND cohort = {cohort:String}",
            cohort=cohort,
        )

    async def reject(self, cohort: str, people: Sequence[tuple[Pending, str]]) -> None:
        """Write who was refused, and why. Whoever was on the list stays on it."""
        await self.add_rejects((cohort, each.person, reason) for each, reason in people)
        await self.record(cohort, (each for each, _ in people if each.since), "on")
        await self.record(cohort, (each for each, _ in people if not each.since), "rejected")

    async def add_rejects(self, people: Iterable[tuple[str, Person, str]]) -> None:
        """Write whom SendGrid refused, or would: the cohort, the person, the reason."""
        about = {"account": self._account, "at": time_text(now())}
        rows = (
            about | {"cohort": cohort, "user_id": person.user_id, "email": person.email, "reason": reason}
            for cohort, person, reason in people
        )
        await self._database.insert(COHORT_REJECTS, rows)

    async def wish(self, wishes: Iterable["Wish"]) -> None:
        """Write what was said about people."""
        rows = (
            {
                "account": self._account,
                "cohort": batch.id,
                "email": person.email,
                "version": batch.version,
                "action": batch.action,
                "user_id": person.user_id,
                "traits": orjson.dumps(person.traits).decode(),
                "received_at": time_text(batch.received_at),
            }
            for batch, person in wishes
        )
        await self._database.insert(COHORT_CHANGES, rows)

    async def add_batches(self, batches: Iterable[tuple[CohortBatch, int]]) -> None:
        """Write which messages came, and how many of their users have no address. What they say is written before."""
        rows = (
            {
                "account": self._account,
                "cohort": batch.id,
                "message_id": batch.message_id,
                "name": batch.name,
                "action": batch.action,
                "version": batch.version,
                "users": len(batch.users),
                "no_email": without,
                "received_at": time_text(batch.received_at),
            }
            for batch, without in batches
            if batch.id != NO_LIST  # there is one for each contact: they would be too many to look through
        )
        await self._database.insert(COHORT_BATCHES, rows)

    async def name_list(self, cohort: Cohort) -> None:
        """Write which list a cohort has."""
        row = {"cohort": cohort.id, "name": cohort.listed_as, "list": cohort.list, "list_id": cohort.list_id}
        await self._database.insert(COHORT_LISTS, [{"account": self._account} | row])

    async def save(self, sync: Sync) -> None:
        """Write how far a sync is."""
        times = {name: time_text(getattr(sync, name)) for name in ("started_at", "finished_at")}
        await self._database.insert(CONTACT_SYNCS, [{"account": self._account} | asdict(sync) | times])

    async def open_syncs(self, cohort: str) -> list[Sync]:
        """Uploads whose outcome is not known, the oldest first."""
        rows = await self._query(
            "SELECT cohort, id, list, list_id, toUnixTimestamp64Milli(started_at), job_id, state, message, requested,\n"
            "    created, updated, errored, removed, skipped_no_email\n"
            "FROM $db.contact_syncs\n"
            "WHERE account = {account:String} AND cohort = {cohort:String} AND state IN ('sending', 'pending')\n"
            "ORDER BY started_at",
            cohort=cohort,
        )
        return [Sync(*row) for row in rows]

    async def pending(self, cohort: str) -> tuple[int, int]:
        """How many people have to be put onto the list, and how many taken off."""
        ((entering, leaving),) = await self._query(
            f"SELECT countIf({_ENTERING}), countIf({_LEAVING}) FROM ({_PENDING})", cohort=cohort, after=""
        )
        return int(entering), int(leaving)

    async def skipped(self, cohort: str) -> int:
        """How many people without an address came since a sync last said so."""
        ((came, said),) = await self._query(
            "SELECT\n"
            "    (SELECT sum(no_email) FROM $db.cohort_batches\n"
            "     WHERE account = {account:String} AND cohort = {cohort:String} AND action = 'enter'),\n"
            "    (SELECT sum(skipped_no_email) FROM $db.contact_syncs\n"
            "     WHERE account = {account:String} AND cohort = {cohort:String})",
            cohort=cohort,
        )
        return int(max(0, came - said))

    async def _pending(self, having: str, cohort: str, after: str, limit: int) -> list[Pending]:
        sql = f"{_PENDING} HAVING {having} ORDER BY email LIMIT {{limit:UInt64}}"
        rows = list(reversed(await self._query(sql, cohort=cohort, after=after, limit=limit)))
        return [_pending(rows.pop()) for _ in range(len(rows))]  # a page is large: no row is kept beside its person

    async def _query(self, sql: str, **parameters: object) -> Sequence[Sequence[Any]]:
        return (await self._database.query(sql, account=self._account, **parameters)).result_rows


def _pending(row: Sequence[Any]) -> Pending:
    """What is said later about a trait replaces what was said before; what is not said again stays."""
    email, user_id, _, version, wishes, phase, handled, since, moved = row
    traits: dict[str, Any] = {}
    for _, said in sorted(wishes):
        traits |= orjson.loads(said)
    return Pending(Person(email, user_id, traits), version, phase, handled, since, moved)
