"""Cohort webhooks: Amplitude's own shape, and what templates make of it."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cohorts import CohortBatch, MissingFactsError, cohort_batch, version

RECEIVED_AT = 1_790_000_000_000
DEFAULT: dict[str, Any] = {
    "cohort_name": "Power users",
    "cohort_id": "ab12cd",
    "in_cohort": True,
    "computed_time": "1789999999",
    "message_id": "3f1c9a40-0000-4000-8000-000000000000::enter::2",
    "users": [
        {"user_id": "u1", "user_properties": {"email": "ada@example.com", "plan": "pro"}},
        {"user_id": "u2", "user_properties": {}},
    ],
}


def read(document: object) -> CohortBatch:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return cohort_batch(body, "default", RECEIVED_AT)


def test_the_default_shape_is_read() -> None:
    assert read(DEFAULT) == CohortBatch(
        account="default",
        received_at=RECEIVED_AT,
        id="ab12cd",
        name="Power users",
        action="enter",
        computed_at=1_789_999_999_000,
        message_id=DEFAULT["message_id"],
        users=[("u1", {"email": "ada@example.com", "plan": "pro"}), ("u2", {})],
    )


def test_a_record_says_the_same() -> None:
    batch = read(DEFAULT)
    again = CohortBatch.of_line(batch.line())

    assert (again.version, again.key, again.id, again.action) == (batch.version, b"default:ab12cd", "ab12cd", "enter")
    assert [tuple(user) for user in again.users] == batch.users


@pytest.mark.parametrize(
    ("shape", "action"),
    [
        ({"in_cohort": False}, "exit"),
        ({"in_cohort": "true"}, "enter"),
        ({"in_cohort": "FALSE"}, "exit"),
        ({"in_cohort": None, "action": "entered"}, "enter"),
        ({"in_cohort": None, "operation": "remove"}, "exit"),
        ({"in_cohort": None, "event": "add"}, "enter"),
        ({"in_cohort": 0}, "exit"),
    ],
)
def test_templates_say_the_change_in_other_words(shape: dict[str, object], action: str) -> None:
    assert read(DEFAULT | shape).action == action


@pytest.mark.parametrize(
    "users",
    [
        [{"id": "u1", "properties": {"email": "ada@example.com"}}],
        [{"userId": "u1", "email": "ada@example.com"}],
        [{"external_id": "u1", "traits": {"email": "ada@example.com"}}],
    ],
)
def test_templates_say_who_in_other_words(users: list[object]) -> None:
    assert read({**DEFAULT, "users": None, "members": users}).users == [("u1", {"email": "ada@example.com"})]


def test_users_may_be_bare_ids() -> None:
    assert read(DEFAULT | {"users": ["ada@example.com", 7]}).users == [("ada@example.com", {}), ("7", {})]


def test_properties_beside_the_users_are_everybodys() -> None:
    document = DEFAULT | {"user_properties": {"plan": "free"}, "users": [{"user_id": "u1"}]}

    assert read(document).users == [("u1", {"plan": "free"})]


def test_the_cohort_may_be_an_object() -> None:
    document = {"cohort": {"id": "x", "name": "X"}, "in_cohort": True, "users": []}

    assert (read(document).id, read(document).name) == ("x", "X")


def test_a_name_that_is_missing_is_the_id() -> None:
    assert read(DEFAULT | {"cohort_name": ""}).name == "ab12cd"


def test_a_time_that_is_missing_is_when_it_came() -> None:
    assert read({key: value for key, value in DEFAULT.items() if key != "computed_time"}).computed_at == RECEIVED_AT


def test_a_message_without_an_id_is_known_by_its_content() -> None:
    bare = {key: value for key, value in DEFAULT.items() if key != "message_id"}

    assert read(bare).message_id == read(bare).message_id != read(bare | {"in_cohort": False}).message_id


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (DEFAULT | {"cohort_id": ""}, ["cohort_id"]),
        (DEFAULT | {"in_cohort": "perhaps"}, ["in_cohort", "?c"]),
        (DEFAULT | {"users": "u1"}, ["users"]),
        ({}, ["cohort_id", "in_cohort", "users"]),
        ([], ["not a JSON object"]),
        (b"in_cohort: yes", ["not JSON"]),
        (b'{"in_cohort": Yes}', ["not JSON"]),
    ],
)
def test_what_is_missing_is_named(document: object, named: list[str]) -> None:
    with pytest.raises(MissingFactsError) as refusal:
        read(document)

    assert all(name in str(refusal.value) for name in named)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_body_is_a_batch_or_says_what_is_missing(body: object) -> None:
    with suppress(MissingFactsError):
        read(body)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.lists(st.text())
)


@given(VALUES, VALUES)
def test_any_time_and_message_have_their_place_in_the_order(time: object, message_id: object) -> None:
    batch = read(DEFAULT | {"computed_time": time, "message_id": message_id})

    assert CohortBatch.of_line(batch.line()).version == batch.version
    assert 0 <= batch.version < 2**64


class TestOrder:
    def test_time_counts_first(self) -> None:
        assert version(2, 0, "enter", "a") > version(1, 9, "exit", "b")

    def test_then_the_batch(self) -> None:
        assert version(1, 2, "enter", "a") > version(1, 1, "exit", "b")

    def test_then_the_exit(self) -> None:
        assert version(1, 1, "exit", "a") > version(1, 1, "enter", "b")

    def test_it_fits_for_long(self) -> None:
        assert version(4_380_000_000_000, 10**9, "exit", "a") < 2**64

    @pytest.mark.parametrize("time", [-5, 10**15, "2200-01-01", RECEIVED_AT + 10**9])
    def test_a_time_that_cannot_be_is_when_it_came(self, time: object) -> None:
        assert read(DEFAULT | {"computed_time": time}).computed_at == RECEIVED_AT
