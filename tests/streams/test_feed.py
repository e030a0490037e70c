"""The simulated feed: it is what SendGrid sends, to the byte, and the same each time."""

import re
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import orjson
import pytest

from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer, is_signed, public_key
from schemas.events import EVENTS, UNKNOWN
from schemas.normalize import Normalizer
from streams.simulator.feed import Body, Feed, FeedEvent, bodies

START = 1_790_000_000
FEED = Feed(seed=7, start=START, rate=100.0)
SHARES = {
    "processed": 25,
    "delivered": 24,
    "open": 30,
    "click": 8,
    "deferred": 6,
    "bounce": 3,
    "dropped": 2,
}
"""Of all events, in percent, as in production."""
ID = re.compile(r"[\w-]{22}")
MESSAGE_ID = re.compile(r"([\w-]{22})\.recvd-[a-z0-9-]+-([0-9A-F]{8})-[0-9A-F]{1,2}\.([0-3])")
SMTP_ID = re.compile(r"<([\w-]{22})@geopod-ismtpd-[\d-]+>")
RESERVED_DOMAIN = re.compile(r"[a-z]+\.example|mail\.example\.org")


@cache
def events() -> list[dict[str, Any]]:
    return [orjson.loads(event.line) for event in islice(FEED, 20_000)]


def of(*names: str) -> Iterator[dict[str, Any]]:
    return (event for event in events() if event["event"] in names)


def decoded(event: dict[str, Any]) -> str:
    text = event["sg_event_id"]
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


class TestTypes:
    def test_the_first_few_hundred_events_have_all_of_them(self) -> None:
        declared = {event.name for event in EVENTS}

        first = {event["event"] for event in events()[:300]}

        assert declared - first == {UNKNOWN.name}
        assert len(first - declared) == 1

    @pytest.mark.parametrize(("name", "percent"), SHARES.items())
    def test_the_frequent_ones_are_as_frequent_as_in_production(self, name: str, percent: int) -> None:
        assert 100 * len(list(of(name))) / len(events()) == pytest.approx(percent, abs=1.5)

    def test_the_rest_is_rare_from_the_first_event_on(self) -> None:
        counts = Counter(event["event"] for event in events())

        assert sum(number for name, number in counts.items() if name not in SHARES) < 0.02 * len(events())
        assert counts["amp_interaction"] < 0.001 * len(events())


class TestFields:
    def test_only_account_events_have_no_email(self) -> None:
        assert {event["event"] for event in events() if "email" not in event} == {"account_status_change"}

    def test_addresses_are_nobodys(self) -> None:
        domains = {event["email"].lower().partition("@")[2] for event in events() if "email" in event}

        assert len(domains) > 5
        assert all(RESERVED_DOMAIN.fullmatch(domain) for domain in domains)

    def test_users_have_one_address_each(self) -> None:
        addresses: dict[str, set[str]] = {}
        for event in events():
            if "amp_user_id" in event:
                addresses.setdefault(event["amp_user_id"], set()).add(event["email"])

        assert all(len(found) == 1 for found in addresses.values())
        assert len(addresses) == len(set().union(*addresses.values()))

    def test_about_half_of_the_users_have_an_id(self) -> None:
        with_id = sum("amp_user_id" in event for event in of("processed"))

        assert with_id / len(list(of("processed"))) == pytest.approx(0.5, abs=0.05)

    def test_custom_arguments_have_keys_with_spaces_and_capitals_and_a_number_now_and_then(self) -> None:
        values = {
            key: type(event[key])
            for event in events()
            for key in ("Order Total", "requestId", "Position")
            if key in event
        }

        assert values == {"Order Total": str, "requestId": str, "Position": int}

    def test_category_is_an_array_a_text_empty_or_absent(self) -> None:
        found = {type(event.get("category")) for event in of("processed")}

        assert found == {list, str, type(None)}
        assert any(event.get("category") == [] for event in events())

    def test_values_have_the_json_types_of_the_wire(self) -> None:
        send_at = {type(event["send_at"]) for event in of("processed")}
        pools = {type(event["pool"]["id"]) for event in of("processed") if "pool" in event}

        assert send_at == {int, float, str}
        assert pools == {str}
        assert {type(event["attempt"]) for event in of("deferred")} == {str}
        assert {event["tls"] for event in of("delivered")} == {0, 1}
        assert {type(event["url_offset"]["index"]) for event in of("click")} == {int}
        assert {type(event["marketing_campaign_id"]) for event in events() if "marketing_campaign_id" in event} == {int}

    def test_people_and_machines_open(self) -> None:
        assert {event["useragent"] for event in of("open") if event["sg_machine_open"]} == {"Mozilla/5.0"}
        assert any("GoogleImageProxy" in event["useragent"] for event in of("open") if not event["sg_machine_open"])
        assert any(":" in event["ip"] for event in of("open"))

    def test_bounces_are_for_good_or_for_now_and_not_all_are_classified(self) -> None:
        assert {event["type"] for event in of("bounce")} == {"bounce", "blocked"}
        assert any("bounce_classification" not in event for event in of("bounce"))

    def test_late_bounces_have_lost_what_ties_them_to_a_message(self) -> None:
        late = [event for event in of("bounce") if not event.get("sg_message_id")]

        assert {event.get("sg_message_id") for event in late} == {None, ""}
        for event in late:
            assert event.keys().isdisjoint({"smtp-id", "category", "amp_user_id", "asm_group_id"})
            assert re.fullmatch(r"bounce-\d+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", decoded(event))


