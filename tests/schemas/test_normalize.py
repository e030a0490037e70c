"""What becomes of the elements of a body: the normal, and every oddity that SendGrid's feed is known for."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import COMMON, EVENTS, EventType
from schemas.normalize import Event, Normalized, Normalizer
from tests.samples import VECTORS, Vector, sample

RECEIVED_AT = 1_714_000_100_000
"""A few minutes after the samples' events, in milliseconds."""
RECEIVED = "2024-04-24 23:08:20.000"


def normalized(body: bytes, **options: Any) -> Normalized:
    return Normalizer(**options)(body, RECEIVED_AT)


def only(element: object, **options: Any) -> tuple[Event, dict[str, Any]]:
    """The event that an element becomes, and its row."""
    events, malformed = normalized(orjson.dumps([element]), **options)
    assert not malformed
    (event,) = events
    return event, orjson.loads(event.line)


def row(element: object, **options: Any) -> dict[str, Any]:
    return only(element, **options)[1]


def opened(**fields: object) -> dict[str, object]:
    return {"event": "open", "email": "a@example.com", "timestamp": 1_714_000_000, "sg_event_id": "id", **fields}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.table)
class TestEveryType:
    def test_its_sample_fills_every_column_it_has(self, event: EventType) -> None:
        (found,), malformed = normalized(sample(event.table))

        filled = orjson.loads(found.line)
        missing = {column.name for column in event.columns} - set(filled)
        if event.name == "account_status_change":  # it belongs to no message and to nobody
            missing -= {"email", "sg_message_id", "smtp_id", "category"}
        assert not malformed
        assert found.type is event
        assert not missing

    def test_its_rows_have_no_other_columns(self, event: EventType) -> None:
        (found,), _ = normalized(sample(event.table))

        assert set(orjson.loads(found.line)) <= {column.name for column in event.columns}

    def test_the_same_input_gives_the_same_output(self, event: EventType) -> None:
        assert normalized(sample(event.table)) == normalized(sample(event.table))

    def test_no_declared_key_of_it_leaks_into_the_custom_arguments(self, event: EventType) -> None:
        (found,), _ = normalized(sample(event.table))

        args = orjson.loads(found.line)["custom_args"]
        expected = (
            {}
            if event.name == "account_status_change"
            else {"amp_user_id": "user-1815", "New Argument 1": "with spaces"}
        )
        assert args == expected | ({"placement": "promotions"} if event.name == "unknown" else {})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_signed_vectors_become_their_events(vector: Vector) -> None:
    events, malformed = Normalizer()(vector.body, int(vector.timestamp) * 1000)

    sent = [element["event"] for element in json.loads(vector.body)]
    assert not malformed
    assert [event.type.name for event in events] == sent
    assert len(events) == vector.events


def test_a_click_becomes_this_row() -> None:
    event, click = only(json.loads(sample("click"))[0])

    assert event.type.table == "click"
    assert event.user_id == "user-1815"
    assert click["event_id"] == click["sg_event_id"] == "Rq0mSWtcQWm3c1r9Yp0XbQ"
    assert click["email"] == "ada.lovelace@example.com"
    assert click["event"] == "click"
    assert click["timestamp"] == "2024-04-24 23:06:40.000"
    assert click["received_at"] == RECEIVED
    assert click["smtp_id"] == "<0GOQ6fMTTmiZpLh7usBJwg@geopod-ismtpd-3-0>"
    assert click["category"] == ["receipts", "spring sale"]
    assert click["url"] == "https://www.example.com/landing?utm_source=spring&x=1"
    assert click["url_offset_index"] == 0
    assert click["url_offset_type"] == "html"


class TestUserId:
    def test_it_is_the_argument_where_that_is_there(self) -> None:
        assert row(opened(amp_user_id="u1"))["user_id"] == "u1"

    def test_else_the_email(self) -> None:
        assert row(opened())["user_id"] == "a@example.com"

    def test_else_nothing(self) -> None:
        event, stored = only({"event": "open"})

        assert event.user_id == stored["user_id"] == ""

    def test_a_number_is_taken_as_text_and_stays_among_the_arguments(self) -> None:
        stored = row(opened(amp_user_id=4711))

        assert stored["user_id"] == "4711"
        assert stored["custom_args"] == {"amp_user_id": "4711"}

    @pytest.mark.parametrize("value", ["", "  ", None, {}, [], True])
    def test_what_is_no_id_does_not_count(self, value: object) -> None:
        assert row(opened(amp_user_id=value))["user_id"] == "a@example.com"

    def test_the_argument_is_a_setting(self) -> None:
        assert row(opened(uid="u2", amp_user_id="u1"), user_id_key="uid")["user_id"] == "u2"

    def test_a_declared_field_may_be_it(self) -> None:
        stored = row(opened(sg_user_id=10994919), user_id_key="sg_user_id")

        assert stored["user_id"] == "10994919"
        assert stored["sg_user_id"] == 10994919


