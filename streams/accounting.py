"""The accounting: every event that came in is a row, a dead letter or removed, and the sum can fail.

The two sides are counted apart: what came in from `deliveries`, which the normalizer writes, and from Kafka's offsets;
what became of it from the tables that people query.
"""

import operator
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin
from schemas import topics
from schemas.ddl import identifier
from streams import metrics
from streams.destinations import Destination, destination
from streams.groups import Offsets, Partition, group, groups, lags_of
from streams.schema import wanted_topics
from streams.settings import Settings

_CAME_IN = "SELECT sum(events), sum(malformed), uniqExactArray(identities), sum(expired) FROM {database}.deliveries"
_REMOVED = """
SELECT uniqExact(identity) FROM (
    SELECT arrayJoin(removed) AS identity FROM {database}.deliveries
    UNION ALL SELECT identity FROM {database}.removals
)
"""
"""Events whose row was taken out, and those that became none, each once. No delivery has their identity as it was."""
_BECAME = """
SELECT
    (SELECT count() FROM {database}.activity),
    (SELECT count() FROM {database}.dead_letters WHERE state != 'replayed' AND step = 'store'),
    (SELECT count() FROM {database}.dead_letters WHERE state != 'replayed' AND step IN ('normalize', 'store'))
"""
_SEEN = """
SELECT
    partition,
    {{first:Array(UInt64)}}[partition + 1] AS first,
    {{next:Array(UInt64)}}[partition + 1] AS next,
    uniqExactIf(offset, offset >= first AND offset < next)
FROM {database}.deliveries GROUP BY partition
"""
"""Of each partition of the raw topic: how many of the records that have been read and are still there were seen."""


@dataclass(frozen=True, slots=True)
class SourceAccount:
    """The sums of one source.

    Attributes:
        accepted: elements of accepted POSTs.
        distinct: events among them, repeats counted once.
        duplicates: the repeats.
        malformed: elements that were no events.
        refused: rows that ClickHouse would not take.
        removed: events taken out on purpose.
        dead_letters: what waits for a person, of normalizing and storing.
        rows: in the tables that people query.
        in_flight: raw records not yet normalized and events not yet stored.
        expired: raw records that were gone before they were read.
        missing: raw records that were read, but of which no trace is left. Never, unless something is broken.
    """

    accepted: int = 0
    distinct: int = 0
    duplicates: int = 0
    malformed: int = 0
    refused: int = 0
    removed: int = 0
    dead_letters: int = 0
    rows: int = 0
    in_flight: int = 0
    expired: int = 0
    missing: int = 0

    @property
    def balanced(self) -> bool:
        """Whether both sides are equal. While something is in flight they need not be."""
        return (
            self.accepted == self.distinct + self.duplicates + self.malformed
            and self.duplicates >= 0
            and self.distinct == self.rows + self.refused + self.removed
            and self.dead_letters == self.malformed + self.refused
            and self.missing == 0
        )


COLUMNS = tuple(column.name for column in fields(SourceAccount))
"""The sums of an account, in order."""


@dataclass(frozen=True, slots=True)
class Status:
    """What `gridstream status` knows.

    Attributes:
        sources: the account of each, by name.
        destinations: where else events and POSTs go, by name.
        lag: records that a consumer group has not processed yet, by group.
        roles: `running` or `stopped`, by role.
    """

    sources: dict[str, SourceAccount] = field(default_factory=dict)
    destinations: dict[str, Destination] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every source's account is."""
        return all(account.balanced for account in self.sources.values())

    def as_json(self) -> dict[str, object]:
        """The shape of `gridstream status --json`."""
        return {
            "balanced": self.balanced,
            "sources": {name: asdict(account) for name, account in self.sources.items()},
            "destinations": {name: asdict(destination) for name, destination in self.destinations.items()},
            "lag": self.lag,
            "roles": self.roles,
        }


async def collect(settings: Settings, admin: Admin, clickhouse: ClickHouse) -> Status:
    """Ask Kafka and ClickHouse; the metrics of a process that does so again and again say what it found last.

    Raises:
        Retry, Reject, Fatal: one of them does not answer as it should.
    """
    # What is committed before where topics end: asked the other way round, a record that moves on in between would be
    # in flight nowhere.
    all_groups = groups(settings)
    committed = {each.name: await admin.committed(each.name) for each in all_groups}
    offsets = await admin.offsets([topic.name for topic in wanted_topics(settings)])
    lags = {each.name: lags_of(offsets, committed[each.name], each.topics) for each in all_groups}
    # What goes to other destinations is on its way beside the account.
    inside = [lags[group(role)] for role in ("normalize", "store")]
    accounts = {}
    for source in settings.sources:
        name = source.name
        waiting = [lag for role in inside for (topic, _), lag in role.items() if topic.startswith(f"{name}.")]
        raw = {partition: ends for partition, ends in offsets.items() if partition[0] == topics.raw(name)}
        accounts[name] = await _account(name, sum(waiting), raw, committed[group("normalize")], clickhouse)
        _note(name, accounts[name])
    members = {each.name: await admin.members(each.name) for each in all_groups}
    return Status(
        sources=accounts,
        destinations={
            f"{each.role} {each.destination}": await destination(
                each, committed[each.name], offsets, lags[each.name], admin, clickhouse
            )
            for each in all_groups
            if each.destination
        },
        lag={name: sum(lag.values()) for name, lag in lags.items()},
        roles={
            role: "running" if all(members[each.name] for each in all_groups if each.role == role) else "stopped"
            for role in dict.fromkeys(each.role for each in all_groups)
        },
    )


def _note(source: str, account: SourceAccount) -> None:
    for name in COLUMNS:
        metrics.ACCOUNT.labels(source, name).set(getattr(account, name))
    metrics.ACCOUNT_BALANCED.labels(source).set(account.balanced)
    metrics.ACCOUNT_TAKEN.set(time.time())


async def _account(
    source: str, in_flight: int, raw: Offsets, committed: Mapping[Partition, int], clickhouse: ClickHouse
) -> SourceAccount:
    database = identifier(source)
    (accepted, malformed, distinct, expired), *_ = (
        await clickhouse.query(_CAME_IN.format(database=database))
    ).result_rows
    (rows, refused, dead_letters), *_ = (await clickhouse.query(_BECAME.format(database=database))).result_rows
    ((removed,),) = (await clickhouse.query(_REMOVED.format(database=database))).result_rows
    first = [ends[0] for _, ends in sorted(raw.items())]
    done = [committed.get(partition, 0) for partition in sorted(raw)]
    read = list(map(max, first, done))
    # The normalizer notices what has expired when it reads what follows, and nothing may follow for long.
    expired += sum(map(operator.sub, read, done))
    seen = (await clickhouse.query(_SEEN.format(database=database), {"first": first, "next": read})).result_rows
    missing = sum(read) - sum(first) - sum(there for *_, there in seen)
    return SourceAccount(
        accepted=accepted,
        distinct=distinct + removed,
        duplicates=accepted - malformed - distinct - removed,
        malformed=malformed,
        refused=refused,
        removed=removed,
        dead_letters=dead_letters,
        rows=rows,
        in_flight=in_flight,
        expired=expired,
        missing=missing,
    )
