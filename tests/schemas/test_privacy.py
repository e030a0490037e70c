"""What of an element may be seen, and by what people are recognized who must not be."""

import hashlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.normalize import Normalizer
from schemas.privacy import Guard, Later, Marks, People, Rules, addresses, is_plain

MARKS = Marks("a key")
ADA = "ada@example.com"
RECEIVED_AT = 1_714_000_100_000


def guard(rules: Rules | None = None, later: Later = "drop", **forgotten: int) -> Guard:
    """With Ada forgotten at a time, if it is given."""
    people = People()
    for name, at in forgotten.items():
        people.add(MARKS(f"{name}@example.com"), at)
    return Guard(rules or Rules(), MARKS, people, "amp_user_id", later)


def opened(**fields: object) -> dict[str, object]:
    return {"event": "open", "email": "Ada@Example.com", "timestamp": 1_714_000_000, "sg_event_id": "id", **fields}


def rows(guard: Guard, *elements: object) -> tuple[list[dict[str, Any]], list[int]]:
    """What is stored of some elements, and what stands for the others."""
    (events, malformed), removed = Normalizer().guarded(orjson.dumps(elements), RECEIVED_AT, guard)
    assert not malformed
    return [orjson.loads(event.line) for event in events], removed


def test_a_mark_needs_the_key() -> None:
    assert MARKS(ADA) == Marks("a key")(ADA)
    assert MARKS(ADA) != Marks("another")(ADA)
    assert MARKS.check != Marks("another").check
    digests = {hashlib.new(name, ADA.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "blake2b", "blake2s")}
    assert not any(MARKS(ADA) in digest for digest in digests)


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 <Ada@Example.com>: Recipient address rejected",
        "https://www.example.com/?email=ada%40example.com&x=1",
        '{"to":"ada@example.com"}',
        "wrote to ada@example.com.",
        "'ada@example.com'",
        "mailto:ada@example.com",
    ],
)
def test_an_address_is_found_among_other_words(text: str) -> None:
    assert ADA in set(addresses(text))


@pytest.mark.parametrize(
    "text", ["ada@example.com.br", "jada@example.com", "x.ada@example.com", "ada@example.community"]
)
def test_others_are_not_taken_for_it(text: str) -> None:
    assert ADA not in set(addresses(text))


@given(st.from_regex(r"[a-z0-9.!#$%*+^_`~-]{1,20}@[a-z0-9-]{1,10}\.[a-z]{2,5}", fullmatch=True), st.text(), st.text())
def test_what_is_plain_is_found_wherever_it_stands(address: str, before: str, after: str) -> None:
    if is_plain(address) and "%40" not in before + address + after:
        assert address in set(addresses(f"{before} <{address}> {after}"))


class TestRules:
    def test_without_any_nothing_is_touched(self) -> None:
        element = opened(ip="203.0.113.7")

        assert not guard()
        assert guard()(element, RECEIVED_AT) is element

    def test_a_hashed_address_is_nowhere_in_the_row(self) -> None:
        element = opened(
            reason="no such user <ada@EXAMPLE.com>",
            url="https://x.example.com/?e=ada%40example.com",
            crm={"mail": [ADA]},
        )
        ((row,), removed) = rows(
            guard(Rules(email="hash")),
            element,
        )

        assert row["email"] == row["user_id"] == MARKS(ADA)
        assert "example.com>" not in orjson.dumps(row).decode()
        assert ADA not in set(addresses(orjson.dumps(row).decode()))
        assert orjson.dumps(row).decode().count(MARKS(ADA)) == 5
        assert not removed

    def test_a_dropped_one_leaves_nothing(self) -> None:
        ((row,), _) = rows(guard(Rules(email="drop")), opened(amp_user_id="u1"))

        assert (row["email"], row["user_id"]) == ("", "u1")

    def test_the_id_of_an_event_that_has_none_cannot_be_guessed_either(self) -> None:
        anonymous = {"event": "open", "email": ADA, "timestamp": 1_714_000_000}
        ((plain,), _) = rows(guard(), anonymous)
        ((hashed,), _) = rows(guard(Rules(email="hash")), anonymous)

        assert plain["event_id"] != hashed["event_id"]

    @pytest.mark.parametrize("event", ["open", "click", "unsubscribe", "group_unsubscribe", "nobody_declared"])
    def test_what_tells_of_a_device_goes(self, event: str) -> None:
        element = opened(event=event, ip="203.0.113.7", useragent="Mozilla/5.0")
        ((row,), _) = rows(guard(Rules(ip="hash", useragent="drop")), element)

        text = orjson.dumps(row).decode()
        assert MARKS("203.0.113.7") in text
        assert "203.0.113.7" not in text
        assert "Mozilla" not in text

    @pytest.mark.parametrize("event", ["delivered", "bounce", "deferred", "spamreport"])
    def test_what_tells_of_a_server_stays(self, event: str) -> None:
        ((row,), _) = rows(guard(Rules(ip="drop")), opened(event=event, ip="203.0.113.7"))

        assert row["ip"] == "203.0.113.7"

    def test_a_links_query_goes(self) -> None:
        element = opened(event="click", url="https://www.example.com/a?b=c#d")
        ((row,), _) = rows(guard(Rules(url_query="drop")), element)

        assert row["url"] == "https://www.example.com/a"

    def test_what_is_no_event_says_nobodys_address(self) -> None:
        body = orjson.dumps([f"call {ADA}"])
        (_, malformed), _ = Normalizer().guarded(body, RECEIVED_AT, guard(Rules(email="hash")))

        assert malformed[0].payload == f'"call {MARKS(ADA)}"'.encode()


