"""How sources share places and memory."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.chunks import Chunk, Fetched, unpacked
from streams.fairness import Turns, has_enough
from streams.transport import Ledger

MB = 1 << 20


class TestMemory:
    def test_one_alone_gets_three_quarters(self) -> None:
        assert not has_enough(96 * MB, 32 * MB)
        assert has_enough(97 * MB, 31 * MB)

    @given(st.integers(100, 10_000), st.integers(1, 20))
    def test_whoever_wants_all_of_it_leaves_a_quarter(self, total: int, size: int) -> None:
        held = 0
        while not has_enough(held, total - held):
            held += size

        assert total - held >= total / 4 - size

    def test_who_comes_later_gets_as_much_in_the_end(self) -> None:
        """Each asks for more as often as it may, and is done with two of what it has meanwhile."""
        held = {"first": 0, "second": 0}
        for step in range(20_000):
            for owner in ["first"] if step < 1_000 else ["second", "first"]:
                while not has_enough(held[owner], 10_000 - sum(held.values())):
                    held[owner] += 1
            held = {owner: max(0, has - 2) for owner, has in held.items()}

        assert held["first"] == pytest.approx(held["second"], rel=0.01)


class TestTurns:
    async def test_owners_take_turns_however_much_each_wants(self) -> None:
        turns = Turns(1)
        served: list[str] = []

        async def work(owner: str) -> None:
            async with turns.place(owner):
                served.append(owner)
                await asyncio.sleep(0)

        async with turns.place("somebody"):
            tasks = [asyncio.ensure_future(work(owner)) for owner in "aaaaabbc"]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

        assert "".join(served) == "abcabaaa"

    async def test_no_more_work_at_once_than_there_are_places(self) -> None:
        turns = Turns(2)
        working = most = 0

        async def work(owner: str) -> None:
            nonlocal working, most
            async with turns.place(owner):
                working += 1
                most = max(most, working)
                await asyncio.sleep(0)
                working -= 1

        await asyncio.gather(*(work(owner) for owner in "abc" * 5))

        assert most == 2

    async def test_places_of_those_who_give_up_are_given_to_others(self) -> None:
        turns = Turns(1)

        async def work(owner: str) -> None:
            async with turns.place(owner):
                pass

        async with turns.place("somebody"):
            leaving, given_up, staying = (asyncio.ensure_future(work(owner)) for owner in "abc")
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.sleep(0)
        leaving.cancel()  # it has been given the place, and has not yet noticed
        await asyncio.wait_for(staying, 5)
        await asyncio.wait_for(work("d"), 5)

        assert leaving.cancelled()

    async def test_work_that_fails_frees_its_place(self) -> None:
        turns = Turns(1)
        with pytest.raises(ZeroDivisionError):
            async with turns.place("a"):
                raise ZeroDivisionError
        async with asyncio.timeout(5), turns.place("a"):
            pass


def chunk(topic: str, size: int) -> Chunk:
    return Chunk(topic, 0, [SimpleNamespace(offset=0)], size, 0, 0, 0)


class TestFetching:
    def test_one_owner_may_fill_all_of_it(self) -> None:
        ledger = Ledger(limit=100)
        ledger.take(TP("flood.raw", 0), chunk("flood.raw", 99))
        assert ledger.sated(["flood"]) == set()
        ledger.take(TP("flood.raw", 1), chunk("flood.raw", 1))
        assert ledger.sated(["flood"]) == {"flood"}

    def test_who_has_most_of_it_waits_and_the_others_do_not(self) -> None:
        ledger = Ledger(limit=100)
        ledger.take(TP("flood.events.open", 0), chunk("flood.events.open", 40))
        ledger.take(TP("flood.events.click", 0), chunk("flood.events.click", 40))

        assert ledger.sated(["flood", "calm"]) == {"flood"}

    def test_what_was_acknowledged_is_free_again(self) -> None:
        ledger = Ledger(limit=100)
        flood = chunk("flood.raw", 100)
        ledger.take(TP("flood.raw", 0), flood)
        assert ledger.sated(["flood", "calm"]) == {"flood", "calm"}
        flood.acknowledge()
        assert ledger.sated(["flood", "calm"]) == set()

    def test_records_are_looked_for_where_the_owner_has_had_the_least(self) -> None:
        nothing: Any = deque()
        flood = {TopicPartition(f"flood.events.{name}", 0): nothing for name in ("open", "click")}
        fetched = Fetched(flood, unpacked)
        fetched[TopicPartition("calm.raw", 0)] = nothing
        assert [tp.topic for tp in fetched.keys()] == ["flood.events.open", "flood.events.click", "calm.raw"]  # noqa: SIM118  keys() is what aiokafka asks for
        fetched.taken["flood"] += 1

        assert [tp.topic for tp in fetched.keys()] == ["calm.raw", "flood.events.open", "flood.events.click"]  # noqa: SIM118
