"""Rows that are kept for a number of days only."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from connectors.kafka import Admin
from schemas.columns import time_text
from schemas.ddl import FOREVER, identifier
from schemas.tables import CALLS, DELIVERIES, EVENT_TABLES
from streams.accounting import SourceAccount, collect
from streams.schema import apply, ensure_topics
from streams.sections import Source
from streams.settings import Settings, load

LIMITS = {"events": 30, "calls": 30}


async def store(clickhouse: ClickHouse, source: str, days_ago: int) -> None:
    """An event, a call, and its delivery."""
    at = time_text(int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp() * 1000))
    about = {"received_at": at, "timestamp": at}
    delivery = {"partition": 0, "offset": days_ago, "received_at": at, "events": 1, "identities": [days_ago]}
    for table, row in (
        (EVENT_TABLES["open"], {**about, "event_id": str(days_ago)}),
        (CALLS, {**about, "message_id": str(days_ago)}),
        (DELIVERIES, delivery),
    ):
        await clickhouse.insert(f"{identifier(source)}.{identifier(table.rows)}", [orjson.dumps(row)])


async def account(servers: Settings, clickhouse: ClickHouse, source: str) -> SourceAccount:
    settings = servers.model_copy(update={"sources": (Source(name=source),)})
    await ensure_topics(settings)
    async with Admin(servers.kafka.cluster) as admin:
        return (await collect(settings, admin, clickhouse)).sources[source]


async def stored(clickhouse: ClickHouse, source: str, table: str) -> int:
    sql = f"SELECT count() FROM {identifier(source)}.{identifier(table)}"
    return int((await clickhouse.query(sql)).result_rows[0][0])


async def test_what_is_older_goes_and_the_account_balances_meanwhile(
    servers: Settings, clickhouse: ClickHouse, source: str
) -> None:
    await apply({source: FOREVER}, clickhouse)
    for days_ago in (0, 10, 31, 40):
        await store(clickhouse, source, days_ago)
    assert (await account(servers, clickhouse, source)).rows == 4

    await apply({source: LIMITS}, clickhouse)
    found = await account(servers, clickhouse, source)
    for table in ("open_rows", "deliveries_rows", "calls_rows"):
        await clickhouse.query(f"OPTIMIZE TABLE {identifier(source)}.{table} FINAL")

    assert found.balanced
    assert (found.accepted, found.rows) == (2, 2)
    assert await account(servers, clickhouse, source) == found
    assert [await stored(clickhouse, source, table) for table in ("open_rows", "deliveries_rows", "calls")] == [2, 2, 2]


async def test_a_limit_is_set_once_and_taken_back(clickhouse: ClickHouse, source: str) -> None:
    async def ttl() -> list[str]:
        sql = "SELECT name FROM system.tables WHERE database = {source:String} AND engine_full LIKE '% TTL %'"
        return sorted(name for (name,) in (await clickhouse.query(sql, {"source": source})).result_rows)

    async def mutations() -> int:
        sql = "SELECT count() FROM system.mutations WHERE database = {source:String}"
        return int((await clickhouse.query(sql, {"source": source})).result_rows[0][0])

    await apply({source: FOREVER}, clickhouse)
    without = await ttl()
    await apply({source: LIMITS}, clickhouse)
    limited, done = await ttl(), await mutations()
    await apply({source: LIMITS}, clickhouse)

    assert (await ttl(), await mutations()) == (limited, done)
    assert {"open_rows", "deliveries_rows", "removals_rows", "calls_rows", "hourly_rows"} <= set(limited)
    await apply({source: FOREVER}, clickhouse)
    assert await ttl() == without


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ('{"clicks": 3}', "clicks is none"),
        ('{"events": 3}', "expected at least 9 retention_days for events"),
        ('{"events": 0}', "retention_days.events"),
    ],
)
def test_what_cannot_be_kept_for_so_long_is_told(days: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSTREAM_SOURCES", f'[{{"retention_days": {days}}}]')
    with pytest.raises(Fatal, match=expected):
        load()
