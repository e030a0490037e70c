"""Calls of Segment's API: what is one, and what it says about people and audiences."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import time_text
from schemas.segment import MOST_BYTES, MOST_CALL_BYTES, SEVERAL, TYPES, BadCallError, Call, audience, calls, upsert

RECEIVED_AT = 1_790_000_000_000
TRACK: dict[str, Any] = {
    "type": "track",
    "userId": "u1",
    "event": "Order Shipped",
    "messageId": "m1",
    "timestamp": "2026-09-21T13:00:00.000Z",
    "properties": {"total": 12.5},
    "context": {"library": {"name": "analytics-python"}},
}


def read(document: object, endpoint: str = "track") -> list[Call]:
    return calls(endpoint, json.dumps(document).encode(), RECEIVED_AT)


def one(kind: str, **fields: Any) -> Call:
    (call,) = read({"userId": "u1", "messageId": "m1", **fields}, kind)
    return call


class TestCalls:
    def test_a_track_is_read(self) -> None:
        (call,) = read(TRACK)

        assert (call.type, call.user_id, call.event, call.message_id) == ("track", "u1", "Order Shipped", "m1")
        assert time_text(call.timestamp) == "2026-09-21 13:00:00.000"
        assert call.properties == {"total": 12.5}
        assert Call.of_record(orjson.loads(call.record())) == call

    def test_a_row_has_its_columns(self) -> None:
        row = json.loads(read(TRACK)[0].line())

        assert row["timestamp"] == "2026-09-21 13:00:00.000"
        assert json.loads(row["properties"]) == {"total": 12.5}
        assert row["received_at"] == time_text(RECEIVED_AT)

    @pytest.mark.parametrize("endpoint", SEVERAL)
    def test_several_come_at_once_and_share_a_context(self, endpoint: str) -> None:
        page = {"type": "page", "anonymousId": "a1", "name": "Home"}
        first, second = read({"batch": [TRACK, page], "context": {"ip": "127.0.0.1"}}, endpoint)

        assert (first.type, second.type, second.event) == ("track", "page", "Home")
        assert first.context == {"ip": "127.0.0.1", "library": {"name": "analytics-python"}}

    @pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "track"])
    def test_every_type_is_taken(self, kind: str) -> None:
        assert one(kind).type == kind

    def test_a_call_without_an_id_is_known_by_its_content(self) -> None:
        bare = {key: value for key, value in TRACK.items() if key != "messageId"}

        assert read(bare)[0].message_id == read(bare)[0].message_id != read(bare | {"event": "x"})[0].message_id

    @pytest.mark.parametrize("time", [None, "soon", 1e300, {}])
    def test_a_time_that_is_none_is_unknown(self, time: object) -> None:
        assert read(TRACK | {"timestamp": time})[0].timestamp == 0

    @pytest.mark.parametrize(
        ("endpoint", "document", "named"),
        [
            ("track", TRACK | {"userId": ""}, "userId or anonymousId"),
            ("track", TRACK | {"event": None}, "event"),
            ("track", [], "not a JSON object"),
            ("batch", {}, '"batch"'),
            ("batch", {"batch": ["x"]}, "batch[0]"),
            ("batch", {"batch": [TRACK, {"type": "shout", "userId": "u"}]}, "batch[1].type"),
            ("track", TRACK | {"properties": {"x": "y" * MOST_CALL_BYTES}}, "32,768"),
            ("batch", {"batch": [], "x": "y" * MOST_BYTES}, "512,000"),
        ],
    )
    def test_what_is_wrong_is_said(self, endpoint: str, document: object, named: str) -> None:
        with pytest.raises(BadCallError) as refusal:
            read(document, endpoint)

        assert named in str(refusal.value)

    @given(st.sampled_from((*TYPES, *SEVERAL)), st.binary(max_size=300))
    def test_any_bytes_are_calls_or_refused(self, endpoint: str, body: bytes) -> None:
        with suppress(BadCallError):
            calls(endpoint, body, RECEIVED_AT)

    @given(
        st.sampled_from(TYPES),
        st.dictionaries(
            st.sampled_from([*TRACK, "anonymousId", "traits", "name", "previousId"]),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            ),
        ),
    )
    def test_any_call_has_a_row(self, kind: str, document: dict[str, Any]) -> None:
        with suppress(BadCallError):
            for call in read(document | {"userId": "u1"}, kind):
                assert orjson.loads(call.line())["type"] == kind
                upsert(call)
                audience(call, "default")


class TestUpsert:
    """The default paths of Segment's hosted destination."""

    @pytest.mark.parametrize(
        ("traits", "found"),
        [
            ({"email": "ada@example.com", "first_name": "Ada"}, {"email": "ada@example.com", "first_name": "Ada"}),
            ({"firstName": "Ada"}, {"first_name": "Ada", "firstName": "Ada"}),
            ({"phone": "+49151"}, {"phone_number": "+49151", "phone": "+49151"}),
            (
                {
                    "address": {
                        "line1": "1",
                        "line2": "2",
                        "city": "C",
                        "state": "S",
                        "country": "X",
                        "postal_code": "P",
                    }
                },
                {
                    "address_line_1": "1",
                    "address_line_2": "2",
                    "city": "C",
                    "state_province_region": "S",
                    "country": "X",
                    "postal_code": "P",
                },
            ),
            ({"address": {"street": "1", "postalCode": "P"}}, {"address_line_1": "1", "postal_code": "P"}),
            ({"city": "own", "address": {"city": "other"}}, {"city": "own"}),
        ],
    )
    def test_traits_have_sendgrids_names(self, traits: dict[str, Any], found: dict[str, Any]) -> None:
        assert upsert(one("identify", traits=traits)) == ("u1", found)

    def test_traits_of_the_context_count_too(self) -> None:
        call = one("identify", traits={"plan": "pro"}, context={"traits": {"email": "ada@example.com", "plan": "old"}})

        assert upsert(call) == ("u1", {"email": "ada@example.com", "plan": "pro"})

    def test_only_an_identify_is_one(self) -> None:
        assert upsert(one("track", event="x")) is None

    def test_a_track_is_one_if_it_is_said_to_be(self) -> None:
        properties = {"email": "new@example.com", "phone": "+15550100", "address": {"city": "Rome"}, "plan": "pro"}
        call = one("track", event="Signed Up", properties=properties, context={"traits": {"email": "ada@example.com"}})

        assert upsert(call, {"Signed Up"}) == (
            "u1",
            {
                "email": "ada@example.com",
                "phone": "+15550100",
                "phone_number": "+15550100",
                "city": "Rome",
                "plan": "pro",
            },
        )
        assert upsert(call, {"Signed In"}) is None

    def test_no_other_type_of_call_is_one(self) -> None:
        assert upsert(one("page", name="Signed Up"), {"Signed Up"}) is None


