"""The statements that make a source's database, from the declared tables."""

import re
from collections.abc import Iterator, Mapping

from schemas.columns import Column
from schemas.events import ACTIVITY
from schemas.tables import EVENT_TABLES, EVENTS_KEPT, TABLES, Table

_EXACT = "SETTINGS do_not_merge_across_partitions_select_final = 1"
"""Partitions cannot share identities, so each is made exact by itself, side by side."""

_FEW_FILES = "min_bytes_for_wide_part = 134217728, min_bytes_for_full_part_storage = 33554432"
"""Parts of up to 128 MB have one file for all columns, not two for each of forty: an insert of 20,000 rows costs a
third less, of 60,000 a quarter. Parts of up to 32 MB, what inserts make, are one file altogether, not thirteen, since
ClickHouse 26.7; it holds them in memory while it writes them, so larger ones are not."""


_DICTIONARY = re.compile(r"LowCardinality\((\w+)\)")

FOREVER: Mapping[str, int] = {}
"""No table has a limit."""


def identifier(name: str) -> str:
    """A name quoted for SQL, whatever characters it has."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


LiveColumns = Mapping[str, Mapping[str, str]]
"""The ClickHouse types of the columns that there are, by table and name."""
NOTHING: LiveColumns = {}


def statements(
    database: str, days: Mapping[str, int] = FOREVER, cluster: str = "", live: LiveColumns = NOTHING
) -> Iterator[str]:
    """All statements, in order; each may be run again.

    Args:
        database: of a source.
        days: for how many rows are kept, by tables.KEPT_AS.
        cluster: of several ClickHouse servers that it is made on; empty: on the one that is asked.
        live: what it has already: tables of an older version are altered.
    """
    yield f"CREATE DATABASE IF NOT EXISTS {identifier(database)}{_on(cluster)}"
    for table in TABLES:
        yield create_rows(database, table, cluster)
        if cluster:
            yield create_distributed(database, table, cluster)
        yield from alter_columns(database, table, live.get(table.rows, {}), cluster)
        if table.looked_through:
            yield add_index(database, table, cluster)
        yield create_view(database, table, days, cluster)
    yield create_activity(database, days, cluster)
    yield create_cohort_members(database, cluster)
    yield create_contact_rejects(database, cluster)


def create_rows(database: str, table: Table, cluster: str = "") -> str:
    """The table that holds a table's rows, repeats included; on a cluster, those of one shard."""
    lines = [_declaration(column) for column in stored_columns(table)]
    lines += [f"INDEX by_{name} {identifier(name)} TYPE bloom_filter(0.01)" for name in table.searched]
    body = ",\n    ".join(lines)
    partition = f"PARTITION BY toYYYYMM({identifier(table.time)})\n" if table.time else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {_stored(database, table, cluster)}{_on(cluster)}\n(\n    {body}\n)\n"
        f"ENGINE = {'Replicated' if cluster else ''}ReplacingMergeTree({identifier(table.version.name)})\n"
        f"{partition}"
        f"ORDER BY ({', '.join(map(identifier, table.identity))})"
        + (f"\nTTL {table.expires}" if table.expires else "")
        + f"\nSETTINGS {_FEW_FILES}"
    )


def create_distributed(database: str, table: Table, cluster: str) -> str:
    """What stands for a table's rows on all shards: inserts and views go to it.

    The identity decides the shard, so that all repeats of a row are on one, where FINAL finds them.
    """
    shard = f"cityHash64({', '.join(map(identifier, table.identity))})"
    return (
        f"CREATE TABLE IF NOT EXISTS {_rows(database, table)}{_on(cluster)}\n"
        f"AS {_stored(database, table, cluster)}\n"
        f"ENGINE = Distributed({identifier(cluster)}, {identifier(database)}, {identifier(_local(table))}, {shard})"
    )


def alter_columns(database: str, table: Table, live: Mapping[str, str], cluster: str = "") -> Iterator[str]:
    """What brings a table of an older version up to date: columns that it lacks, or has with another type.

    Adding one rewrites nothing; ClickHouse rewrites a column whose type changes, and readers see it converted at once.
    One that only has a dictionary, or has none, stays as it is: that is not worth rewriting all rows.

    Args:
        database: of the source.
        table: that is there; without a live column it was only just made.
        live: types of its columns, by name.
        cluster: that it is on.
    """
    changes = [
        f"{'MODIFY COLUMN' if column.name in live else 'ADD COLUMN IF NOT EXISTS'} {_declaration(column)}"
        for column in stored_columns(table)
        if without_dictionaries(live.get(column.name, "")) != without_dictionaries(column.type.clickhouse)
    ]
    if not live or not changes:
        return
    for name in dict.fromkeys((_stored(database, table, cluster), _rows(database, table))):
        yield f"ALTER TABLE {name}{_on(cluster)}\n" + ",\n".join(changes)


def without_dictionaries(clickhouse: str) -> str:
    """What a type holds, whether in a dictionary or not."""
    return _DICTIONARY.sub(r"\1", clickhouse)


def limits(database: str, days: Mapping[str, int], engines: Mapping[str, str], cluster: str = "") -> Iterator[str]:
    """What has tables keep rows for so many days, or for ever again; nothing where they already do.

    To set a limit that is set has ClickHouse look through all rows again.

    Args:
        database: its name.
        days: for how many rows are kept, by tables.KEPT_AS.
        engines: of the tables that are there, as ClickHouse writes them.
        cluster: that they are on.
    """
    for table in TABLES:
        limit, engine = limit_of(table, days), engines.get(_local(table) if cluster else table.rows, "")
        change = f"MODIFY TTL {limit}" if limit else "REMOVE TTL"
        if table.kept_as and (limit not in engine if limit else " TTL " in engine):
            yield f"ALTER TABLE {_stored(database, table, cluster)}{_on(cluster)} {change}"


