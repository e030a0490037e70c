from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.amplitude import LONGEST_TEXT, REFUSED_IDS, AmplitudeEvent, Mapper, Rules, Skip, without
from schemas.events import EVENTS, EventType
from schemas.normalize import Normalizer
from tests.samples import sample

NAMES = {event.name: event for event in EVENTS}
RECEIVED = 1_790_000_000_000
RECIPIENTS = ("open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe")


def mapped(body: bytes, rules: Rules | None = None) -> dict[str, Any]:
    """The one event of a body, as Amplitude gets it."""
    result = outcome(body, rules)
    assert isinstance(result, AmplitudeEvent)
    event: dict[str, Any] = orjson.loads(result.content)
    assert event["user_id"] == result.user_id
    return event


def outcome(body: bytes, rules: Rules | None = None) -> AmplitudeEvent | Skip:
    (event,) = Normalizer()(body, RECEIVED).events
    return Mapper(event.type, rules or Rules())(event.line)


def body(**fields: Any) -> bytes:
    usual = {"event": "open", "email": "Ada@Example.com", "timestamp": 1_714_000_000, "sg_event_id": "id-1"}
    return orjson.dumps(usual | fields)


class TestEveryType:
    @pytest.mark.parametrize("event", [event for event in EVENTS if event.name != "account_status_change"])
    def test_keeps_its_identity_and_all_its_fields(self, event: EventType) -> None:
        (raw,) = orjson.loads(sample(event.table))
        (normalized,) = Normalizer()(sample(event.table), RECEIVED).events
        row = orjson.loads(normalized.line)
        sent = mapped(sample(event.table))
        properties = sent.pop("event_properties")

        assert sent.pop("event_type") == f"[Sendgrid] {raw['event']}"
        assert sent.pop("user_id") == "user-1815"
        assert sent.pop("time") == raw["timestamp"] * 1000
        assert sent.pop("insert_id") == raw["sg_event_id"]
        assert (sent.pop("library"), sent.pop("$skip_user_properties_sync")) == ("sendgrid", True)
        if event.name in RECIPIENTS:
            assert (sent.pop("ip", None), sent.pop("user_agent", None)) == (raw.get("ip"), raw.get("useragent"))
        else:
            assert properties.get("ip") == raw.get("ip")
        assert not sent
        assert properties["custom_args"] == row["custom_args"]
        for column in event.columns:
            if not column.computed and column.name not in ("event", "timestamp", "ip", "useragent"):
                assert properties.get(column.name) == (row.get(column.name) or properties.get(column.name))

    def test_without_a_person_is_skipped(self) -> None:
        assert outcome(sample("account_status_change")) is Skip.NO_USER_ID

    @pytest.mark.parametrize(
        ("casing", "names"),
        [
            ("wire", ("spamreport", "group_unsubscribe", "inbox_placement")),
            ("capitalized", ("Spamreport", "Group_unsubscribe", "Inbox_placement")),
            ("title", ("Spam Report", "Group Unsubscribe", "Inbox Placement")),
        ],
    )
    def test_is_named_as_configured(self, casing: Any, names: tuple[str, ...]) -> None:
        for table, name in zip(("spam_report", "group_unsubscribe", "unknown"), names, strict=True):
            assert mapped(sample(table), Rules(casing=casing))["event_type"] == f"[Sendgrid] {name}"


class TestUserIds:
    def test_without_the_argument_the_address_is_one(self) -> None:
        assert mapped(body())["user_id"] == "ada@example.com"

    @pytest.mark.parametrize("refused", sorted(REFUSED_IDS))
    def test_what_amplitude_refuses_says_nothing(self, refused: str) -> None:
        for written in (refused, refused.upper(), f" {refused} "):
            assert mapped(body(amp_user_id=written))["user_id"] == "ada@example.com"
        assert outcome(body(amp_user_id=refused, email="")) is Skip.NO_USER_ID

    def test_short_ones_are_ids_unless_configured(self) -> None:
        assert mapped(body(amp_user_id=42))["user_id"] == "42"
        assert mapped(body(amp_user_id=42), Rules(min_id_length=5))["user_id"] == "ada@example.com"

    def test_unknown_users_may_be_left_out(self) -> None:
        rules = Rules(known_users_only=True)

        assert outcome(body(), rules) is Skip.UNKNOWN_USER
        assert outcome(body(amp_user_id="null"), rules) is Skip.UNKNOWN_USER
        assert mapped(body(amp_user_id="u1"), rules)["user_id"] == "u1"
        assert mapped(body(amp_user_id="ada@example.com"), rules)["user_id"] == "ada@example.com"