class TestEmail:
    def test_it_is_trimmed_and_lower_cased(self) -> None:
        assert row(opened(email="  Ada.Lovelace@Example.COM "))["email"] == "ada.lovelace@example.com"

    def test_an_invalid_one_is_kept(self) -> None:
        assert row({"event": "dropped", "email": "invalid@invalid"})["email"] == "invalid@invalid"


class TestTime:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (1_714_000_000, "2024-04-24 23:06:40.000"),
            ("1714000000", "2024-04-24 23:06:40.000"),
            (1_714_000_000_123, "2024-04-24 23:06:40.123"),
            ("1714000000123", "2024-04-24 23:06:40.123"),
            (1_714_000_000.5, "2024-04-24 23:06:40.500"),
            ("1714000000.5", "2024-04-24 23:06:40.500"),
            ("2024-04-24T23:06:40Z", "2024-04-24 23:06:40.000"),
            ("2024-04-25T01:06:40+02:00", "2024-04-24 23:06:40.000"),
            ("2024-04-24 23:06:40", "2024-04-24 23:06:40.000"),
        ],
    )
    def test_seconds_milliseconds_and_text_are_understood(self, value: object, expected: str) -> None:
        assert row(opened(timestamp=value))["timestamp"] == expected

    @pytest.mark.parametrize(
        "value",
        ["123456789", 0, -1, True, [], {}, "yesterday", "", 1_714_700_000, 10**18, -(10**18), 1e300, "1e5", "9" * 400],
        ids=repr,
    )
    def test_an_unusable_one_is_unknown_and_the_original_kept(self, value: object) -> None:
        stored = row(opened(timestamp=value))

        assert stored["timestamp"] == "1970-01-01 00:00:00.000"
        assert stored["custom_args"]["timestamp"] == (value if isinstance(value, str) else json.dumps(value))

    def test_a_missing_one_is_unknown(self) -> None:
        for element in ({"event": "open"}, opened(timestamp=None)):
            stored = row(element)

            assert stored["timestamp"] == "1970-01-01 00:00:00.000"
            assert stored["custom_args"] == {}

    def test_a_week_ahead_is_still_believed(self) -> None:
        assert row(opened(timestamp=RECEIVED_AT // 1000 + 7 * 86400))["timestamp"] == "2024-05-01 23:08:20.000"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0, "1970-01-01 00:00:00.000"),
            (1481050260.03746, "2016-12-06 18:51:00.037"),
            ("1591726752372", "2020-06-09 18:19:12.372"),
        ],
    )
    def test_send_at_comes_in_all_these_forms(self, value: object, expected: str) -> None:
        assert row({"event": "processed", "send_at": value})["send_at"] == expected


class TestType:
    def test_an_undeclared_one_is_unknown_with_all_it_has(self) -> None:
        element = {"event": "teleported", "email": "a@example.com", "where": "moon"}
        event, stored = only(element)

        assert event.type.name == "unknown"
        assert stored["event"] == "teleported"
        assert stored["email"] == "a@example.com"
        assert stored["custom_args"] == {"where": "moon"}
        assert json.loads(stored["raw"]) == element

    @pytest.mark.parametrize("name", ["Processed", " processed", "PROCESSED"])
    def test_case_and_space_do_not_matter(self, name: str) -> None:
        event, stored = only({"event": name})

        assert event.type.name == stored["event"] == "processed"

    @pytest.mark.parametrize("element", [{}, {"event": None}, {"event": ["open"]}, {"event": {}}, {"Event": "open"}])
    def test_an_object_without_a_usable_one_is_unknown(self, element: dict[str, object]) -> None:
        assert only(element)[0].type.name == "unknown"

    def test_a_number_is_no_name_but_kept(self) -> None:
        event, stored = only({"event": 5})

        assert event.type.name == "unknown"
        assert stored["event"] == "5"


