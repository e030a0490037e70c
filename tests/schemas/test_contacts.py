"""People as contacts: what is sent of them, and what is read from SendGrid's complaints."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import contacts
from schemas.contacts import (
    Field,
    InvalidAddressError,
    Mapper,
    Person,
    Rules,
    address,
    errored_addresses,
    field_type,
    given_address,
    list_name,
    refused_addresses,
    upload,
)

ADA = "ada@example.com"
FIELDS = [Field("w1", "plan", "Text"), Field("w2", "Seats", "Number"), Field("w3", "renewal", "Date")]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def contact(traits: dict[str, Any], rules: Rules | None = None, user_id: str = "u1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Mapper(rules or Rules(), FIELDS).contact(Person(ADA, user_id, traits)))
    return found


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "stored"),
        [
            (" Ada@Example.COM ", ADA),
            ("o'brien@example.com", "o'brien@example.com"),
            ("ada+tag@sub.example.com", "ada+tag@sub.example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ],
    )
    def test_is_as_sendgrid_stores_it(self, text: str, stored: str) -> None:
        assert address(text) == stored

    @pytest.mark.parametrize(
        "text", ["", "ada", "ada@", "@example.com", "a b@example.com", "a@b@c.de", "ä@example.com"]
    )
    def test_that_is_none_says_why(self, text: str) -> None:
        with pytest.raises(InvalidAddressError, match=r"\w"):
            address(text)

    @given(st.text(max_size=80))
    def test_of_any_text_is_one_or_none(self, text: str) -> None:
        try:
            found = address(text)
        except InvalidAddressError:
            return
        assert address(found) == found == found.lower()

    def test_comes_from_the_trait_before_the_user_id(self) -> None:
        assert given_address("bob@example.com", {"email": " ada@example.com"}, Rules()) == ADA
        assert given_address("bob@example.com", {"email": ""}, Rules()) == "bob@example.com"
        assert given_address("u1", {"mail": ADA}, Rules(email_trait="mail")) == ADA
        assert given_address("u1", {"email": 7}, Rules()) == ""


class TestContact:
    def test_has_the_names(self) -> None:
        assert contact({"first_name": " Ada ", "last_name": "x" * 60, "email": ADA}) == {
            "email": ADA,
            "first_name": "Ada",
            "last_name": "x" * 50,
        }

    def test_names_may_have_other_traits(self) -> None:
        rules = Rules(first_name_trait="given", last_name_trait="family")

        assert contact({"given": "Ada", "family": "King", "first_name": "no"}, rules) == {
            "email": ADA,
            "first_name": "Ada",
            "last_name": "King",
        }

    def test_traits_named_like_a_field_go_there(self) -> None:
        assert contact({"PLAN": "pro", "seats": 3, "other": 1})["custom_fields"] == {"w1": "pro", "w2": 3}
        assert contact({"plan": "pro"}, Rules(match_custom_fields=False)) == {"email": ADA}

    def test_traits_go_to_a_field_by_name_or_id_or_to_one_of_sendgrids_own(self) -> None:
        rules = Rules(custom_fields={"tier": "Plan", "n": "w2", "where": "city", "lost": "nowhere"})

        assert contact({"tier": "pro", "n": 4, "where": "Paris", "lost": 1}, rules) == {
            "email": ADA,
            "city": "Paris",
            "custom_fields": {"w1": "pro", "w2": 4},
        }
        assert Mapper(rules, FIELDS).missing() == ["nowhere"]

    def test_the_user_id_goes_to_its_field(self) -> None:
        assert contact({}, Rules(user_id_field="plan"))["custom_fields"] == {"w1": "u1"}

    @pytest.mark.parametrize(
        ("trait", "value", "fitted"),
        [
            ("plan", "x" * 1200, "x" * 1000),
            ("plan", True, "true"),
            ("plan", ["a", 1], '["a",1]'),
            ("plan", {"a": 1}, '{"a":1}'),
            ("plan", None, None),
            ("plan", "  ", None),
            ("seats", "12", 12),
            ("seats", "1.5", 1.5),
            ("seats", 1e300, 1e300),
            ("seats", True, 1),
            ("seats", "many", None),
            ("seats", "nan", None),
            ("seats", [], None),
            ("renewal", "2026-12-24", "12/24/2026"),
            ("renewal", "2026-12-24T23:00:00Z", "12/24/2026"),
            ("renewal", 1_790_000_000, "09/21/2026"),
            ("renewal", "1/2/2026", "1/2/2026"),
            ("renewal", "soon", None),
            ("renewal", 1e30, None),
        ],
    )
    def test_values_are_fitted_to_their_field(self, trait: str, value: object, fitted: object) -> None:
        custom = contact({trait: value}).get("custom_fields", {})

        assert list(custom.values()) == ([] if fitted is None else [fitted])

    @given(st.dictionaries(st.sampled_from(["plan", "seats", "renewal", "first_name", "x"]), VALUES))
    def test_any_traits_make_one(self, traits: dict[str, Any]) -> None:
        assert contact(traits)["email"] == ADA


@pytest.mark.parametrize(
    ("values", "kind"), [([1, 2.5, None], "Number"), ([1, "x"], "Text"), ([True], "Text"), ([], "Text")]
)
def test_a_new_field_fits_its_values(values: list[object], kind: str) -> None:
    assert field_type(values) == kind


class TestUpload:
    def test_is_what_sendgrid_takes(self) -> None:
        body, count = upload("list", [b'{"email":"a@example.com"}', b'{"email":"b@example.com"}'])

        assert count == 2
        assert orjson.loads(body) == {
            "list_ids": ["list"],
            "contacts": [{"email": "a@example.com"}, {"email": "b@example.com"}],
        }

    def test_may_be_for_no_list(self) -> None:
        assert orjson.loads(upload("", [b"{}"])[0])["list_ids"] == []

    @given(st.lists(st.integers(10, 400), min_size=1, max_size=40), st.integers(200, 3000), st.integers(1, 30))
    def test_is_as_full_as_the_limits_allow(self, sizes: list[int], most_bytes: int, most_rows: int) -> None:
        rows = [b'"' + b"x" * size + b'"' for size in sizes]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contacts, "MOST_BYTES", most_bytes)
            patch.setattr(contacts, "MOST_ROWS", most_rows)
            body, count = upload("list", rows)

        assert 1 <= count <= most_rows
        assert len(body) <= most_bytes or count == 1
        assert len(orjson.loads(body)["contacts"]) == count
        if count < min(len(rows), most_rows):
            assert len(body) + len(rows[count]) + 1 > most_bytes - 2


class TestListName:
    def test_is_as_wanted(self) -> None:
        assert list_name("VIP", "c1", {"other"}) == "VIP"

    @given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
    def test_is_short_and_nobody_elses(self, wanted: str, one: str, other: str) -> None:
        first = list_name(wanted, one, set())
        second = list_name(wanted, other, {first})

        assert len(first) <= 100
        assert len(second) <= 100
        assert first != second or (one == other and len(wanted) > 100)


class TestComplaints:
    SENT = frozenset({ADA, "o'brien@example.com", "bob@example.com"})

    @pytest.mark.parametrize(
        ("message", "named"),
        [
            ("email 'ada@example.com' is not valid", [ADA]),
            ("email 'Ada@Example.com' is not valid", [ADA]),
            ("email 'o'brien@example.com' is not valid", ["o'brien@example.com"]),
            ("the addresses ada@example.com, bob@example.com are refused", [ADA, "bob@example.com"]),
            ("email 'stranger@example.com' is not valid", []),
            ("something is wrong", []),
        ],
    )
    def test_the_addresses_that_an_answer_names_are_found(self, message: str, named: list[str]) -> None:
        answer = json.dumps({"errors": [{"field": "contacts[0].identifier", "message": message}]})

        assert sorted(refused_addresses(answer, self.SENT)) == sorted(named)

    def test_an_answer_that_is_not_json_is_searched_all_the_same(self) -> None:
        assert list(refused_addresses("<p>email 'ada@example.com' is not valid</p>", self.SENT)) == [ADA]

    @pytest.mark.parametrize(
        "report",
        [
            "email,error\nada@example.com,mailbox is full\nsomebody@example.com,no\n",
            '{"email":"ADA@example.com","error":"mailbox is full"}\n{"email":"x@example.com"}\n',
            '[{"email":"ada@example.com","error":"mailbox is full"}]',
            '{"errors":[{"contact":{"email":"ada@example.com"},"message":"mailbox is full"}]}',
            '["ada@example.com: mailbox is full"]',
        ],
    )
    def test_a_report_of_any_shape_is_joined_to_people(self, report: str) -> None:
        ((email, reason),) = errored_addresses(report, self.SENT).items()

        assert email == ADA
        assert "mailbox is full" in reason

    @given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
    def test_any_report_can_be_read(self, report: str) -> None:
        assert errored_addresses(report, self.SENT).keys() <= self.SENT
        assert refused_addresses(report, self.SENT).keys() <= self.SENT
