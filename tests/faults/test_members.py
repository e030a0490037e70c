"""Workers that join, leave, die and freeze while partitions move between them."""

import os
import signal

import pytest

from tests.faults.catalogue import fault
from tests.faults.rig import CLICKHOUSE, KAFKA, Rig

_LATE = "nothing: rows are seconds late"
_FROZEN = "what it had waits 10 s for its session to end; then the other workers do it"
ROLES = ("normalize", "store")


@fault("a second and a third worker of both roles join and leave", seen=_LATE)
async def test_workers_that_join_and_leave_under_load_lose_and_repeat_nothing(rig: Rig) -> None:
    async with rig.load() as load:
        async with rig.joined("normalize", 2), rig.joined("store", 2):
            for role in ROLES:
                await rig.members(role, 2)
            async with rig.joined("normalize", 3), rig.joined("store", 3):
                for role in ROLES:
                    await rig.members(role, 3)
                await load.more(100)
            await load.more(100)
        rig.recovering()


@pytest.mark.parametrize(
    ("role", "victim"),
    [
        pytest.param(
            role,
            victim,
            marks=fault(f"kill -9 of {victim}, while {role} rebalances", seen=_LATE),
            id=f"{role}-{victim}",
        )
        for role, victim in (
            ("normalize", "normalize"),
            ("store", "store"),
            ("normalize", KAFKA),
            ("store", CLICKHOUSE),
        )
    ],
)
async def test_a_death_in_the_middle_of_a_rebalance_loses_and_repeats_nothing(rig: Rig, role: str, victim: str) -> None:
    async with rig.load() as load:
        rig.plan(role, "rebalancing.wait")
        async with rig.joined(role):
            await rig.reached(role, "rebalancing")
            await rig.kill(victim)
            rig.go(role, "rebalancing")
            await rig.members(role, 2)
            await load.more(100)


@fault("SIGTERM to store, during an insert", seen=_LATE)
async def test_a_store_that_is_told_to_stop_finishes_its_insert(rig: Rig) -> None:
    async with rig.load():
        rig.plan("store", "before-inserting.wait")
        await rig.reached("store", "before-inserting")
        before = rig.pid("store")
        os.kill(before, signal.SIGTERM)
        rig.go("store", "before-inserting")
        await rig.gone("store", before)


@fault("a worker of each role freezes for longer than its session, and wakes up", seen=_FROZEN)
async def test_zombies_repeat_nothing_that_readers_see(rig: Rig) -> None:
    async with rig.load() as load:
        async with rig.joined("normalize"), rig.joined("store"):
            for role in ROLES:
                await rig.members(role, 2)
            frozen = [rig.pid(role) for role in ROLES]
            rig.plan("normalize", "before-publishing.stop")
            rig.plan("store", "before-inserting.stop")
            for role in ROLES:
                await rig.members(role, 1)
            await load.more(100)
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
            for role in ROLES:
                await rig.members(role, 2)
            await load.more(100)
        rig.recovering()
