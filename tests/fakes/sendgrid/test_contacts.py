"""Finding, reading and deleting contacts (facts 2.1)."""

from typing import Any

import pytest

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

CONTACTS = "/v3/marketing/contacts"
EMAILS = f"{CONTACTS}/search/emails"


class TestSearchByEmail:
    async def test_answers_by_lower_case_address(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: 200 if any match; alternate addresses match; empty ones don't count."""
        ada = fake.add_contact("ada@example.com", alternate_emails=["lovelace@example.com"])

        reply = await call("POST", EMAILS, {"emails": ["ADA@example.com", "lovelace@example.com", "x@example.com", ""]})

        assert reply.status == 200
        assert {email: each.get("contact", {}).get("id") for email, each in reply.body["result"].items()} == {
            "ada@example.com": ada.id,
            "lovelace@example.com": ada.id,
            "x@example.com": None,
        }
        assert reply.body["result"]["x@example.com"] == {"error": "contact not found"}

    async def test_is_404_if_none_match(self, call: Caller) -> None:
        """Facts 2.1."""
        assert (await call("POST", EMAILS, {"emails": ["ada@example.com"]})).status == 404

    @pytest.mark.parametrize(
        "emails", [["ada@example.com", "x"], [f"{number}@example.com" for number in range(101)], "a@example.com", [""]]
    )
    async def test_is_400_for_a_malformed_address_or_more_than_100(
        self, fake: FakeSendGrid, call: Caller, emails: object
    ) -> None:
        """Facts 2.1."""
        fake.add_contact("ada@example.com")

        assert (await call("POST", EMAILS, {"emails": emails})).status == 400


class TestSearchByIdentifier:
    async def test_finds_by_each_type(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: as by address, keyed by the value."""
        known: dict[str, Any] = {
            "email": "ada@example.com",
            "phone_number_id": "+15005550006",
            "external_id": "1",
            "anonymous_id": "2",
        }
        ada = fake.add_contact(**known)

        for kind, value in known.items():
            reply = await call("POST", f"{CONTACTS}/search/identifiers/{kind}", {"identifiers": [value]})
            assert reply.body["result"][value]["contact"]["id"] == ada.id
        assert (await call("POST", f"{CONTACTS}/search/identifiers/external_id", {"identifiers": ["9"]})).status == 404
        assert (await call("POST", f"{CONTACTS}/search/identifiers/name", {"identifiers": ["9"]})).status == 404


class TestSearchByQuery:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("email = 'ada@example.com'", {"ada"}),
            ("email IN ('ada@example.com', \"bob@example.com\")", {"ada", "bob"}),
            ("email LIKE '%@example.com' AND NOT city = 'Paris'", {"bob", "o'brien"}),
            ("first_name IS NULL", {"bob", "o'brien"}),
            ("first_name IS NOT NULL OR email = 'bob@example.com'", {"ada", "bob"}),
            ("(city = 'Paris' OR city = 'Rome') AND plan = 'gold'", {"ada"}),
            ("email = 'o\\'brien@example.com'", {"o'brien"}),
            ("email = 'ADA@example.com'", set()),
            ("email = LOWER('ADA@example.com')", {"ada"}),
            ("`age1` > 17 AND age1 BETWEEN 18 AND 40", {"ada"}),
        ],
    )
    async def test_finds(self, fake: FakeSendGrid, call: Caller, query: str, found: set[str]) -> None:
        """Facts 2.1: the query language; addresses are to be in lower case."""
        plan, age = fake.add_field("plan"), fake.add_field("age1", "Number")
        fake.add_contact("ada@example.com", first_name="Ada", city="Paris", custom={plan.id: "gold", age.id: 36})
        fake.add_contact("bob@example.com", city="Rome")
        fake.add_contact("o'brien@example.com")

        reply = await call("POST", f"{CONTACTS}/search", {"query": query})

        assert {each["email"].partition("@")[0] for each in reply.body["result"]} == found

    async def test_finds_who_is_on_a_list_and_shows_50_of_them(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: with the count of all."""
        vip = fake.add_list("VIP")
        for number in range(51):
            fake.add_contact(f"{number}@example.com", lists=[vip.id])
        fake.add_contact("ada@example.com")

        reply = await call("POST", f"{CONTACTS}/search", {"query": f"CONTAINS(list_ids, '{vip.id}')"})

        assert (len(reply.body["result"]), reply.body["contact_count"]) == (50, 51)

    @pytest.mark.parametrize(
        "query", ["", "email", "email = 'o'brien@example.com'", "email =", "email IN ('a'", "= 5", "email ~ 1"]
    )
    async def test_is_400_for_what_it_does_not_understand(self, call: Caller, query: str) -> None:
        """Facts 2.1: quote values yourself."""
        assert (await call("POST", f"{CONTACTS}/search", {"query": query})).status == 400


class TestReading:
    async def test_one(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: all its keys; facts 1.2: custom fields by name."""
        plan, vip = fake.add_field("plan"), fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id], custom={plan.id: "gold"}, first_name="Ada")

        body = (await call("GET", f"{CONTACTS}/{ada.id}")).body

        assert (body["id"], body["email"], body["first_name"], body["last_name"]) == (
            ada.id,
            "ada@example.com",
            "Ada",
            "",
        )
        assert (body["list_ids"], body["segment_ids"], body["custom_fields"]) == ([vip.id], [], {"plan": "gold"})
        assert body["created_at"] == body["updated_at"] == fake.clock.iso()
        assert body["_metadata"] == {"self": f"{fake.url}{CONTACTS}/{ada.id}"}
        assert (await call("GET", f"{CONTACTS}/nobody")).status == 404

    async def test_several(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: at most 100 ids."""
        ada = fake.add_contact("ada@example.com")

        assert [
            each["id"] for each in (await call("POST", f"{CONTACTS}/batch", {"ids": [ada.id, "x"]})).body["result"]
        ] == [ada.id]
        assert (await call("POST", f"{CONTACTS}/batch", {"ids": ["x"] * 101})).status == 400

    async def test_a_sample_and_the_count(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: the 50 most recent, sorted by address."""
        for number in range(60):
            fake.add_contact(f"{number:02}@example.com")

        sample = (await call("GET", CONTACTS)).body

        assert [each["email"] for each in sample["result"]] == [f"{number:02}@example.com" for number in range(10, 60)]
        assert sample["contact_count"] == 60
        assert (await call("GET", f"{CONTACTS}/count")).body == {"contact_count": 60, "billable_count": 60}


class TestDeleting:
    async def test_happens_in_a_job(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.1: by ids or all, exactly one of the two; 202."""
        ada, bob = fake.add_contact("ada@example.com"), fake.add_contact("bob@example.com")

        first = await call("DELETE", CONTACTS, ids=ada.id)
        fake.clock.advance(1)

        assert first.status == 202
        assert fake.contacts.keys() == {bob.id}
        assert (await call.job(first.body["job_id"]))["results"]["deleted_count"] == 1
        assert (await call("DELETE", CONTACTS)).status == 400
        assert (await call("DELETE", CONTACTS, ids=bob.id, delete_all_contacts="true")).status == 400
        await call("DELETE", CONTACTS, delete_all_contacts="true")
        fake.clock.advance(1)
        assert not fake.contacts
        assert not fake.visible_contacts

    async def test_an_identifier_fails_where_it_is_the_only_one(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.1."""
        ada = fake.add_contact("ada@example.com", external_id="1")
        path = f"{CONTACTS}/{ada.id}/identifiers"

        await call("DELETE", path, {"identifier_type": "EXTERNALID", "identifier_value": "1"})
        fake.clock.advance(1)
        last = await call("DELETE", path, {"identifier_type": "EMAIL", "identifier_value": "ada@example.com"})
        fake.clock.advance(1)

        assert fake.contacts[ada.id].fields == {"email": "ada@example.com"}
        assert (await call.job(last.body["job_id"]))["status"] == "failed"
        assert (await call("DELETE", path, {"identifier_type": "NAME"})).status == 400
