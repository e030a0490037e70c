"""What a rule makes of a call: each field, default, limit and error of a mail."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from schemas.mail import Mail, MailRefusedError, MailRules, Rule, check_field, check_recipients
from schemas.mail_fields import FIELDS
from schemas.segment import Call

NOW = 1_790_000_000_000
USUAL: dict[str, Any] = {
    "template_id": "d-1c22bd7a",
    "from": "shop@example.com",
    "to": "$.properties.email",
}
DAY = 86_400_000


def call(at: int = NOW, received_at: int = 0, **properties: Any) -> Call:
    about = {"email": "Ada@example.com", "name": "Ada"} | properties
    context = {"traits": {"plan": "pro"}}
    return Call("track", "m1", "u1", "a1", "Order", at, received_at or at, {}, about, context)


def made(fields: Mapping[str, Any] | None = None, /, one: Call | None = None, max_age: float = 0, **also: Any) -> Mail:
    rule = Rule("Order", "Order", USUAL | dict(fields or {}), max_age)
    return rule.mail(one or call(**also), "amp_user_id", NOW)


def body(fields: Mapping[str, Any] | None = None, /, **properties: Any) -> Any:
    return orjson.loads(made(fields, **properties).body)


def personalization(fields: Mapping[str, Any] | None = None, /, **properties: Any) -> Any:
    (found,) = body(fields, **properties)["personalizations"]
    return found


def refusal(fields: Mapping[str, Any], /, **properties: Any) -> str:
    with pytest.raises(MailRefusedError) as refused:
        made(fields, **properties)
    return str(refused.value)


class TestBody:
    def test_the_least_that_a_rule_says(self) -> None:
        identity = Rule("Order", "Order", USUAL).id_of(call())

        assert body() == {
            "from": {"email": "shop@example.com"},
            "reply_to": {"email": "shop@example.com"},
            "template_id": "d-1c22bd7a",
            "personalizations": [
                {
                    "to": [{"email": "Ada@example.com"}],
                    "dynamic_template_data": {"email": "Ada@example.com", "name": "Ada"},
                    "custom_args": {
                        "gridstream_rule": "Order",
                        "gridstream_message_id": identity,
                        "amp_user_id": "u1",
                    },
                }
            ],
        }

    def test_all_that_a_rule_may_say(self) -> None:
        whole = body(
            {
                "from_name": "The Shop",
                "to_name": "$.properties.name",
                "cc": ["cc@example.com", {"email": "$.properties.boss", "name": "Boss"}, ""],
                "bcc": "bcc@example.com",
                "reply_to": {"email": "help@example.com", "name": "Help"},
                "headers": {"X-Plan": "$.context.traits.plan", "X-Count": 5, "X-None": "$.properties.none"},
                "custom_args": {"plan": "$.context.traits.plan", "vip": True, "tags": ["a"]},
                "categories": ["orders", "$.properties.kind"],
                "group_id": "News [123]",
                "ip_pool_name": "fast",
                "send_at": "2026-09-21T15:13:20Z",
                "sandbox": True,
                "dynamic_template_data": {"who": "$.properties.name", "fixed": 1, "none": "$.properties.none"},
            },
            boss="boss@example.com",
            kind="books",
        )
        (found,) = whole.pop("personalizations")
        arguments = found.pop("custom_args")

        assert whole == {
            "from": {"email": "shop@example.com", "name": "The Shop"},
            "reply_to": {"email": "help@example.com", "name": "Help"},
            "template_id": "d-1c22bd7a",
            "categories": ["orders", "books"],
            "asm": {"group_id": 123},
            "ip_pool_name": "fast",
            "mail_settings": {"sandbox_mode": {"enable": True}},
        }
        assert found == {
            "to": [{"email": "Ada@example.com", "name": "Ada"}],
            "cc": [{"email": "cc@example.com"}, {"email": "boss@example.com", "name": "Boss"}],
            "bcc": [{"email": "bcc@example.com"}],
            "headers": {"X-Plan": "pro", "X-Count": "5"},
            "dynamic_template_data": {"who": "Ada", "fixed": 1},
            "send_at": 1_790_003_600,
        }
        assert arguments["plan"] == "pro"
        assert (arguments["vip"], arguments["tags"]) == ("true", '["a"]')

    def test_optional_fields_that_the_call_lacks_are_left_out(self) -> None:
        optional = set(FIELDS) - {"template_id", "from", "to", "dynamic_template_data"}

        assert body(dict.fromkeys(optional, "$.properties.nothing")) == body()

    def test_whole_tables_and_lists_come_from_the_call(self) -> None:
        found = personalization(
            {"to": "$.properties.people", "headers": "$.properties.headers", "custom_args": "$.properties.args"},
            people=["a@example.com", {"email": "b@example.com", "name": "B"}, {"email": "", "name": ""}, None],
            headers={"X-A": 1},
            args={"a": None},
        )

        assert found["to"] == [{"email": "a@example.com"}, {"email": "b@example.com", "name": "B"}]
        assert found["headers"] == {"X-A": "1"}
        assert found["custom_args"]["a"] == ""

    def test_data_that_looks_empty_is_data(self) -> None:
        data = {"a": "", "b": 0, "c": [], "d": {}}

        assert personalization({"dynamic_template_data": data})["dynamic_template_data"] == data

    def test_a_user_without_an_id_has_no_argument_for_it(self) -> None:
        one = Call("track", "m1", "", "a1", "Order", NOW, NOW, {}, {"email": "a@example.com"}, {})
        arguments = orjson.loads(made(one=one).body)["personalizations"][0]["custom_args"]

        assert set(arguments) == {"gridstream_rule", "gridstream_message_id"}

    def test_the_mail_of_a_call_is_always_the_same_mail(self) -> None:
        first, other = Rule("A", "Order", USUAL), Rule("B", "Order", USUAL)
        changed = Rule("A", "Order", USUAL | {"template_id": "d-2"})

        assert first.id_of(call()) == changed.id_of(call(name="Bob")) != other.id_of(call())


class TestValues:
    @pytest.mark.parametrize("value", ["d-1c22bd7a", " d-1c22bd7a ", "Order - v2 [d-1c22bd7a]", "A [x] - [d-1c22bd7a]"])
    def test_template_ids(self, value: str) -> None:
        assert body({"template_id": value})["template_id"] == "d-1c22bd7a"

    @pytest.mark.parametrize(
        ("value", "number"), [(7, 7), ("7", 7), ("7 News", 7), ("News [7]", 7), ("2026 News [7]", 7), (" News [7] ", 7)]
    )
    def test_unsubscribe_groups(self, value: object, number: int) -> None:
        assert body({"group_id": value})["asm"] == {"group_id": number}

    @pytest.mark.parametrize(
        "value",
        ["2026-09-21T15:13:20Z", "2026-09-21T17:13:20+02:00", "2026-09-21 15:13:20", 1_790_003_600, "1790003600"],
    )
    def test_times_to_send_at(self, value: object) -> None:
        assert personalization({"send_at": value})["send_at"] == 1_790_003_600

    @pytest.mark.parametrize("length", [2, 64])
    def test_pools_of_the_shortest_and_the_longest_name(self, length: int) -> None:
        assert body({"ip_pool_name": "x" * length})["ip_pool_name"] == "x" * length

    @pytest.mark.parametrize("value", [["x" * 255], [str(number) for number in range(10)], "one", [5]])
    def test_categories(self, value: Any) -> None:
        expected = value if isinstance(value, list) else [value]

        assert body({"categories": value})["categories"] == list(map(str, expected))

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("$.userId", "u1"),
            ("$.anonymousId", "a1"),
            ("$.event", "Order"),
            ("$.messageId", "m1"),
            ("$.type", "track"),
            ("$.timestamp", "2026-09-21T14:13:20.000Z"),
            ("$.receivedAt", "2026-09-21T14:13:20.000Z"),
            ("$.context.traits.plan", "pro"),
            ("$.properties.lines[1].sku", "b"),
            ('$.properties["first name"]', "Ada"),
            ("$.properties['first name']", "Ada"),
            ("$.properties.lines[7].sku", None),
            ("$.properties.lines.sku", None),
            ("$.properties.name.first", None),
            ("$.traits.none", None),
        ],
    )
    def test_paths(self, path: str, value: object) -> None:
        lines = [{"sku": "a"}, {"sku": "b"}]
        found = personalization({"dynamic_template_data": {"x": path}}, **{"lines": lines, "first name": "Ada"})

        assert found["dynamic_template_data"] == ({"x": value} if value is not None else {})

    def test_international_domains_are_written_in_ascii(self) -> None:
        assert personalization(email="Ada@bücher.example.com")["to"] == [{"email": "Ada@xn--bcher-kva.example.com"}]


class TestRefusals:
    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("template_id", "Order v1", "template_id: found 'Order v1', expected the id of a dynamic template"),
            ("template_id", "1c22bd7a-legacy", "template_id: found '1c22bd7a-legacy'"),
            ("template_id", None, "template_id: found nothing, expected a value"),
            ("from", "shop", "from: found 'shop', expected an address"),
            ("from", None, "from: found nothing"),
            ("from", {"name": "Shop"}, "from: found nothing, expected an address"),
            ("to", "nobody", "to: found 'nobody', expected an address"),
            ("to", None, "to: found nothing, expected a value"),
            ("to", [], "to: found nothing"),
            ("to", 5, "to: found 5, expected an address"),
            ("to", {"email": "a@example.com", "mail": "x"}, "to: found 'mail', expected email and name"),
            ("to_name", "Ada; Bob", "to_name: found 'Ada; Bob', expected a name without semicolon, comma"),
            ("to_name", "Lovelace, Ada", "to_name: found 'Lovelace, Ada'"),
            ("to_name", ["Ada"], "to_name: found ['Ada'], expected a name"),
            ("cc", ["b@example.com", "b"], "cc: found 'b', expected an address"),
            ("cc", [{"email": "b@example.com", "name": "B, C"}], "cc: found 'B, C'"),
            ("cc", "ADA@example.com", "to: found 'ADA@example.com', expected each address once"),
            ("bcc", ["b@example.com", "B@example.com"], "to: found 'B@example.com', expected each address once"),
            ("bcc", [f"p{n}@example.com" for n in range(1000)], "to: found '1,001 recipients', expected at most 1,000"),
            ("reply_to", "me", "reply_to: found 'me', expected an address"),
            ("headers", {"X A": "1"}, "headers: found 'X A', expected the name of a header"),
            ("headers", {"X:A": "1"}, "headers: found 'X:A'"),
            ("headers", {"Ä": "1"}, "headers: found 'Ä'"),
            ("headers", {"X-A": "1\r\nBcc: x"}, "headers: found '1\\r\\nBcc: x', expected a value of X-A without line"),
            ("headers", "x", "headers: found 'x', expected a table"),
            ("custom_args", {"gridstream_rule": "x"}, "custom_args: found 'gridstream_rule'"),
            ("custom_args", {"a": "x" * 10_000}, "custom_args: found '10,0"),
            ("custom_args", {"a": "x" * 9_900}, "custom_args: found '10,0"),
            ("custom_args", ["x"], "custom_args: found ['x'], expected a table"),
            ("categories", ["x" * 256], "expected a category of at most 255 ASCII characters"),
            ("categories", ["ä"], "categories: found 'ä'"),
            ("categories", ["a", "a"], "categories: found 'a', expected each category once"),
            ("categories", [str(n) for n in range(11)], "categories: found '11 categories', expected at most 10"),
            ("group_id", "News", "group_id: found 'News', expected the number of an unsubscribe group"),
            ("group_id", True, "group_id: found True"),
            ("group_id", 0, "group_id: found 0"),
            ("ip_pool_name", "x", "ip_pool_name: found 'x', expected a name of 2 to 64 characters"),
            ("ip_pool_name", "x" * 65, "expected a name of 2 to 64 characters"),
            ("send_at", "tomorrow", "send_at: found 'tomorrow', expected a time"),
            ("send_at", 1_790_259_201, "send_at: found 1790259201, expected a time at most 72 hours ahead"),
            ("send_at", 1_789_999_999, "send_at: found 1789999999, expected a time that was not past already"),
            ("sandbox", "yes", "sandbox: found 'yes', expected true or false"),
            ("dynamic_template_data", [1], "dynamic_template_data: found [1], expected a table"),
            ("dynamic_template_data", {"a": "x" * 30_000_000}, "dynamic_template_data: found '30,000,"),
        ],
    )  # fmt: skip
    def test_it_names_rule_field_and_value(self, field: str, value: object, said: str) -> None:
        """The same whether the value is the rule's or the call's."""
        reason = refusal({field: "$.properties.value"}, value=value)

        assert reason.startswith("rule Order: ")
        assert said in reason

    @pytest.mark.parametrize(
        "header",
        [
            "x-sg-id", "X-SG-EID", "Received", "DKIM-Signature", "Content-Type", "content-transfer-encoding", "TO",
            "From", "subject", "Reply-To", "cc", "BCC",
        ],
    )  # fmt: skip
    def test_reserved_headers_in_any_letter_case(self, header: str) -> None:
        assert f"headers: found '{header}'" in refusal({"headers": "$.properties.headers"}, headers={header: "x"})

    def test_long_values_are_cut(self) -> None:
        assert len(refusal({}, email="x" * 10_000)) < 600


class TestTimes:
    def test_send_at_up_to_72_hours_ahead(self) -> None:
        assert personalization({"send_at": 1_790_259_200})["send_at"] == 1_790_259_200

    def test_a_time_that_passed_while_the_call_waited_is_now(self) -> None:
        waited = made({"send_at": 1_789_999_000}, one=call(NOW - DAY))

        assert "send_at" not in orjson.loads(waited.body)["personalizations"][0]
        assert waited.due == 1_789_999_000_000

    def test_a_past_time_within_max_age_is_now(self) -> None:
        assert made({"send_at": 1_789_999_000}, max_age=1000).due == NOW
        with pytest.raises(MailRefusedError, match="beyond max_age"):
            made({"send_at": 1_789_998_999}, max_age=1000)

    def test_whoever_asks_for_it_gets_it_whatever_the_time(self) -> None:
        rule = Rule("Order", "Order", USUAL | {"send_at": 1_700_000_000}, 5)

        assert rule.mail(call(NOW - DAY), "uid", NOW, is_asked=True).body

    @pytest.mark.parametrize(
        ("max_age", "at", "received_at", "is_late"),
        [
            (0, NOW - 9 * DAY, NOW - 9 * DAY, False),
            (60, NOW - 60_000, NOW - 60_000, False),
            (60, NOW - 60_001, NOW - 60_001, True),
            (60, NOW - DAY, NOW, True),  # it happened long ago, whenever it came
            (60, 0, NOW, False),
            (60, NOW + DAY, NOW, False),  # a clock that is ahead
            (60, NOW + DAY, NOW - 60_001, True),
        ],
    )
    def test_lateness_counts_from_when_it_happened(
        self, max_age: float, at: int, received_at: int, *, is_late: bool
    ) -> None:
        rule = Rule("Order", "Order", USUAL, max_age)
        mail = rule.mail(call(at, received_at), "uid", NOW)

        assert rule.is_late(mail, NOW) == is_late

    def test_a_mail_for_later_is_not_late_before(self) -> None:
        rule = Rule("Order", "Order", USUAL | {"send_at": 1_790_000_000}, 60)

        assert not rule.is_late(rule.mail(call(NOW - DAY), "uid", NOW), NOW + 60_000)
        assert rule.is_late(rule.mail(call(NOW - DAY), "uid", NOW), NOW + 60_001)


class TestRules:
    def test_those_of_an_event_want_its_track_calls_only(self) -> None:
        rules = MailRules([Rule("A", "Order", USUAL), Rule("B", "Order", USUAL), Rule("C", "Other", USUAL)])
        page = Call("page", "m", "u", "", "Order", NOW, NOW, {}, {}, {})
        unknown = Call("track", "m", "u", "", "order", NOW, NOW, {}, {}, {})

        assert (rules.want(call()), rules.want(page), rules.want(unknown)) == (True, False, False)
        assert [rule.name for rule in rules.of(call())] == ["A", "B"]
        assert not rules.of(page)

    @pytest.mark.parametrize("field", FIELDS)
    def test_a_path_is_taken_for_every_field_and_checked(self, field: str) -> None:
        check_field(field, "$.properties.x")
        for path in ("$.", "$.x", "$.properties.", "$.properties[", "$.properties[a]", "$.property.x"):
            with pytest.raises(ValueError, match="found"):
                check_field(field, path)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("from", {"email": "$.properties.x", "name": "Shop"}),
            ("to", ["$.properties.x", {"email": "$.properties.y", "name": "Ada"}, "a@example.com"]),
            ("cc", []),
            ("cc", ""),
            ("headers", {"X-A": "$.properties.x", "X-B": 1}),
            ("custom_args", {"a": "$.properties.x"}),
            ("categories", ["$.properties.x", "$.properties.y", "a"]),
            ("send_at", ""),
            ("group_id", ""),
            ("dynamic_template_data", {"a": {"b": ["$.properties.x"]}}),
        ],
    )
    def test_what_only_a_call_knows_is_left_to_it(self, field: str, value: object) -> None:
        check_field(field, value)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("to", ""),
            ("to", []),
            ("from", ""),
            ("template_id", ""),
            ("to", ["$.properties.x", "nobody"]),
            ("headers", {"To": "$.properties.x"}),
            ("custom_args", {"gridstream_rule": "$.properties.x"}),
            ("categories", ["$.properties.x", "ä"]),
            ("cc", {"email": "nobody"}),
            ("dynamic_template_data", {"a": {"b": ["$.nothing.x"]}}),
        ],
    )
    def test_the_rest_is_checked_at_once(self, field: str, value: object) -> None:
        with pytest.raises(ValueError, match="found"):
            check_field(field, value)

    def test_recipients_that_are_there_twice_are_seen_at_once(self) -> None:
        check_recipients("$.properties.x", ["a@example.com", "$.properties.x"], "b@example.com")
        with pytest.raises(ValueError, match="each address once"):
            check_recipients("a@example.com", ["$.properties.x"], {"email": "A@example.com"})
