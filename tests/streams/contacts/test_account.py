"""How many people are in memory at once."""

import asyncio

from streams.contacts.account import Room


class TestRoom:
    async def test_small_parts_are_in_it_together_and_a_large_one_waits(self) -> None:
        room, said = Room(10), []

        async def stay(name: str, people: int, until: asyncio.Event) -> None:
            async with room.of(people):
                said.append(name)
                await until.wait()

        gone = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(stay("first", 4, gone))
            group.create_task(stay("second", 4, gone))
            large = group.create_task(stay("large", 9, gone))
            while len(said) < 2:
                await asyncio.sleep(0)
            assert said == ["first", "second"]
            assert not large.done()
            gone.set()

        assert said == ["first", "second", "large"]

    async def test_what_is_larger_than_the_room_gets_in_alone(self) -> None:
        room = Room(10)
        async with asyncio.timeout(5), room.of(11):
            pass
