"""Custom and reserved fields (facts 2.6)."""

import pytest

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

FIELDS = "/v3/marketing/field_definitions"


class TestFields:
    async def test_reserved_ones_are_listed_and_custom_ones_only_where_there_are_any(
        self, fake: FakeSendGrid, call: Caller
    ) -> None:
        """Facts 2.6: the key `custom_fields` may be missing."""
        bare = (await call("GET", FIELDS)).body
        fake.add_field("plan")

        custom = (await call("GET", FIELDS)).body["custom_fields"]

        assert "custom_fields" not in bare
        assert bare["reserved_fields"][0] == {"id": "_rf0_T", "name": "first_name", "field_type": "Text"}
        assert bare["reserved_fields"][14]["name"] == "unique_name"
        assert {"last_opened", "email_domains"} <= {
            each["name"] for each in bare["reserved_fields"] if "read_only" in each
        }
        assert custom == [
            {"id": "e1_T", "name": "plan", "field_type": "Text", "_metadata": {"self": f"{fake.url}{FIELDS}/e1_T"}}
        ]

    @pytest.mark.parametrize(("field_type", "suffix"), [("Text", "_T"), ("Number", "_N"), ("Date", "_D")])
    async def test_are_created_with_200_and_an_id_that_shows_the_type(
        self, call: Caller, field_type: str, suffix: str
    ) -> None:
        """Facts 2.6."""
        reply = await call("POST", FIELDS, {"name": "one", "field_type": field_type})

        assert reply.status == 200
        assert reply.body == {"id": f"e1{suffix}", "name": "one", "field_type": field_type}

    @pytest.mark.parametrize("name", ["", "1st", "a b", "a-b", "a" * 101, "first_name", "Last_Opened", "PLAN"])
    async def test_names_follow_rules(self, fake: FakeSendGrid, call: Caller, name: str) -> None:
        """Facts 2.6: letters, digits, underscores; unique in any letter case; not a reserved one."""
        fake.add_field("plan")

        assert (await call("POST", FIELDS, {"name": name, "field_type": "Text"})).status == 400

    async def test_are_renamed_and_deleted(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.6: 200 and 204; the values go too, later."""
        fake.timing.field_removal = 60
        field = fake.add_field("plan")
        ada = fake.add_contact("ada@example.com", custom={field.id: "gold"})

        assert (await call("PATCH", f"{FIELDS}/{field.id}", {"name": "Plan"})).body["name"] == "Plan"
        assert (await call("DELETE", f"{FIELDS}/{field.id}")).status == 204
        assert fake.contacts[ada.id].custom == {field.id: "gold"}
        fake.clock.advance(60)
        assert fake.contacts[ada.id].custom == {}
        assert (await call("DELETE", f"{FIELDS}/{field.id}")).status == 404

    async def test_an_account_has_at_most_500(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.6."""
        for number in range(500):
            fake.add_field(f"f{number}")

        assert (await call("POST", FIELDS, {"name": "more", "field_type": "Text"})).status == 400

    async def test_a_type_is_one_of_three(self, call: Caller) -> None:
        """Facts 2.6."""
        assert (await call("POST", FIELDS, {"name": "one", "field_type": "Bool"})).status == 400
