"""ClickHouse away, refusing, silent, slow."""

import pytest

from tests.faults import proxy
from tests.faults.catalogue import fault
from tests.faults.rig import Rig

_LATE = "rows are late by the outage; the store's log says what it waits for"
_ATTEMPTS = 3

REFUSALS = [
    pytest.param(proxy.refusing(status, text, code), marks=fault(f"ClickHouse {name}", seen=_LATE), id=key)
    for key, name, status, text, code in (
        ("500", "answers 500", 500, "Internal Server Error", 0),
        ("503", "answers 503", 503, "upstream is not available", 0),
        ("parts", "answers TOO_MANY_PARTS", 500, "Too many parts (3001). Merges are slower. (TOO_MANY_PARTS)", 252),
        ("memory", "answers MEMORY_LIMIT_EXCEEDED", 500, "Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", 241),
        ("readonly", "answers TABLE_IS_READ_ONLY", 500, "Table is in readonly mode. (TABLE_IS_READ_ONLY)", 242),
    )
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_clickhouse_that_refuses_is_waited_for(rig: Rig, refusal: proxy.Behaviour) -> None:
    async with rig.load() as load:
        async with rig.clickhouse.doing(refusal):
            await rig.clickhouse.has_met(_ATTEMPTS)
            await load.more(100)
        rig.recovering()


@fault("ClickHouse refuses connections", seen=_LATE)
async def test_clickhouse_that_is_away_is_waited_for(rig: Rig) -> None:
    async with rig.load() as load:
        async with rig.clickhouse.away():
            await rig.says("store", "waiting to try again", _ATTEMPTS)
            await load.more(100)
        rig.recovering()


@fault("ClickHouse inserts, and the connection breaks before it says so", seen="nothing: rows are seconds late")
async def test_an_insert_that_landed_and_was_not_confirmed_counts_once(rig: Rig) -> None:
    async with rig.load():
        async with rig.clickhouse.doing(proxy.cutting):
            await rig.clickhouse.has_met(_ATTEMPTS)
        rig.recovering()


@fault("ClickHouse inserts, and never says so", seen="rows are late by clickhouse.timeout_seconds")
async def test_an_insert_that_is_never_answered_is_given_up_and_repeated(rig: Rig) -> None:
    async with rig.load():
        async with rig.clickhouse.doing(proxy.silent):
            await rig.clickhouse.has_met(1)
            await rig.says("store", "waiting to try again", 1)
        rig.recovering()


@fault("ClickHouse is slow", seen="rows are late by what each insert takes")
async def test_clickhouse_that_is_slow_is_waited_for(rig: Rig) -> None:
    async with rig.load():
        async with rig.clickhouse.doing(proxy.slow(1)):
            await rig.clickhouse.has_met(_ATTEMPTS)
        rig.recovering()


@fault("a load balancer before ClickHouse refuses large inserts (413)", seen="nothing: they are halved until they fit")
async def test_inserts_that_are_too_large_are_halved(rig: Rig) -> None:
    async with rig.load(), rig.clickhouse.doing(proxy.refusing_large(5_000)):
        await rig.clickhouse.has_met(50)
    account = (await rig.settled()).sources[rig.pipeline.source]
    assert account.refused == 0