class TestIds:
    def test_of_delivery_events_tell_message_recipient_and_attempt(self) -> None:
        for event in of("processed", "dropped", "delivered", "deferred", "bounce"):
            if event.get("sg_message_id"):
                message = MESSAGE_ID.fullmatch(event["sg_message_id"])
                smtp = SMTP_ID.fullmatch(event["smtp-id"])
                assert message
                assert smtp
                base, accepted, place = message.groups()
                kind = re.escape({"dropped": "drop"}.get(event["event"], event["event"]))
                attempt = event.get("attempt", r"\d") + "-" if kind not in ("processed", "drop") else ""
                assert smtp[1] == base
                assert int(accepted, 16) <= event["timestamp"]
                assert re.fullmatch(rf"{kind}-{attempt}\d+-{base}-{place}", decoded(event))

    def test_of_engagement_events_are_random(self) -> None:
        for event in of("open", "click", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe"):
            assert ID.fullmatch(event["sg_event_id"])

    def test_of_account_events_tell_account_and_time(self) -> None:
        for event in of("account_status_change"):
            assert re.fullmatch(rf"\d+-terminate-{event['timestamp']}", decoded(event))

    def test_are_the_same_for_repeats_alone(self) -> None:
        found = list(islice(FEED, 20_000))
        distinct = [event.line for event in found if not event.is_repeat]

        ids = {orjson.loads(line)["sg_event_id"] for line in distinct}

        assert len(ids) == len(distinct)


class TestLifeCycles:
    def test_each_step_of_a_message_follows_the_one_before(self) -> None:
        order = {"processed": 0, "deferred": 1, "delivered": 2, "open": 3, "click": 4}
        seen: dict[str, str] = {}
        for event in (orjson.loads(event.line) for event in islice(Feed(1, START, rate=100.0, repeat_share=0), 20_000)):
            message = event.get("sg_message_id")
            if message and event["event"] in order:
                before = seen.get(message, event["event"])
                assert order[before] <= order[event["event"]] or {before, event["event"]} == {"open", "click"}
                seen[message] = event["event"]

    def test_attempts_are_counted(self) -> None:
        assert {event["attempt"] for event in of("deferred")} == {"1", "2", "3"}

    def test_time_goes_on_with_the_rate(self) -> None:
        times = [orjson.loads(event.line)["timestamp"] for event in islice(FEED, 20_000) if not event.is_repeat]

        assert times == sorted(times)
        assert times[0] == START
        assert times[-1] == pytest.approx(START + 200, abs=5)

    @pytest.mark.parametrize(("rate", "oldest"), [(10.0, 4 * 3600), (1e6, 1)])
    def test_last_no_longer_than_memory_allows(self, rate: float, oldest: int) -> None:
        feed = islice(Feed(1, START, rate=rate, compress=1.0), 2000)

        ages = [
            event["timestamp"] - int(message[2], 16)
            for event in map(orjson.loads, (event.line for event in feed))
            if (message := MESSAGE_ID.fullmatch(event.get("sg_message_id", "")))
        ]

        assert 0.2 * oldest < max(ages) <= oldest


class TestDeterminism:
    def test_the_same_seed_gives_the_same_feed(self) -> None:
        assert list(islice(FEED, 1000)) == list(islice(Feed(seed=7, start=START, rate=100.0), 1000))

    def test_another_seed_gives_another_one(self) -> None:
        assert list(islice(FEED, 1000)) != list(islice(Feed(seed=8, start=START, rate=100.0), 1000))


class TestRepeats:
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
    def test_are_as_frequent_as_asked_for(self, share: float) -> None:
        found = list(islice(Feed(1, START, rate=100.0, repeat_share=share), 20_000))

        assert sum(event.is_repeat for event in found) / len(found) == pytest.approx(share, rel=0.15)

    def test_are_exact_copies_of_earlier_events(self) -> None:
        lines: set[bytes] = set()
        for event in islice(FEED, 20_000):
            assert event.is_repeat == (event.line in lines)
            lines.add(event.line)


class TestBodies:
    def test_are_framed_as_sendgrid_frames_them(self) -> None:
        found = [FeedEvent(b'{"a":1}', is_repeat=False), FeedEvent(b'{"a":1}', is_repeat=True)]

        (body,) = bodies(found, least=2, most=2)

        assert body == Body(b'[{"a":1},\r\n{"a":1}]\r\n', events=2, distinct=1)

    def test_have_compact_json_with_sorted_keys_in_utf8(self) -> None:
        for event in islice(FEED, 2000):
            assert orjson.dumps(orjson.loads(event.line), option=orjson.OPT_SORT_KEYS) == event.line
        assert any("Frühling".encode() in event.line for event in islice(FEED, 2000))
        assert any(b"<" in event.line for event in islice(FEED, 2000))

    def test_hold_1_to_200_events_and_all_of_them(self) -> None:
        found = list(bodies(islice(FEED, 20_000)))

        assert (
            b"".join(body.content for body in found).count(b'"event":') == sum(body.events for body in found) == 20_000
        )
        assert min(body.events for body in found) == 1
        assert 150 < max(body.events for body in found) <= 200

    def test_can_all_have_one_size(self) -> None:
        assert [body.events for body in bodies(islice(FEED, 1234), least=500, most=500)] == [500, 500, 234]

    def test_have_sizes_by_their_seed(self) -> None:
        one, again, two = ([body.events for body in bodies(islice(FEED, 2000), seed=seed)] for seed in (1, 1, 2))

        assert one == again
        assert one != two

    def test_of_no_events_are_none(self) -> None:
        assert list(bodies([])) == []

    def test_verify_and_normalize_without_a_malformed_element(self) -> None:
        signer = Signer.generate()
        keys = [public_key(signer.public_key)]
        normalize = Normalizer()
        types: Counter[str] = Counter()
        identities: set[int] = set()
        distinct = 0
        for body in bodies(islice(FEED, 20_000)):
            headers = signer.headers(str(START), body.content)
            assert is_signed(keys, headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER], body.content)
            normalized = normalize(body.content, received_at=(START + 1000) * 1000)
            assert not normalized.malformed
            assert len(normalized.events) == body.events
            assert not any(b'"timestamp":"1970' in event.line for event in normalized.events)
            types.update(event.type.name for event in normalized.events)
            identities.update(event.identity for event in normalized.events)
            distinct += body.distinct

        sent = Counter(event["event"] for event in events())
        declared = {event.name for event in EVENTS}

        assert {name: types[name] for name in declared - {UNKNOWN.name}} == {
            name: sent[name] for name in declared - {UNKNOWN.name}
        }
        assert types[UNKNOWN.name] == sent["amp_interaction"]
        assert len(identities) == distinct

    def test_leave_nothing_declared_to_the_custom_arguments(self) -> None:
        normalize = Normalizer()
        arguments: set[str] = set()
        for body in bodies(islice(FEED, 20_000)):
            for event in normalize(body.content, received_at=START * 1000).events:
                if event.type is not UNKNOWN:
                    arguments.update(orjson.loads(event.line)["custom_args"])

        assert arguments == {"amp_user_id", "order_id", "Order Total", "requestId", "workspace", "Position"}
