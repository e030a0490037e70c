"""Bringing Kafka and ClickHouse to what is declared: topics, databases, tables and views."""

from collections.abc import Iterable, Mapping

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from connectors.kafka import Admin
from schemas import ddl, topics
from schemas.tables import TABLES
from streams.settings import Settings

_HOUR_MS = 3_600_000
_ENGINES = "SELECT name, engine_full FROM system.tables WHERE database = {database:String}"
NO_LIMITS: Mapping[str, Mapping[str, int]] = {}
"""No table of any source has a limit."""


def wanted_topics(settings: Settings) -> list[topics.Topic]:
    """All topics that there should be."""
    of_sources = [
        topic
        for source in settings.sources
        for topic in topics.of_source(source.name, int(source.raw_retention_hours * _HOUR_MS))
    ]
    forwarded = {settings.source(entry.source).name for entry in settings.amplitude if entry.is_on}
    relayed = {settings.source(entry.source).name for entry in settings.relays if entry.is_on}
    return [
        *topics.shared(),
        *of_sources,
        *(topics.of_mail() if settings.mail.rules else ()),
        *(topics.of_objects() if settings.with_api_key else ()),
        *map(topics.of_forward, sorted(forwarded)),
        *map(topics.of_relays, sorted(relayed)),
    ]


async def ensure_topics(settings: Settings) -> list[str]:
    """Make the topics that are not there yet.

    Returns:
        Those it made.

    Raises:
        Retry, Fatal: Kafka would not.
    """
    wanted = {topic.name: topic.settings for topic in wanted_topics(settings)}
    async with Admin(settings.kafka.servers) as admin:
        return await admin.ensure_topics(wanted, settings.kafka.partitions, settings.kafka.replication_factor)


async def apply(
    sources: Iterable[str], clickhouse: ClickHouse, days: Mapping[str, Mapping[str, int]] = NO_LIMITS
) -> None:
    """Make what is missing in the databases; what is there stays, as long as it is to be kept.

    Args:
        sources: names of them.
        clickhouse: connected.
        days: for how many rows are kept, by source and tables.KEPT_AS.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not.
    """
    for source in sources:
        limits = days.get(source, ddl.FOREVER)
        for statement in ddl.statements(source, limits):
            await clickhouse.query(statement)
        engines = dict(map(tuple, (await clickhouse.query(_ENGINES, {"database": source})).result_rows))
        for statement in ddl.limits(source, limits, engines):
            await clickhouse.query(statement)


async def require_schema(source: str, clickhouse: ClickHouse) -> None:
    """Go on only with a database that is as declared.

    Raises:
        Fatal: it is not.
        Retry, Reject: ClickHouse would not say.
    """
    if missing := await missing_columns(source, clickhouse):
        raise Fatal(f"the database {source} lacks {', '.join(missing)}; run: gridstream schema apply")


async def missing_columns(source: str, clickhouse: ClickHouse) -> list[str]:
    """What a source's database lacks: tables, and columns of tables that are there.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not say.
    """
    sql = "SELECT table, groupArray(name) FROM system.columns WHERE database = {database:String} GROUP BY table"
    live = {table: set(names) for table, names in (await clickhouse.query(sql, {"database": source})).result_rows}
    missing = []
    for table in TABLES:
        declared = {column.name for column in ddl.stored_columns(table)}
        absent = declared - live.get(table.rows, set())
        missing += [table.rows] if table.rows not in live else [f"{table.rows}.{name}" for name in sorted(absent)]
    return missing