class TestAudience:
    PERSONAS = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": "big_spenders"}  # noqa: RUF012

    @pytest.mark.parametrize(("said", "action"), [(True, "enter"), (False, "exit")])
    def test_an_identify_with_its_trait_is_a_change(self, said: bool, action: str) -> None:  # noqa: FBT001
        traits = {"email": "ada@example.com", "big_spenders": said}
        change = audience(one("identify", traits=traits, context={"personas": self.PERSONAS}), "default")

        assert change
        assert (change.account, change.id, change.name, change.action) == ("default", "aud_1", "big_spenders", action)
        assert list(change.users) == [("u1", {"email": "ada@example.com"})]

    @pytest.mark.parametrize(("event", "action"), [("Audience Entered", "enter"), ("Audience Exited", "exit")])
    def test_a_track_says_so_by_its_name(self, event: str, action: str) -> None:
        context = {"personas": self.PERSONAS, "traits": {"email": "ada@example.com"}}
        properties = {"audience_key": "big_spenders", "big_spenders": action == "enter"}
        change = audience(one("track", event=event, properties=properties, context=context), "default")

        assert change
        assert (change.id, change.name, change.action) == ("aud_1", "big_spenders", action)
        assert list(change.users) == [("u1", {"email": "ada@example.com"})]

    def test_a_track_without_personas_is_known_by_its_key(self) -> None:
        change = audience(one("track", event="Audience Entered", properties={"audience_key": "k"}), "default")

        assert change
        assert (change.id, change.name) == ("k", "k")

    @pytest.mark.parametrize(("said", "action"), [(True, "enter"), (False, "exit")])
    def test_a_track_of_any_name_says_so_by_its_property(self, said: bool, action: str) -> None:  # noqa: FBT001
        """Entities of linked audiences have events that people name."""
        call = one("track", event="Cart Added", properties={"big_spenders": said}, context={"personas": self.PERSONAS})
        change = audience(call, "default")

        assert change
        assert (change.id, change.name, change.action) == ("aud_1", "big_spenders", action)

    def test_a_step_of_a_journey_is_entered_without_saying_so(self) -> None:
        """As Segment documents the payload of event-triggered journeys."""
        step = "welcome__discount_8943l"
        personas = {"computation_class": "journey_step", "computation_id": step, "computation_key": step}
        properties = {"journey_context": {"triggering_event": {"total": 5}}, "journey_metadata": {"epoch_id": "e1"}}
        call = one("track", event="Discount Offered", properties=properties, context={"personas": personas})
        change = audience(call, "default")

        assert change
        assert (change.id, change.name, change.action) == (step, step, "enter")

    def test_of_two_the_later_counts(self) -> None:
        enter = one(
            "track", event="Audience Entered", properties={"audience_key": "k"}, timestamp="2026-09-21T13:00:00Z"
        )
        left = one("track", event="Audience Exited", properties={"audience_key": "k"}, timestamp="2026-09-22")
        first, second = audience(enter, "default"), audience(left, "default")

        assert first
        assert second
        assert second.version > first.version

    @pytest.mark.parametrize(
        "call",
        [
            one("identify", traits={"big_spenders": True}),
            one("identify", traits={"big_spenders": "yes"}, context={"personas": PERSONAS}),
            one("identify", traits={}, context={"personas": PERSONAS}),
            one("track", event="Order Shipped", context={"personas": PERSONAS}),
            one("track", event="Order Shipped", properties={"big_spenders": "yes"}, context={"personas": PERSONAS}),
            one("track", event="Order Shipped", properties={"audience_key": "big_spenders", "big_spenders": True}),
            one("track", event="Audience Entered"),
            one("page", context={"personas": PERSONAS}),
        ],
    )
    def test_nothing_else_is_one(self, call: Call) -> None:
        assert audience(call, "default") is None
