"""Objects of SendGrid become the latest state in ClickHouse: the real engine, a stateful fake."""

from streams.objects.staging import Counts
from tests.streams.objects.world import World


class TestLists:
    async def test_a_change_of_the_count_shows(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        for number in range(100):
            world.fake.add_contact(f"{number}@example.com", lists=[vip.id])
        first = (await world.sync("lists"))["lists"]
        before = await world.rows("lists", "id, name, recipient_count, contact_count, is_deleted")
        for number in range(100, 200):
            world.fake.add_contact(f"{number}@example.com", lists=[vip.id])
        second = (await world.sync("lists"))["lists"]

        state = {"id": vip.id, "name": "VIP", "recipient_count": 100, "contact_count": 100, "is_deleted": False}
        assert before == [state]
        assert await world.rows("lists", "recipient_count, contact_count") == [
            {"recipient_count": 200, "contact_count": 200}
        ]
        assert (first.counts, second.counts) == (Counts(pulled=1, new=1), Counts(pulled=1, changed=1))

    async def test_adding_renaming_and_deleting_show(self, world: World) -> None:
        old, kept = world.fake.add_list("old"), world.fake.add_list("kept")
        await world.sync("lists")
        kept.name = "renamed"
        del world.fake._lists.all[old.id]
        world.fake.add_list("new")
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists", "name, is_deleted") == [
            {"name": "new", "is_deleted": False},
            {"name": "old", "is_deleted": True},
            {"name": "renamed", "is_deleted": False},
        ]
        assert outcome.counts == Counts(pulled=2, new=1, changed=1, gone=1)

    async def test_what_comes_back_is_not_deleted_any_more(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        await world.sync("lists")
        del world.fake._lists.all[vip.id]
        await world.sync("lists")
        world.fake._lists.all[vip.id] = vip
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists", "name, is_deleted") == [{"name": "VIP", "is_deleted": False}]
        assert outcome.counts == Counts(pulled=1, new=1)

    async def test_what_has_not_changed_is_left_alone(self, world: World) -> None:
        world.fake.add_list("VIP")
        await world.sync("lists")
        before = await world.rows("lists")
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists") == before
        assert outcome.counts == Counts(pulled=1)
