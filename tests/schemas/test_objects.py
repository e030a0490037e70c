"""From what SendGrid shows of an object to its row."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.objects import (
    CAMPAIGNS,
    LISTS,
    OBJECTS,
    RECIPIENTS,
    SEGMENTS,
    TEMPLATES,
    Item,
    ObjectType,
    contact,
    suppression,
    template,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)


def items(kind: ObjectType) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose known keys have any values."""
    keys = {key.partition(".")[0] for column in kind.columns for key in column.raw_keys}
    return st.dictionaries(st.sampled_from(sorted(keys)) | st.text(st.characters(codec="utf-8")), JSON, max_size=6)


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.name)
@settings(max_examples=50)
@given(st.data())
def test_whatever_an_object_holds_it_is_a_row_or_has_no_identity(kind: ObjectType, data: st.DataObject) -> None:
    item: Item = data.draw(items(kind))
    item = contact(item, {}) if kind is RECIPIENTS else template(item) if kind is TEMPLATES else item
    try:
        row = kind.row(item)
    except ValueError:
        return
    assert row["id"] != ""
    assert set(row) <= {column.name for column in kind.columns}
    assert orjson.loads(orjson.dumps(row))


def test_a_list_has_the_older_name_of_its_count_too() -> None:
    item = {"id": "1", "name": "VIP", "contact_count": 7, "_metadata": {"self": "…"}}

    assert LISTS.row(item) == {"id": "1", "name": "VIP", "contact_count": 7, "recipient_count": 7}


def test_times_are_in_utc_and_empty_ones_are_left_out() -> None:
    row = SEGMENTS.row({"id": "1", "updated_at": "2026-11-21T13:00:00+01:00", "created_at": "", "status": None})

    assert row == {"id": "1", "updated_at": "2026-11-21 12:00:00.000"}


def test_what_is_nested_has_columns_of_its_own() -> None:
    row = CAMPAIGNS.row(
        {"id": "1", "send_to": {"list_ids": ["a"], "all": False}, "email_config": {"subject": "Hi", "sender_id": None}}
    )

    assert row == {"id": "1", "list_ids": ["a"], "send_to_all": False, "subject": "Hi"}


@pytest.mark.parametrize("item", [{}, {"id": ""}, {"id": None}, {"id": []}])
def test_without_an_identity_there_is_no_row(item: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of the lists has no id"):
        LISTS.row(item)


def test_contacts_are_the_same_from_csv_and_from_json() -> None:
    of_json = {
        "contact_id": "1",
        "email": "Ada@example.com",
        "alternate_emails": ["a@example.org", "b@example.org"],
        "custom_fields": {"Plan": "gold", "empty": None},
        "shoe_size": 42,
    }
    of_csv = {
        "CONTACT_ID": "1",
        "EMAIL": "Ada@example.com",
        "ALTERNATE_EMAILS": "a@example.org, b@example.org",
        "CITY": "",
        "PLAN": "gold",
        "EMPTY": "",
        "shoe_size": "42",
    }
    names = {"plan": "Plan", "empty": "empty"}
    expected = {
        "id": "1",
        "email": "ada@example.com",
        "alternate_emails": ["a@example.org", "b@example.org"],
        "custom_fields": {"Plan": "gold", "shoe_size": "42"},
    }

    assert RECIPIENTS.row(contact(of_json, names)) == expected
    assert {name: value for name, value in RECIPIENTS.row(contact(of_csv, names)).items() if value != ""} == expected


def test_an_address_may_be_on_several_suppression_lists() -> None:
    entries = [
        suppression("bounces", {"email": "Ada@example.com", "created": 1}),
        suppression("blocks", {"email": "ada@example.com", "created": 1}),
        suppression("group_unsubscribes", {"email": "ada@example.com", "group_id": 7}),
        suppression("group_unsubscribes", {"email": "ada@example.com", "group_id": 8}),
    ]

    assert [entry["id"] for entry in entries] == [
        "bounces/ada@example.com",
        "blocks/ada@example.com",
        "group_unsubscribes/7/ada@example.com",
        "group_unsubscribes/8/ada@example.com",
    ]


def test_a_template_is_its_active_version_or_else_its_latest() -> None:
    old, new = ({"id": name, "active": 0, "updated_at": f"2026-11-2{name}"} for name in ("1", "2"))

    assert template({"versions": [old, new]})["version"] == new
    assert template({"versions": [{**old, "active": 1}, new]})["version"]["id"] == "1"
    assert template({})["version"] == {}
