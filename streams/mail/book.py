"""What is known of each mail. It is all in ClickHouse: written before a call and after it.

Nothing here depends on who writes first: of all that is written about a mail, the later attempt counts, and within an
attempt what is most certain. So a worker that was taken for dead, and was not, does no harm by what it writes.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from connectors.clickhouse import ClickHouse
from schemas.columns import time_text
from schemas.tables import MAIL_CLAIMS, MAILS
from streams import metrics
from streams.clock import now
from streams.database import Database
from streams.pieces import pieces
from streams.privacy.forgotten import Forgotten

State = Literal["sending", "uncertain", "waiting", "dropped", "late", "refused", "sandboxed", "sent"]
STATES: tuple[State, ...] = get_args(State)
"""Of one attempt, each more certain than the one before it."""
OPEN: tuple[State, ...] = ("sending", "uncertain", "waiting")
"""Those in which something still has to become of a mail."""

_ENTRY = """
id, rule, message_id, user_id, email, template_id, state, sg_message_id, reason, attempt, call,
toUnixTimestamp64Milli(received_at) AS received_at, toUnixTimestamp64Milli(changed_at) AS changed_at
"""
_BY_ID = (
    f"SELECT {_ENTRY} FROM $db.mails_rows WHERE id IN ($ids) ORDER BY id, version DESC, changed_at DESC LIMIT 1 BY id"
)
_OPEN = "SELECT DISTINCT id FROM $db.mails_rows WHERE state IN {states:Array(String)}"
_NEWEST = f"""
SELECT {_ENTRY} FROM $db.mails AS mails
WHERE ({{state:String}} = '' OR state = {{state:String}}) AND ({{email:String}} = '' OR lower(email) = {{email:String}})
ORDER BY mails.received_at DESC LIMIT {{limit:UInt64}}
"""
_CLAIMS = "SELECT id, attempt FROM $db.mail_claims_rows WHERE id IN ($ids) AND claimant != {claimant:String}"
_SEEN = """
SELECT custom_args['gridstream_message_id'] AS mail, any(sg_message_id) FROM $db.activity
WHERE timestamp >= fromUnixTimestamp64Milli({since:Int64}) AND mail IN ($ids) GROUP BY mail
"""
_MOST_IDS = 1000
"""In one query."""
_OTHER_CLOCK_MS = 3_600_000
"""By which SendGrid's clock, or a call's sender's, may differ from ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One mail, as people see it in `mails`.

    Attributes:
        id: of the mail.
        rule: that makes it.
        message_id: of the call.
        user_id: of the call.
        email: of the first recipient; empty where there is none that SendGrid would take.
        template_id: SendGrid's.
        received_at: when the call came, in milliseconds since 1970.
        state: how far it is.
        attempt: how often it was begun to be sent.
        sg_message_id: SendGrid's, where it was taken.
        reason: why it was not.
        call: the record that it is made of, as long as nothing is decided.
        changed_at: since when, in milliseconds since 1970.
    """

    id: str
    rule: str
    message_id: str
    user_id: str
    received_at: int
    email: str = ""
    template_id: str = ""
    state: State = "waiting"
    attempt: int = 0
    sg_message_id: str = ""
    reason: str = ""
    call: str = ""
    changed_at: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something still has to become of it."""
        return self.state in OPEN

    def now(self, state: State, at: int, **also: Any) -> "Entry":  # noqa: ANN401  fields have their own types
        """The same in another state."""
        changed = replace(self, state=state, changed_at=at, **also)
        return changed if changed.is_open else replace(changed, call="")

    def row(self) -> dict[str, Any]:
        """As the table has it."""
        times = {name: time_text(getattr(self, name)) for name in ("received_at", "changed_at")}
        facts = {name: getattr(self, name) for name in _FACTS}  # not asdict, which would copy each of them deeply
        return facts | times | {"version": self.attempt * len(STATES) + STATES.index(self.state)}


_FACTS = tuple(each.name for each in fields(Entry))


class MailBook:
    """Reads and writes what is known of mails.

    Args:
        clickhouse: open.
        database: of the mails' source.
        forgotten: about whom nothing is written; None where nobody is.
    """

    def __init__(self, clickhouse: ClickHouse, database: str, forgotten: Forgotten | None = None) -> None:
        self._database = Database(clickhouse, database, forgotten)

    async def entries(self, ids: Collection[str]) -> dict[str, Entry]:
        """What is known of some mails, by id."""
        found = {}
        for some in pieces(ids, _MOST_IDS):
            for row in (await self._database.query(_of(_BY_ID, some))).named_results():
                found[row["id"]] = Entry(**row)
        return found

    async def open_entries(self) -> list[Entry]:
        """All mails of which something still has to become."""
        # Without FINAL, which would read the whole table: an index finds the rows, of which merges leave few.
        states = (await self._database.query(_OPEN, states=list(OPEN))).result_rows
        return [entry for entry in (await self.entries([row[0] for row in states])).values() if entry.is_open]

    async def newest(self, state: str, email: str, limit: int) -> list[Entry]:
        """Mails, the newest first.

        Args:
            state: only these; empty: all.
            email: only to this recipient, in any letter case; empty: all.
            limit: how many at most.
        """
        rows = await self._database.query(_NEWEST, state=state, email=email.lower(), limit=limit)
        return [Entry(**row) for row in rows.named_results()]

    async def write(self, entries: Iterable[Entry]) -> None:
        """Write what is known of mails now."""
        written = list(entries)
        await self._database.insert(MAILS, (entry.row() for entry in written))
        for entry in written:
            if entry.state not in ("sending", "waiting"):
                metrics.MAILS.labels(entry.rule, entry.state).inc()

    async def claim(self, entries: Collection[Entry], claimant: str) -> set[str]:
        """Claim attempts for oneself.

        Of several workers that claim an attempt at most one succeeds: whoever writes first reads before the others
        write, or reads them too.

        Args:
            entries: sending.
            claimant: a name that nobody else has.

        Returns:
            The ids of those that somebody else has claimed as well.
        """
        at = time_text(now())
        about = ({"id": each.id, "attempt": each.attempt, "claimant": claimant, "at": at} for each in entries)
        await self._database.insert(MAIL_CLAIMS, about)
        attempts = {(each.id, each.attempt) for each in entries}
        rivals = set()
        for some in pieces((each.id for each in entries), _MOST_IDS):
            rows = (await self._database.query(_of(_CLAIMS, some), claimant=claimant)).result_rows
            rivals |= {mail for mail, attempt in rows if (mail, attempt) in attempts}
        return rivals

    async def seen(self, entries: Collection[Entry]) -> dict[str, str]:
        """Of which mails there are events: SendGrid has taken these. By id, with the message id of the events."""
        found: dict[str, str] = {}
        for some in pieces((each.id for each in entries), _MOST_IDS):
            since = min(each.received_at for each in entries) - _OTHER_CLOCK_MS
            found |= dict(map(tuple, (await self._database.query(_of(_SEEN, some), since=since)).result_rows))
        return found


def _of(sql: str, ids: Iterable[str]) -> str:
    """A statement about some mails."""
    # In the statement: as parameters they would be part of the URL, which proxies limit to some kilobytes.
    return sql.replace("$ids", ",".join(f"'{_hexadecimal(each)}'" for each in ids))


def _hexadecimal(text: str) -> str:
    """An id that may stand in a statement; what is none stands for no mail."""
    return text if text.isalnum() else ""