def limit_of(table: Table, days: Mapping[str, int]) -> str:
    """The TTL of a table that rows leave after some days; empty where they stay.

    A day later than readers see them last: ClickHouse takes them out whenever it merges.
    """
    kept = days.get(table.kept_as)
    return f"toDateTime({table.aged_by}) + toIntervalDay({kept + 1})" if kept else ""


def _young(table: Table, days: Mapping[str, int]) -> str:
    """The condition under which readers see a row of what is counted in the account: all of a day go at once."""
    kept = days.get(table.kept_as) if table.kept_as == EVENTS_KEPT else None
    if not kept:
        return ""
    return f"\nWHERE stored.{identifier(table.aged_by)} >= toStartOfDay(now('UTC')) - toIntervalDay({kept})"


def add_index(database: str, table: Table, cluster: str = "") -> str:
    """What finds the rows that are new without reading all, also in a database of an older version."""
    version = identifier(table.version.name)
    return (
        f"ALTER TABLE {_stored(database, table, cluster)}{_on(cluster)}\n"
        f"ADD INDEX IF NOT EXISTS by_{table.version.name} {version} TYPE minmax"
    )


def stored_columns(table: Table) -> tuple[Column, ...]:
    """What a table's rows have: its columns, and the version where that is not one of them."""
    return table.columns if table.version in table.columns else (*table.columns, table.version)


def create_view(database: str, table: Table, days: Mapping[str, int] = FOREVER, cluster: str = "") -> str:
    """What people query under the table's name: each identity once, without FINAL in their query."""
    return (
        f"CREATE OR REPLACE VIEW {identifier(database)}.{identifier(table.name)}{_on(cluster)} AS\n"
        f"SELECT {', '.join(_seen(table, column) for column in table.columns)}\n"
        f"FROM {_rows(database, table)} AS stored FINAL{_young(table, days)}\n{_EXACT}"
    )


def create_activity(database: str, days: Mapping[str, int] = FOREVER, cluster: str = "") -> str:
    """The union of all event tables, exact because each of its parts is."""
    selects = [
        f"SELECT {', '.join(_seen(table, column) for column in ACTIVITY)}\n"
        f"FROM {_rows(database, table)} AS stored FINAL{_young(table, days)}\n{_EXACT}"
        for table in EVENT_TABLES.values()
    ]
    view = f"{identifier(database)}.activity{_on(cluster)}"
    return f"CREATE OR REPLACE VIEW {view} AS\n" + "\nUNION ALL\n".join(selects)


def create_cohort_members(database: str, cluster: str = "") -> str:
    """Who is on which list through gridstream."""
    name = identifier(database)
    return (
        f"CREATE OR REPLACE VIEW {name}.cohort_members{_on(cluster)} AS\n"
        "SELECT lists.list AS list, states.email AS email, states.user_id AS user_id, states.since AS since,\n"
        "    states.account AS account, states.cohort AS cohort\n"
        f"FROM {name}.cohort_states AS states\n"
        f"INNER JOIN {name}.cohort_lists AS lists ON lists.account = states.account AND lists.cohort = states.cohort\n"
        # Who is sent again, say with a new name, stays on the list meanwhile.
        "WHERE states.phase IN ('on', 'sending') AND states.since > fromUnixTimestamp64Milli(0)"
    )


def create_contact_rejects(database: str, cluster: str = "") -> str:
    """Who was refused, with the name of the list they were meant for."""
    name = identifier(database)
    return (
        f"CREATE OR REPLACE VIEW {name}.contact_rejects{_on(cluster)} AS\n"
        "SELECT lists.list AS list, rejects.user_id AS user_id, rejects.email AS email, rejects.reason AS reason,\n"
        "    rejects.at AS at, rejects.account AS account, rejects.cohort AS cohort\n"
        f"FROM {name}.cohort_rejects AS rejects\n"
        f"LEFT JOIN {name}.cohort_lists AS lists ON lists.account = rejects.account AND lists.cohort = rejects.cohort"
    )


def _rows(database: str, table: Table) -> str:
    return f"{identifier(database)}.{identifier(table.rows)}"


def _local(table: Table) -> str:
    return f"{table.rows}_local"


def _stored(database: str, table: Table, cluster: str) -> str:
    """The table that is really stored, on each server."""
    return f"{identifier(database)}.{identifier(_local(table) if cluster else table.rows)}"


def _on(cluster: str) -> str:
    return f" ON CLUSTER {identifier(cluster)}" if cluster else ""


def _declaration(column: Column) -> str:
    default = f" DEFAULT {column.default}" if column.default else ""
    return f"{identifier(column.name)} {column.type.clickhouse}{default}"


def _seen(table: Table, column: Column) -> str:
    name = identifier(column.name)
    if column not in table.columns:
        return f"defaultValueOfTypeName('{escaped(column.type.seen)}') AS {name}"
    if column.name == table.time:
        # Without this ORDER BY the time makes ClickHouse read the parts in order, one thread and no skip index: 5 s
        # instead of 0.5 s for one person among 20 million rows. Conditions on the time still use the primary key.
        return f"stored.{name} + toIntervalMillisecond(0) AS {name}"
    if column.type.cast:
        return f"CAST(stored.{name}, '{escaped(column.type.cast)}') AS {name}"
    return f"stored.{name} AS {name}"


def escaped(text: str) -> str:
    """A text as it stands between the quotes of a literal."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
