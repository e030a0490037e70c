"""kill -9 of Kafka and of ClickHouse, at the moments that matter."""

import signal

import pytest

from tests.faults.catalogue import fault
from tests.faults.rig import CLICKHOUSE, KAFKA, Rig

_ANSWERS_503 = "posts wait or are answered 503, and SendGrid repeats them"
_LATE = "nothing: rows are seconds late"

DEATHS = [
    pytest.param(server, waiting, marks=fault(f"kill -9 of {server}, {when}", seen=seen), id=when.replace(" ", "-"))
    for server, when, waiting, seen in (
        (
            KAFKA,
            "before ingress and normalize publish",
            {"ingress": "before-publishing", "normalize": "before-publishing"},
            _ANSWERS_503,
        ),
        (
            KAFKA,
            "after normalize has published and store inserted, before they commit",
            {"normalize": "after-publishing", "store": "before-committing"},
            _ANSWERS_503,
        ),
        (CLICKHOUSE, "before store inserts", {"store": "before-inserting"}, _LATE),
        (CLICKHOUSE, "after store has inserted, before it commits", {"store": "after-inserting"}, _LATE),
    )
]


@pytest.mark.parametrize(("server", "waiting"), DEATHS)
async def test_a_server_that_dies_at_any_point_loses_and_repeats_nothing(
    rig: Rig, server: str, waiting: dict[str, str]
) -> None:
    async with rig.load() as load:
        for process, point in waiting.items():
            rig.plan(process, f"{point}.wait")
        for process, point in waiting.items():
            await rig.reached(process, point)
        await rig.kill(server)
        for process, point in waiting.items():
            rig.go(process, point)
        await load.more(100)


@fault("Kafka is stopped and started again", seen=_ANSWERS_503)
async def test_a_broker_that_is_restarted_loses_and_repeats_nothing(rig: Rig) -> None:
    async with rig.load() as load:
        await load.more(100)
        await rig.kill(KAFKA, signal.SIGTERM)
        await load.more(100)


@fault("ClickHouse is stopped and started again", seen=_LATE)
async def test_a_clickhouse_that_is_restarted_loses_and_repeats_nothing(rig: Rig) -> None:
    async with rig.load() as load:
        await load.more(100)
        await rig.kill(CLICKHOUSE, signal.SIGTERM)
        await load.more(100)
