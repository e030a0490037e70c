"""Audiences as Segment sends them: each field, default, limit and error of its hosted lists destination."""

from typing import Any

import orjson
import pytest

from schemas.segment import audience, calls
from tests.streams.contacts.town import Town

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
UPLOADS = ("PUT", "/v3/marketing/contacts")
RECEIVED_AT = 1_790_000_000_000
KEY = "big_spenders"


def identify(user_id: str = "u1", *, said: object = True, **traits: Any) -> dict[str, Any]:
    """What Engage sends to destinations that take identifies."""
    return {"type": "identify", "userId": user_id, "traits": {KEY: said} | traits, "context": {"personas": personas()}}


def track(user_id: str = "u1", *, said: object = True, email: str = "", **properties: Any) -> dict[str, Any]:
    """And to those that take tracks: the address is in the context."""
    event = "Audience Entered" if said else "Audience Exited"
    about = {"audience_key": KEY, KEY: said} | properties
    context = {"personas": personas(), "traits": {"email": email} if email else {}}
    return {"type": "track", "userId": user_id, "event": event, "properties": about, "context": context}


def personas(**facts: str) -> dict[str, str]:
    usual = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": KEY, "space_id": "spa_1"}
    return usual | facts


async def come(town: Town, *said: dict[str, Any]) -> None:
    """Calls come, one after the other, and are synced."""
    at = RECEIVED_AT + 1000 * len(town.said)
    for number, document in enumerate(said):
        body = {"messageId": f"m{at + number}"} | document
        (call,) = calls("batch", orjson.dumps({"batch": [body]}), at + number)
        if change := audience(call, town.account.name):
            town.said.append(change)
            await town.hear(change)
    await town.flush()


def uploaded(town: Town) -> list[dict[str, Any]]:
    """The contacts of all uploads."""
    return [contact for call in town.fake.called(*UPLOADS) for contact in call.body["contacts"]]


class TestIdentifiers:
    @pytest.mark.parametrize(
        "call",
        [
            identify(email=ADA),
            identify(email="Ada@Example.com "),
            track(email=ADA),
            {**track(), "properties": {"audience_key": KEY, KEY: True, "email": ADA}},
            identify(ADA),
            identify(email=ADA) | {"context": {"personas": personas(), "traits": {"email": BOB}}},
        ],
    )
    async def test_the_address_is_the_only_one(self, town: Town, call: dict[str, Any]) -> None:
        """Of the traits, else of the context's, else of the properties, else the user id where it is one."""
        await come(town, call | {"anonymousId": "a1"})

        assert uploaded(town) == [{"email": ADA}]
        assert town.lists == {KEY: {ADA}}

    async def test_others_that_a_contact_has_are_sent_along(self, town: Town) -> None:
        town.fake.add_contact(ADA, external_id="x1", phone_number_id="+4915112345")
        await come(town, identify(email=ADA))

        assert uploaded(town)[-1] == {"email": ADA, "external_id": "x1", "phone_number_id": "+4915112345"}
        assert town.lists == {KEY: {ADA}}

    async def test_who_has_none_is_counted(self, town: Town) -> None:
        await come(town, identify(), identify("u2", email=BOB), {**track("u3"), "anonymousId": "a1"})

        assert town.lists == {KEY: {BOB}}
        (sync,) = await town.rows("contact_syncs")
        assert (sync["state"], sync["requested"], sync["skipped_no_email"]) == ("completed", 1, 2)


class TestAttributes:
    @pytest.mark.parametrize("form", [identify, track])
    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("first_name", "first_name"),
            ("last_name", "last_name"),
            ("phone", "phone_number"),
            ("phone_number", "phone_number"),
            ("street", "address_line_1"),
            ("address_line_1", "address_line_1"),
            ("address_line_2", "address_line_2"),
            ("city", "city"),
            ("state", "state_province_region"),
            ("state_province_region", "state_province_region"),
            ("country", "country"),
            ("postal_code", "postal_code"),
        ],
    )
    async def test_come_from_traits_or_properties(self, town: Town, form: Any, name: str, field: str) -> None:
        await come(town, form(email=ADA, **{name: "+4915112345"}))

        assert uploaded(town) == [{"email": ADA, field: "+4915112345"}]

    async def test_traits_come_before_properties(self, town: Town) -> None:
        await come(town, track(email=ADA, city="Paris", country="FR") | {"traits": {"city": "London"}})

        assert uploaded(town) == [{"email": ADA, "city": "London", "country": "FR"}]

    @pytest.mark.parametrize(
        ("kind", "value", "fitted"),
        [
            ("Text", "pro", "pro"),
            ("Text", 5, "5"),
            ("Text", ["a"], '["a"]'),
            ("Number", 5, 5),
            ("Number", "5", 5),
            ("Number", "five", None),
            ("Date", "2026-12-24T23:30:00-05:00", "12/25/2026"),
            ("Date", "12/24/2026", "12/24/2026"),
            ("Date", "soon", None),
        ],
    )
    async def test_custom_ones_fit_their_field_or_are_left_out(
        self, town: Town, kind: Any, value: object, fitted: object
    ) -> None:
        """Found by name in any letter case, and sent by id."""
        field = town.fake.add_field("Plan", kind)
        await come(town, identify(email=ADA, plan=value, unknown="x"))

        custom = {} if fitted is None else {"custom_fields": {field.id: fitted}}
        assert uploaded(town) == [{"email": ADA} | custom]
        assert town.lists == {KEY: {ADA}}

    async def test_what_sendgrid_refuses_of_one_takes_nobody_along(self, town: Town) -> None:
        """A phone number that is none, say."""
        town.fake.choices.errored_emails = {BOB: "phone_number is not valid"}
        people = {"u1": ADA, "u2": BOB, "u3": EVE}
        await come(town, *(identify(each, email=email, phone="no number") for each, email in people.items()))

        assert town.lists == {KEY: {ADA, EVE}}
        (reject,) = await town.rows("contact_rejects")
        assert (reject["email"], "phone_number is not valid" in reject["reason"]) == (BOB, True)


