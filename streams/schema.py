"""Bringing Kafka and ClickHouse to what is declared: topics, databases, tables and views."""

from collections.abc import Iterable

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin
from schemas import ddl, topics
from streams.settings import Settings


async def ensure_topics(settings: Settings) -> list[str]:
    """Make the topics of all sources that are not there yet.

    Returns:
        Those it made.

    Raises:
        Retry, Fatal: Kafka would not.
    """
    wanted = {topic.name: topic.settings for source in settings.sources for topic in topics.of_source(source.name)}
    async with Admin(settings.kafka.servers) as admin:
        return await admin.ensure_topics(wanted, settings.kafka.partitions, settings.kafka.replication_factor or -1)


async def apply(sources: Iterable[str], clickhouse: ClickHouse) -> None:
    """Make what is missing in the databases; what is there stays.

    Raises:
        Retry, Reject, Fatal: ClickHouse would not.
    """
    for source in sources:
        for statement in ddl.statements(source):
            await clickhouse.query(statement)