class TestValues:
    def test_an_unknown_time_is_the_receipts(self) -> None:
        assert mapped(body(timestamp="soon"))["time"] == RECEIVED

    def test_a_machine_open_has_no_address_of_the_recipients(self) -> None:
        sent = mapped(body(ip="192.0.2.7", useragent="proxy", sg_machine_open=True))

        assert {"ip", "user_agent"}.isdisjoint(sent)
        assert (sent["event_properties"]["ip"], sent["event_properties"]["useragent"]) == ("192.0.2.7", "proxy")

    def test_what_is_no_address_stays_a_property(self) -> None:
        sent = mapped(body(ip="000.000.000.000"))

        assert "ip" not in sent
        assert sent["event_properties"]["ip"] == "000.000.000.000"

    def test_texts_are_cut(self) -> None:
        long = "ü" * 2000
        sent = mapped(body(event="click", url=long, category=[long], useragent=long, amp_user_id=long, arg=long))

        properties = sent["event_properties"]
        for text in (
            properties["url"],
            properties["category"][0],
            properties["custom_args"]["arg"],
            sent["user_agent"],
            sent["user_id"],
        ):
            assert text == "ü" * LONGEST_TEXT

    def test_a_long_id_stays_apart_from_another(self) -> None:
        first, second = (mapped(body(sg_event_id="x" * 2000 + end))["insert_id"] for end in "ab")

        assert first != second
        assert len(first) <= LONGEST_TEXT

    def test_custom_arguments_go_along_as_configured(self) -> None:
        sent = body(order="5", plan="pro", email="ada@example.com")

        def properties(**rules: Any) -> Any:
            return mapped(sent, Rules(**rules))["event_properties"]

        allowed = frozenset({"plan", "reason"})
        assert properties()["custom_args"] == {"order": "5", "plan": "pro"}
        assert properties(allowed_args=allowed)["custom_args"] == {"plan": "pro"}
        flat = properties(custom_args="flat", allowed_args=allowed)
        assert flat["plan"] == "pro"
        assert {"custom_args", "order"}.isdisjoint(flat)

    def test_a_field_may_be_left_out_where_the_event_stays_the_same(self) -> None:
        event = AmplitudeEvent("ada", b'{"ip":"x","time":1}')

        assert without(event, "ip") == AmplitudeEvent("ada", b'{"time":1}')
        assert without(event, "user_agent") is None
        assert without(event, "time") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=20) | st.sampled_from(["null", "open"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["event", "email", "timestamp", "ip", "useragent", "amp_user_id", "category", "url", "x"])


QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.dictionaries(KEYS, JSON), st.sampled_from(EVENTS))
def test_any_element_is_mapped_or_skipped_the_same_each_time(element: dict[str, Any], event: EventType) -> None:
    sent = orjson.dumps({"event": event.name} | element)
    first = outcome(sent)

    assert first == outcome(sent)
    if isinstance(first, AmplitudeEvent):
        content = orjson.loads(first.content)
        assert type(content["time"]) is int
        assert content["time"] > 0
        assert content["user_id"].lower() not in REFUSED_IDS


ROWS = st.dictionaries(st.sampled_from([*(column.name for column in NAMES["click"].columns), "x"]), JSON)


@QUICK
@given(st.one_of(st.binary(max_size=30), JSON.map(orjson.dumps), ROWS.map(orjson.dumps)), st.sampled_from(EVENTS))
def test_any_record_is_mapped_or_wrong(line: bytes, event: EventType) -> None:
    with suppress(ValueError):
        Mapper(event, Rules())(line)
