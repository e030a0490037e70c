"""The statements that make a source's database, from the declared tables."""

from collections.abc import Iterator

from schemas.columns import Column
from schemas.events import ACTIVITY
from schemas.tables import EVENT_TABLES, TABLES, Table

_EXACT = "SETTINGS do_not_merge_across_partitions_select_final = 1"
"""Partitions cannot share identities, so each is made exact by itself, side by side."""

_FEW_FILES = "min_bytes_for_wide_part = 134217728"
"""Parts of up to 128 MB have one file for all columns, not two for each of forty: an insert of 20,000 rows costs a
third less, of 60,000 a quarter."""


def identifier(name: str) -> str:
    """A name quoted for SQL, whatever characters it has."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def statements(database: str) -> Iterator[str]:
    """All statements, in order; each may be run again."""
    yield f"CREATE DATABASE IF NOT EXISTS {identifier(database)}"
    for table in TABLES:
        yield create_rows(database, table)
        if table.younger:
            yield add_columns(database, table)
        if table.looked_through:
            yield add_index(database, table)
        yield create_view(database, table)
    yield create_activity(database)
    yield create_cohort_members(database)
    yield create_contact_rejects(database)


def create_rows(database: str, table: Table) -> str:
    """The table that holds a table's rows, repeats included."""
    lines = [_declaration(column) for column in stored_columns(table)]
    lines += [f"INDEX by_{name} {identifier(name)} TYPE bloom_filter(0.01)" for name in table.searched]
    body = ",\n    ".join(lines)
    partition = f"PARTITION BY toYYYYMM({identifier(table.time)})\n" if table.time else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {identifier(database)}.{identifier(table.rows)}\n(\n    {body}\n)\n"
        f"ENGINE = ReplacingMergeTree({identifier(table.version.name)})\n"
        f"{partition}"
        f"ORDER BY ({', '.join(map(identifier, table.identity))})"
        + (f"\nTTL {table.expires}" if table.expires else "")
        + f"\nSETTINGS {_FEW_FILES}"
    )


def add_columns(database: str, table: Table) -> str:
    """The columns that a database of an older version lacks."""
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {_declaration(column)}" for column in table.younger)
    return f"ALTER TABLE {identifier(database)}.{identifier(table.rows)} {added}"


def add_index(database: str, table: Table) -> str:
    """What finds the rows that are new without reading all, also in a database of an older version."""
    version = identifier(table.version.name)
    return (
        f"ALTER TABLE {identifier(database)}.{identifier(table.rows)}\n"
        f"ADD INDEX IF NOT EXISTS by_{table.version.name} {version} TYPE minmax"
    )


def stored_columns(table: Table) -> tuple[Column, ...]:
    """What a table's rows have: its columns, and the version where that is not one of them."""
    return table.columns if table.version in table.columns else (*table.columns, table.version)


def create_view(database: str, table: Table) -> str:
    """What people query under the table's name: each identity once, without FINAL in their query."""
    return (
        f"CREATE OR REPLACE VIEW {identifier(database)}.{identifier(table.name)} AS\n"
        f"SELECT {', '.join(_seen(table, column) for column in table.columns)}\n"
        f"FROM {identifier(database)}.{identifier(table.rows)} AS stored FINAL\n{_EXACT}"
    )


def create_activity(database: str) -> str:
    """The union of all event tables, exact because each of its parts is."""
    selects = [
        f"SELECT {', '.join(_seen(table, column) for column in ACTIVITY)}\n"
        f"FROM {identifier(database)}.{identifier(table.rows)} AS stored FINAL\n{_EXACT}"
        for table in EVENT_TABLES.values()
    ]
    return f"CREATE OR REPLACE VIEW {identifier(database)}.activity AS\n" + "\nUNION ALL\n".join(selects)


def create_cohort_members(database: str) -> str:
    """Who is on which list through gridstream."""
    name = identifier(database)
    return (
        f"CREATE OR REPLACE VIEW {name}.cohort_members AS\n"
        "SELECT lists.list AS list, states.email AS email, states.user_id AS user_id, states.since AS since,\n"
        "    states.account AS account, states.cohort AS cohort\n"
        f"FROM {name}.cohort_states AS states\n"
        f"INNER JOIN {name}.cohort_lists AS lists ON lists.account = states.account AND lists.cohort = states.cohort\n"
        # Who is sent again, say with a new name, stays on the list meanwhile.
        "WHERE states.phase IN ('on', 'sending') AND states.since > fromUnixTimestamp64Milli(0)"
    )


def create_contact_rejects(database: str) -> str:
    """Who was refused, with the name of the list they were meant for."""
    name = identifier(database)
    return (
        f"CREATE OR REPLACE VIEW {name}.contact_rejects AS\n"
        "SELECT lists.list AS list, rejects.user_id AS user_id, rejects.email AS email, rejects.reason AS reason,\n"
        "    rejects.at AS at, rejects.account AS account, rejects.cohort AS cohort\n"
        f"FROM {name}.cohort_rejects AS rejects\n"
        f"LEFT JOIN {name}.cohort_lists AS lists ON lists.account = rejects.account AND lists.cohort = rejects.cohort"
    )


def _declaration(column: Column) -> str:
    default = f" DEFAULT {column.default}" if column.default else ""
    return f"{identifier(column.name)} {column.type.clickhouse}{default}"


def _seen(table: Table, column: Column) -> str:
    name = identifier(column.name)
    if column not in table.columns:
        return f"defaultValueOfTypeName('{_literal(column.type.clickhouse)}') AS {name}"
    if column.name == table.time:
        # Without this ORDER BY the time makes ClickHouse read the parts in order, one thread and no skip index: 5 s
        # instead of 0.5 s for one person among 20 million rows. Conditions on the time still use the primary key.
        return f"stored.{name} + toIntervalMillisecond(0) AS {name}"
    return f"stored.{name} AS {name}"


def _literal(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