class TestFields:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("a", ["a"]), (["a", "b"], ["a", "b"]), ([], []), ("", []), (["a", 1, None], ["a", "1", "null"]), (7, ["7"])],
    )
    def test_category_is_text_or_a_list(self, value: object, expected: list[str]) -> None:
        assert row(opened(category=value))["category"] == expected

    def test_attempt_is_text_on_the_wire(self) -> None:
        assert row({"event": "deferred", "attempt": "49"})["attempt"] == 49

    @pytest.mark.parametrize(("value", "expected"), [(1, 1), (0, 0), ("1", 1), (True, 1), (1.0, 1)])
    def test_tls_is_a_number_whatever_the_documentation_says(self, value: object, expected: int) -> None:
        assert row({"event": "delivered", "tls": value})["tls"] == expected

    @pytest.mark.parametrize(("value", "expected"), [(True, True), ("true", True), (0, False), ("False", False)])
    def test_a_machine_open_is_a_flag(self, value: object, expected: object) -> None:
        assert row(opened(sg_machine_open=value))["sg_machine_open"] is expected

    @pytest.mark.parametrize("number", [210, "210"])
    def test_a_pool_id_is_text_even_where_it_is_a_number(self, number: object) -> None:
        stored = row({"event": "processed", "pool": {"name": "new_MY_test", "id": number}})

        assert stored["pool_name"] == "new_MY_test"
        assert stored["pool_id"] == "210"

    def test_a_status_is_text_even_where_it_is_a_number(self) -> None:
        assert row({"event": "bounce", "status": 550})["status"] == "550"

    def test_both_spellings_of_cert_err_are_understood(self) -> None:
        assert row({"event": "bounce", "cert_error": "1"})["cert_err"] == "1"
        both = row({"event": "bounce", "cert_err": "1", "cert_error": "2"})
        assert (both["cert_err"], both["custom_args"]) == ("1", {"cert_error": "2"})

    def test_null_is_nothing(self) -> None:
        stored = row(opened(ip=None, useragent=None, category=None, sg_machine_open=None, asm_group_id=None))

        assert {"ip", "useragent", "category", "sg_machine_open", "asm_group_id"}.isdisjoint(stored)
        assert stored["custom_args"] == {}

    def test_unknown_members_of_a_known_object_are_kept(self) -> None:
        stored = row({"event": "click", "url_offset": {"index": 3, "type": "amp", "depth": 2, "more": None}})

        assert stored["url_offset_index"] == 3
        assert stored["custom_args"] == {"url_offset.depth": "2"}

    @pytest.mark.parametrize(
        ("element", "key", "kept"),
        [
            ({"event": "bounce", "reason": {"code": 1}}, "reason", '{"code":1}'),
            ({"event": "click", "url_offset": 3}, "url_offset", "3"),
            ({"event": "open", "sg_machine_open": "maybe"}, "sg_machine_open", "maybe"),
            ({"event": "open", "asm_group_id": "ten"}, "asm_group_id", "ten"),
            ({"event": "open", "asm_group_id": 1.5}, "asm_group_id", "1.5"),
            ({"event": "open", "asm_group_id": 2**63}, "asm_group_id", str(2**63)),
            ({"event": "processed", "send_at": "soon"}, "send_at", "soon"),
            ({"event": "open", "email": ["a@example.com"]}, "email", '["a@example.com"]'),
        ],
        ids=str,
    )
    def test_a_value_that_does_not_fit_leaves_the_column_empty_and_is_kept(
        self, element: dict[str, object], key: str, kept: str
    ) -> None:
        stored = row(element)

        assert key not in stored
        assert stored["custom_args"] == {key: kept}

    def test_asynchronous_bounces_have_next_to_nothing(self) -> None:
        stored = row(
            {
                "event": "bounce",
                "email": "a@example.com",
                "sg_message_id": "",
                "timestamp": 1_714_000_000,
                "type": "bounce",
            }
        )

        assert stored["sg_message_id"] == ""
        assert stored["event_id"]


class TestCustomArguments:
    def test_values_that_are_no_text_become_text(self) -> None:
        stored = row(opened(n=1234, f=1.5, b=True, z=None, o={"a": [1]}, s="x"))

        assert stored["custom_args"] == {"n": "1234", "f": "1.5", "b": "true", "z": "null", "o": '{"a":[1]}', "s": "x"}

    @pytest.mark.parametrize("name", [column.name for column in COMMON if column.name not in column.raw_keys])
    def test_one_named_like_a_column_of_ours_never_gets_into_it(self, name: str) -> None:
        plain = row(opened())
        if name in ("event", "timestamp"):  # these are SendGrid's own keys
            return
        stored = row(opened(**{name: "mine"}))

        assert stored["custom_args"][name] == "mine"
        assert stored.get(name) == plain.get(name) or name == "custom_args"

    def test_one_named_like_another_types_column_is_an_argument(self) -> None:
        assert row(opened(response="250 ok"))["custom_args"] == {"response": "250 ok"}

    def test_a_dot_in_a_name_is_just_a_dot(self) -> None:
        assert row({"event": "processed", "pool.name": "x"})["custom_args"] == {"pool.name": "x"}

    def test_of_two_with_the_same_name_the_last_wins(self) -> None:
        (event,), _ = normalized(b'[{"event":"open","a":"1","a":"2"}]')

        assert orjson.loads(event.line)["custom_args"] == {"a": "2"}


