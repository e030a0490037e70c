"""Where a new destination begins: with what comes in from now on, not with days of what others have had already."""

from connectors.kafka import Admin
from streams.groups import groups
from streams.settings import Settings


async def ensure_beginnings(settings: Settings) -> None:
    """Have consumer groups of destinations that never read begin where their topics end.

    Raises:
        Retry, Fatal: Kafka would not.
    """
    async with Admin(settings.kafka.cluster) as admin:
        for group in groups(settings):
            if group.destination:
                await admin.begin_at_end(group.name, group.topics)