class TestLists:
    async def test_an_existing_one_of_the_name_is_used(self, town: Town) -> None:
        """Its id, which Segment would ask for first and send with each call, is not needed."""
        mine = town.fake.add_list(KEY)
        await come(town, identify(email=ADA))

        assert town.fake.members(mine.id) == {ADA}
        assert not town.fake.called("POST", "/v3/marketing/lists")

    async def test_another_is_made(self, town: Town) -> None:
        town.configure(list_prefix="segment ")
        await come(town, identify(email=ADA))

        assert town.lists == {f"segment {KEY}": {ADA}}

    async def test_one_may_be_called_otherwise_in_sendgrid(self, town: Town) -> None:
        await come(town, identify(email=ADA))
        (mine,) = town.fake.lists.values()
        mine.name = "People who spend"
        await come(town, identify("u2", email=BOB))

        assert town.lists == {"People who spend": {ADA, BOB}}

    async def test_audiences_have_each_their_own(self, town: Town) -> None:
        other = identify("u2", email=BOB, said=None, other=True)
        other["context"] = {"personas": personas(computation_id="aud_2", computation_key="other")}
        await come(town, identify(email=ADA), other)

        assert town.lists == {KEY: {ADA}, "other": {BOB}}


class TestLeaving:
    @pytest.mark.parametrize("form", [identify, track])
    async def test_is_verified_and_touches_nothing_else(self, town: Town, form: Any) -> None:
        await come(town, form("u1", email=ADA, city="London"), form("u2", email=BOB))
        uploads = len(uploaded(town))
        await come(town, form("u1", email=ADA, city="Paris", said=False))

        assert town.lists == {KEY: {BOB}}
        contact = town.fake.contact(ADA)
        assert contact
        assert contact.fields["city"] == "London"
        assert len(uploaded(town)) == uploads

    async def test_creates_nobody(self, town: Town) -> None:
        town.fake.add_list(KEY)
        await come(town, identify(email=ADA, said=False))

        assert not town.fake.contacts

    @pytest.mark.parametrize("said", [None, "true", 1, {}])
    async def test_is_only_what_is_said(self, town: Town, said: object) -> None:
        """A trait that is no boolean says nothing; the hosted destination would take the person off."""
        await come(town, identify(email=ADA))
        await come(town, identify(email=ADA, said=said))

        assert town.lists == {KEY: {ADA}}

    async def test_an_address_with_a_quote_leaves_like_any_other(self, town: Town) -> None:
        quoted = "o'brien@example.com"
        await come(town, identify(email=quoted))
        await come(town, identify(email=quoted, said=False))

        assert town.lists == {KEY: set()}


class TestBatches:
    async def test_are_what_sendgrid_takes_at_once(self, town: Town) -> None:
        """Not the 100 of the hosted destination, each of which would be an upload."""
        await come(town, *(identify(f"u{number}", email=f"p{number:03}@example.com") for number in range(250)))

        assert [len(call.body["contacts"]) for call in town.fake.called(*UPLOADS)] == [250]

    async def test_a_repeated_call_changes_nothing(self, town: Town) -> None:
        entered = identify(email=ADA) | {"messageId": "m1"}
        await come(town, entered)
        await come(town, identify(email=ADA, said=False))
        await come(town, entered | {"timestamp": "2026-01-01T00:00:00Z"})

        assert town.lists == {KEY: set()}

    async def test_a_bad_address_takes_nobody_along(self, town: Town) -> None:
        town.fake.choices.refused_emails = {EVE}
        emails = {"u1": ADA, "u2": "nobody@", "u3": EVE, "u4": BOB}
        await come(town, *(identify(each, email=email) for each, email in emails.items()))

        assert town.lists == {KEY: {ADA, BOB}}
        assert {each["user_id"] for each in await town.rows("contact_rejects")} == {"u2", "u3"}
