"""How each destination is served, as Kafka and ClickHouse know it: what waits, since when, what was refused and why."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin
from schemas.ddl import identifier
from streams.groups import Group, Offsets, Partition

_REFUSED = """
SELECT reason, count() AS letters FROM {database}.dead_letters
WHERE state = 'waiting' AND step = {{step:String}}
    AND (step != 'relay' OR JSONExtractString(payload, 'relay') = {{relay:String}})
GROUP BY reason ORDER BY letters DESC LIMIT 20
"""


@dataclass(frozen=True, slots=True)
class Destination:
    """How one destination is served.

    Attributes:
        done: records that need nothing more, of those that Kafka still has: delivered, put aside, or not meant for it.
        delayed: records that wait for it.
        oldest_waiting_seconds: since when the oldest of them waits.
        refused: dead letters that wait for a person, by reason: the 20 most frequent.
    """

    done: int = 0
    delayed: int = 0
    oldest_waiting_seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)


async def destination(
    group: Group,
    committed: Mapping[Partition, int],
    offsets: Offsets,
    lags: Mapping[Partition, int],
    admin: Admin,
    clickhouse: ClickHouse,
) -> Destination:
    """Ask for one destination.

    Args:
        group: its consumer group.
        committed: of the group.
        offsets: of its topics.
        lags: of the group.
        admin: entered.
        clickhouse: connected.

    Raises:
        Retry, Reject, Fatal: one of them does not answer as it should.
    """
    first = {
        partition: max(committed.get(partition, 0), offsets[partition][0]) for partition, lag in lags.items() if lag
    }
    oldest = await admin.oldest(first)
    refused = await clickhouse.query(
        _REFUSED.format(database=identifier(group.source)), {"step": group.role, "relay": group.destination}
    )
    return Destination(
        done=sum(
            max(0, offset - offsets[partition][0]) for partition, offset in committed.items() if partition in lags
        ),
        delayed=sum(lags.values()),
        oldest_waiting_seconds=0.0 if oldest is None else max(0.0, round(time.time() - oldest / 1000, 1)),
        refused=dict(map(tuple, refused.result_rows)),
    )