class TestIdentity:
    def test_the_id_is_sendgrids(self) -> None:
        assert row(opened(sg_event_id="abc"))["event_id"] == "abc"

    @pytest.mark.parametrize("missing", [{}, {"sg_event_id": ""}, {"sg_event_id": None}])
    def test_without_one_it_follows_from_what_tells_events_apart(self, missing: dict[str, object]) -> None:
        element = {
            "event": "click",
            "email": "a@example.com",
            "timestamp": 1_714_000_000,
            "sg_message_id": "m",
            "url": "u",
        }
        ids = {row(element | missing)["event_id"], row(element | missing | {"extra": "1"})["event_id"]}
        others = [
            row(element | change)["event_id"]
            for change in (
                {"event": "group_unsubscribe"},
                {"email": "b@example.com"},
                {"timestamp": 1_714_000_001},
                {"sg_message_id": "n"},
                {"url": "v"},
                {"url_offset": {"index": 1}},
                {"attempt": "2"},
            )
        ]

        assert len(ids) == 1
        assert len({*others, *ids}) == 8

    def test_two_events_with_unusable_times_stay_two(self) -> None:
        first, second = (row({"event": "open", "email": "a@example.com", "timestamp": t}) for t in ("x", "y"))

        assert first["event_id"] != second["event_id"]

    def test_without_anything_it_follows_from_the_whole_element(self) -> None:
        assert row({"event": "open", "a": 1, "b": 2})["event_id"] == row({"b": 2, "a": 1, "event": "open"})["event_id"]
        assert row({"event": "open", "a": 1})["event_id"] != row({"event": "open", "a": 2})["event_id"]

    def test_its_hash_tells_type_id_and_time_apart_and_nothing_else(self) -> None:
        one = only(opened())[0].identity
        same = only(opened(email="other@example.com", extra="x"))[0].identity
        others = {
            only(opened(sg_event_id="other"))[0].identity,
            only(opened(timestamp=1_714_000_001))[0].identity,
            only(opened(event="click"))[0].identity,
        }

        assert one == same
        assert len(others | {one}) == 4

    def test_its_hash_is_the_same_in_every_process(self) -> None:
        assert only(opened())[0].identity == 12669018865334162829


