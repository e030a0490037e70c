"""Bringing Kafka and ClickHouse to what is declared: topics, databases, tables and views."""

from collections.abc import Mapping

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from connectors.kafka import Admin
from schemas import ddl, topics
from schemas.tables import TABLES
from streams.settings import Settings

_HOUR_MS = 3_600_000
_ENGINES = "SELECT name, engine_full FROM system.tables WHERE database = {database:String}"
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


_RAW_SHARE = 0.5
"""Of the room for Kafka that raw topics get: what a replay reads."""
_LARGEST_SEGMENT = 2**27
_SMALLEST_SEGMENT = topics.EVENT_MAX_BYTES + 2**20
"""A segment has to hold the largest record."""


def capped(settings: Settings) -> dict[str, dict[str, str]]:
    """The settings of all topics by name; with the embedded Kafka, those that keep it within kafka.embedded_bytes.

    Kafka removes whole segments and never the last one, so a partition takes up to a segment more than is retained.

    Raises:
        Fatal: so little is not enough for so many partitions.
    """
    wanted = {topic.name: dict(topic.settings) for topic in wanted_topics(settings)}
    room, partitions = settings.kafka.embedded_bytes, settings.kafka.partitions
    if settings.kafka.bootstrap_servers or not room:
        return wanted
    raw = {topics.raw(source.name) for source in settings.sources}
    others = wanted.keys() - raw
    of_others = max(int(room * (1 - _RAW_SHARE)), len(others) * partitions * _SMALLEST_SEGMENT)
    least = len(wanted) * partitions * _SMALLEST_SEGMENT
    if room < least:
        raise Fatal(
            f"kafka.embedded_bytes: found {room:,}, expected at least {least:,}: "
            f"{len(wanted)} topics of {partitions} partitions, each with room for a large record"
        )
    for names, share in ((raw, room - of_others), (others, of_others)):
        each = share // (len(names) * partitions)
        segment = min(max(each // 4, _SMALLEST_SEGMENT), _LARGEST_SEGMENT)
        for name in names:
            wanted[name] |= {"retention.bytes": str(each - segment), "segment.bytes": str(segment)}
    return wanted


async def configure_topics(settings: Settings) -> None:
    """Have the topics of an embedded Kafka that are there the settings that they would be made with now.

    Raises:
        Retry, Fatal: Kafka would not, or kafka.embedded_bytes is too little.
    """
    async with Admin(settings.kafka.cluster) as admin:
        await admin.configure_topics(capped(settings))


async def ensure_topics(settings: Settings) -> list[str]:
    """Make the topics that are not there yet.

    Returns:
        Those it made.

    Raises:
        Retry, Fatal: Kafka would not.
    """
    async with Admin(settings.kafka.cluster) as admin:
        return await admin.ensure_topics(capped(settings), settings.kafka.partitions, settings.kafka.replication_factor)


async def apply(sources: Mapping[str, Mapping[str, int]], clickhouse: ClickHouse, cluster: str = "") -> None:
    """Make what is missing in the databases; a database of an older version gets the columns that it lacks.

    Args:
        sources: whose databases; of each, for how many days rows are kept by tables.KEPT_AS, without a limit where
            none is named.
        clickhouse: connected.
        cluster: of ClickHouse servers that they are on; empty: on this one alone.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not.
    """
    for source, limits in sources.items():
        live = await _live_columns(source, clickhouse)
        for statement in ddl.statements(source, limits, cluster, live):
            await clickhouse.query(statement)
        engines = dict(map(tuple, (await clickhouse.query(_ENGINES, {"database": source})).result_rows))
        for statement in ddl.limits(source, limits, engines, cluster):
            await clickhouse.query(statement)


async def _live_columns(source: str, clickhouse: ClickHouse) -> ddl.LiveColumns:
    sql = "SELECT table, groupArray((name, type)) FROM system.columns WHERE database = {database:String} GROUP BY table"
    return {table: dict(columns) for table, columns in (await clickhouse.query(sql, {"database": source})).result_rows}


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
    live = await _live_columns(source, clickhouse)
    missing = []
    for table in TABLES:
        declared = {column.name for column in ddl.stored_columns(table)}
        absent = declared - live.get(table.rows, {}).keys()
        missing += [table.rows] if table.rows not in live else [f"{table.rows}.{name}" for name in sorted(absent)]
    return missing