class TestForgotten:
    def test_nothing_of_the_time_before_comes_back(self) -> None:
        for later in ("drop", "pseudonymize", "keep"):
            found, removed = rows(guard(later=later, ada=RECEIVED_AT), opened(), opened(email="bob@example.com"))

            assert [row["email"] for row in found] == ["bob@example.com"]
            assert len(removed) == 1

    def test_of_the_time_before_not_even_a_mention_comes_back(self) -> None:
        mention = opened(email="bob@example.com", reason=f"forwarded from {ADA}")

        assert rows(guard(ada=RECEIVED_AT), mention)[0] == []
        assert len(rows(guard(ada=RECEIVED_AT - 1), mention)[0]) == 1

    def test_what_comes_later_is_dropped_pseudonymized_or_kept(self) -> None:
        before = RECEIVED_AT - 1
        element = opened(ip="203.0.113.7")

        assert rows(guard(later="drop", ada=before), element)[0] == []
        ((kept,), _) = rows(guard(later="keep", ada=before), element)
        assert kept["email"] == ADA
        ((hidden,), removed) = rows(guard(later="pseudonymize", ada=before), element)
        assert hidden["email"] == hidden["user_id"] == MARKS(ADA)
        assert hidden.get("ip", "") == ""
        assert removed == []

    def test_a_user_id_may_be_forgotten_too(self) -> None:
        people = People()
        people.add(MARKS("u1"), RECEIVED_AT)
        by_id = Guard(Rules(), MARKS, people, "amp_user_id", "drop")

        assert rows(by_id, opened(amp_user_id="U1"))[0] == []

    def test_what_stands_for_an_event_needs_the_key_and_is_the_same_again(self) -> None:
        (first,), (again,) = (rows(guard(ada=RECEIVED_AT), opened())[1] for _ in range(2))
        (event,) = Normalizer()(orjson.dumps([opened()]), RECEIVED_AT).events

        assert first == again == MARKS.of_identity(event.identity)
        assert first != event.identity

    def test_of_what_is_no_event_nothing_is_left(self) -> None:
        body = orjson.dumps([f"call {ADA}", "call bob@example.com"])
        (_, malformed), _ = Normalizer().guarded(body, RECEIVED_AT, guard(ada=RECEIVED_AT))

        assert malformed[0].payload == b""
        assert malformed[1].payload == b'"call bob@example.com"'


@given(
    st.recursive(
        st.none() | st.text() | st.floats() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_body_becomes_as_many_things_as_without_a_guard(document: object) -> None:
    body = json.dumps([document, {"event": "open", "email": document}]).encode()
    strict = guard(Rules("hash", "hash", "hash", "drop"), ada=RECEIVED_AT)
    (events, malformed), removed = Normalizer().guarded(body, RECEIVED_AT, strict)
    plain = Normalizer()(body, RECEIVED_AT)

    assert len(events) + len(removed) == len(plain.events)
    assert malformed.keys() == plain.malformed.keys()