class TestBody:
    @pytest.mark.parametrize("body", [b"", b"  \r\n", b"[]", b"[ ]\r\n", b"\xef\xbb\xbf"])
    def test_nothing_is_nothing(self, body: bytes) -> None:
        assert normalized(body) == ([], {})

    def test_a_single_object_is_one_event(self) -> None:
        events, malformed = normalized(b'{"event":"open"}')

        assert (len(events), malformed) == (1, {})

    @pytest.mark.parametrize(
        "element", ["null", "1", '"x"', "true", "[]", '[{"event":"open"}]', '[{"Key":"event","Value":"open"}]']
    )
    def test_an_element_that_is_no_object_is_malformed_and_its_neighbours_live(self, element: str) -> None:
        events, malformed = normalized(f'[{{"event":"open"}},{element},{{"event":"click"}}]'.encode())

        assert [event.type.name for event in events] == ["open", "click"]
        assert malformed[1].reason == "not a JSON object"
        assert malformed[1].payload == element.encode()

    @pytest.mark.parametrize(
        "body",
        [
            b"no",
            b"{",
            b'[{"event":"open"}',
            b'[{"event":"open"},]',
            b'[{"event":"open"}]x',
            b'{"a":1}{"b":2}',
            b"[1,2",
            b"[",
            b'"',
            b"a=1&b=2",
            b"\x00",
            b"\xff\xfe\x00",
        ],
    )
    def test_a_body_that_is_no_json_is_one_malformed_element_with_all_its_bytes(self, body: bytes) -> None:
        events, malformed = normalized(body)

        assert events == []
        assert list(malformed) == [0]
        assert malformed[0].reason.startswith("not JSON")
        assert malformed[0].payload == body

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            (b'"\\ud800x"', "\ufffdx"),
            (b'"\xff"', "\ufffd"),
            (b"NaN", "NaN"),
            (b"-Infinity", "-Infinity"),
            (b"1e400", "1e400"),
            (b"18446744073709551616", "18446744073709551616"),
            (b"-9223372036854775809", "-9223372036854775809"),
            (b"[123456789012345678901234567890]", '["123456789012345678901234567890"]'),
            (b'"a\tb"', "a\tb"),
            (b"9" * 5000, "9" * 5000),
        ],
    )
    def test_what_only_a_strict_parser_refuses_or_rounds_is_read(self, written: bytes, read: str) -> None:
        events, malformed = normalized(b'[{"event":"open","x":' + written + b'},{"event":"click"}]')

        assert not malformed
        assert orjson.loads(events[0].line)["custom_args"]["x"] == read
        assert events[1].type.name == "click"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_a_byte_order_mark_is_no_obstacle(self, encoding: str) -> None:
        events, malformed = normalized('[{"event":"open","x":"ä"}]'.encode(encoding))

        assert not malformed
        assert orjson.loads(events[0].line)["custom_args"]["x"] == "ä"

    def test_a_number_too_large_for_an_integer_is_kept_as_written(self) -> None:
        assert row({"event": "open", "x": 1e300})["custom_args"]["x"] == "1e+300"

    @pytest.mark.parametrize("depth", [300, 1000, 5000, 100_000])
    @pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
    def test_nesting_beyond_the_parser_makes_that_element_malformed_and_its_neighbours_live(
        self, depth: int, left: str, right: str
    ) -> None:
        deep = '{"event":"open","x":' + left * depth + "1" + right * depth + "}"
        events, malformed = normalized(f'[{{"event":"open","y":"]}}\\""}},{deep},{{"event":"click"}}]'.encode())

        assert [event.type.name for event in events] == ["open", "click"]
        assert malformed[1].reason == "nested too deeply"
        assert malformed[1].payload == deep.encode()

    def test_nesting_as_deep_as_can_be_written_is_fine(self) -> None:
        (event,), malformed = normalized(b'[{"event":"open","x":' + b"[" * 250 + b"]" * 250 + b"}]")

        assert not malformed
        assert orjson.loads(event.line)["custom_args"]["x"] == "[" * 250 + "]" * 250

    def test_exact_copies_inside_one_body_have_one_identity(self) -> None:
        events, _ = normalized(orjson.dumps([opened(), opened(), opened()]))

        assert len(events) == 3
        assert len({event.identity for event in events}) == 1

    def test_escapes_of_the_test_button_are_read(self) -> None:
        (event,), _ = normalized(b'[{"event":"processed","smtp-id":"\\u003c14c5d75ce93.dfd.64b469@ismtpd-555\\u003e"}]')

        assert orjson.loads(event.line)["smtp_id"] == "<14c5d75ce93.dfd.64b469@ismtpd-555>"


NAMES = st.sampled_from([event.name for event in EVENTS]) | st.text(max_size=10) | st.none() | st.integers()
KEYS = st.sampled_from([key for event in EVENTS for column in event.columns for key in (*column.raw_keys, column.name)])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ELEMENTS = st.dictionaries(KEYS | st.text(max_size=8), VALUES, max_size=8) | VALUES


class TestProperties:
    @given(st.binary(max_size=200))
    def test_any_bytes_end_as_events_and_malformed_elements(self, body: bytes) -> None:
        events, malformed = normalized(body)

        assert normalized(body) == (events, malformed)
        for event in events:
            orjson.loads(event.line)

    @given(st.lists(ELEMENTS, max_size=6), NAMES)
    def test_each_element_of_any_array_is_one_or_the_other(self, elements: list[Any], name: object) -> None:
        body = json.dumps([element | {"event": name} if isinstance(element, dict) else element for element in elements])
        events, malformed = normalized(body.encode("utf-8", "surrogatepass"))

        assert len(events) + len(malformed) == len(elements)
        assert set(malformed) == {i for i, element in enumerate(elements) if not isinstance(element, dict)}

    @given(
        st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), min_size=1, max_size=5),
        st.data(),
    )
    def test_a_broken_neighbour_changes_nothing_for_the_others(
        self, elements: list[dict[str, str]], data: st.DataObject
    ) -> None:
        broken = data.draw(st.sampled_from([b"1", b"NaN", b'{"x":"\xff"}', b"[" * 2000 + b"]" * 2000, b'{"y":1e999}']))
        position = data.draw(st.integers(0, len(elements)))
        parts = [json.dumps(element).encode() for element in elements]
        alone = [event.line for event in normalized(b"[" + b",".join(parts) + b"]").events]
        parts.insert(position, broken)
        events, malformed = normalized(b"[" + b",".join(parts) + b"]")

        together = [event.line for event in events]
        if position not in malformed:
            del together[position]
        assert together == alone
