"""Lists and who is on them (facts 2.2)."""

import pytest

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

LISTS = "/v3/marketing/lists"


class TestLists:
    async def test_live_their_lives(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2: 201, 200, 200, 204, then 404."""
        made = await call("POST", LISTS, {"name": "VIP"})
        one = f"{LISTS}/{made.body['id']}"
        renamed = await call("PATCH", one, {"name": "Gold"})

        assert made.status == 201
        assert made.body == {
            "id": made.body["id"],
            "name": "VIP",
            "contact_count": 0,
            "_metadata": {"self": fake.url + one},
        }
        assert len(made.body["id"]) == 36
        assert (renamed.status, renamed.body["name"]) == (200, "Gold")
        assert (await call("GET", one)).body["name"] == "Gold"
        assert (await call("DELETE", one)).status == 204
        assert (await call("GET", one)).status == 404

    @pytest.mark.parametrize("name", ["", "a" * 101, None, 5])
    async def test_names_have_1_to_100_characters(self, call: Caller, name: object) -> None:
        """Facts 2.2."""
        assert (await call("POST", LISTS, {"name": name})).status == 400

    async def test_a_second_one_of_a_name_is_refused_unless_chosen_otherwise(
        self, fake: FakeSendGrid, call: Caller
    ) -> None:
        """Facts 2.2: not documented."""
        fake.add_list("VIP")

        assert (await call("POST", LISTS, {"name": "VIP"})).status == 400
        fake.choices.unique_list_names = False
        assert (await call("POST", LISTS, {"name": "VIP"})).status == 201

    async def test_an_account_has_at_most_1000(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2."""
        for number in range(1000):
            fake.add_list(str(number))

        reply = await call("POST", LISTS, {"name": "one more"})

        assert (reply.status, reply.messages) == (400, ["an account can have at most 1000 lists"])

    async def test_counts_and_samples_show_the_members(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2: at most 50 of them."""
        vip = fake.add_list("VIP")
        for number in range(51):
            fake.add_contact(f"{number}@example.com", lists=[vip.id])

        sampled = (await call("GET", f"{LISTS}/{vip.id}", contact_sample="true")).body
        count = (await call("GET", f"{LISTS}/{vip.id}/contacts/count")).body

        assert (sampled["contact_count"], len(sampled["contact_sample"])) == (51, 50)
        assert count == {"contact_count": 51, "billable_count": 51}


class TestPages:
    async def pages(self, call: Caller, url: str) -> list[list[str]]:
        pages = []
        while url:
            body = (await call("GET", url)).body
            pages.append([each["name"] for each in body["result"]])
            url = body["_metadata"].get("next", "")
        return pages

    @pytest.mark.parametrize(("number", "sizes"), [(0, [0]), (1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2])])
    async def test_are_followed_by_full_urls_until_absent(
        self, fake: FakeSendGrid, call: Caller, number: int, sizes: list[int]
    ) -> None:
        """Facts 2.2 and 7.1."""
        for each in range(number):
            fake.add_list(str(each))

        pages = await self.pages(call, f"{LISTS}?page_size=2")

        assert [len(page) for page in pages] == sizes
        assert {name for page in pages for name in page} == {str(each) for each in range(number)}

    async def test_go_back_as_well(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2: `_metadata` has self, prev, next, count."""
        for each in range(5):
            fake.add_list(str(each))
        first = (await call("GET", LISTS, page_size="2")).body
        second = (await call("GET", first["_metadata"]["next"])).body
        third = (await call("GET", second["_metadata"]["next"])).body

        assert "prev" not in first["_metadata"]
        assert (await call("GET", second["_metadata"]["prev"])).body["result"] == first["result"]
        assert (await call("GET", third["_metadata"]["prev"])).body["result"] == second["result"]
        assert third["_metadata"]["count"] == 5

    async def test_have_100_unless_asked_for_1_to_1000(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2."""
        for each in range(101):
            fake.add_list(str(each))

        assert len((await call("GET", LISTS)).body["result"]) == 100
        assert len((await call("GET", LISTS, page_size="1000")).body["result"]) == 101
        assert [(await call("GET", LISTS, page_size=size)).status for size in ("0", "1001", "x")] == [400] * 3
        assert (await call("GET", LISTS, page_token="§")).status == 400


class TestLeaving:
    async def test_takes_contacts_off_the_list_and_no_further(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2: membership only; 202 with a job."""
        vip, other = fake.add_list("VIP"), fake.add_list("Other")
        ada = fake.add_contact("ada@example.com", lists=[vip.id, other.id])
        bob = fake.add_contact("bob@example.com", lists=[vip.id])

        reply = await call("DELETE", f"{LISTS}/{vip.id}/contacts", contact_ids=f"{ada.id},{bob.id}")

        assert reply.status == 202
        assert len(fake.members("VIP")) == 2
        fake.clock.advance(1)
        assert fake.members("VIP") == set()
        assert fake.members("Other") == {"ada@example.com"}
        assert fake.jobs[reply.body["job_id"]].deleted == 2
        assert len(fake.contacts) == 2

    async def test_is_404_if_the_list_or_any_contact_does_not_exist(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.2."""
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id])

        assert (await call("DELETE", f"{LISTS}/nowhere/contacts", contact_ids=ada.id)).status == 404
        assert (await call("DELETE", f"{LISTS}/{vip.id}/contacts", contact_ids=f"{ada.id},nobody")).status == 404
        assert (await call("DELETE", f"{LISTS}/{vip.id}/contacts")).status == 400
        fake.clock.advance(1)
        assert fake.members("VIP") == {"ada@example.com"}

    async def test_its_job_can_be_asked_for_only_where_chosen(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.3 names upserts, imports and deletions only."""
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id])
        job = (await call("DELETE", f"{LISTS}/{vip.id}/contacts", contact_ids=ada.id)).body["job_id"]
        path = f"/v3/marketing/contacts/imports/{job}"

        assert (await call("GET", path)).status == 404
        fake.choices.removal_jobs_readable = True
        assert (await call("GET", path)).body["status"] == "pending"

    async def test_is_seen_later(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 9: membership stays as it was for a while."""
        fake.timing.removal_lag = 60
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id])
        await call("DELETE", f"{LISTS}/{vip.id}/contacts", contact_ids=ada.id)
        fake.clock.advance(1)

        assert fake.members("VIP") == set()
        assert (await call("GET", f"/v3/marketing/contacts/{ada.id}")).body["list_ids"] == [vip.id]
        fake.clock.advance(60)
        assert (await call("GET", f"/v3/marketing/contacts/{ada.id}")).body["list_ids"] == []

    @pytest.mark.parametrize(("with_contacts", "status", "left"), [("false", 204, 1), ("true", 200, 0)])
    async def test_of_a_deleted_list(
        self, fake: FakeSendGrid, call: Caller, with_contacts: str, status: int, left: int
    ) -> None:
        """Facts 2.2: with `delete_contacts=true` the contacts go too, in a job."""
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id])

        reply = await call("DELETE", f"{LISTS}/{vip.id}", delete_contacts=with_contacts)
        fake.clock.advance(1)

        assert reply.status == status
        assert len(fake.contacts) == left
        assert not left or fake.contacts[ada.id].list_ids == frozenset()
