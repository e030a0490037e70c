"""Parsers, given anything: each answers as it says, and never fails otherwise.

A few hundred examples here; FUZZ_EXAMPLES asks for more, as `make faults` does.
"""

import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.statement import data_insert, leads_out, led, outline, takes_input
from connectors.errors import Fatal
from connectors.event_webhook import SIGNATURE_HEADER, Signer, is_signed, public_key
from schemas.cohorts import MissingFactsError, cohort_batch
from schemas.normalize import Normalizer
from streams.commands.times import moment
from streams.settings import load

_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
_NOW = datetime(2026, 11, 21, tzinfo=UTC)
_RECEIVED = 1_790_000_000_000

fuzzed = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [
        "event",
        "timestamp",
        "sg_event_id",
        "email",
        "category",
        "url_offset",
        "pool",
        "asm_group_id",
        "amp_user_id",
        "ip",
        "attempt",
        "event_id",
        "user_id",
        "raw",
    ]
)
kinds = st.sampled_from(["open", "click", "bounce", "processed", "unknown", "_open", "OPEN"]) | values
events = st.dictionaries(names | st.text(max_size=10), values, max_size=8).flatmap(
    lambda event: kinds.map(lambda kind: event | {"event": kind})
)


def as_json(value: Any) -> bytes:
    """Also what strict writers refuse: NaN, lone surrogates, huge integers."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def spoiled(body: bytes, position: int, junk: bytes) -> bytes:
    at = position % (len(body) + 1)
    return body[:at] + junk + body[at + len(junk) // 2 :]


bodies = st.one_of(
    st.binary(max_size=200),
    st.lists(events | values, max_size=5).map(as_json),
    st.builds(spoiled, st.lists(events, min_size=1, max_size=3).map(as_json), st.integers(0), st.binary(max_size=6)),
    st.integers(1, 3000).map(lambda depth: b'[{"event":"open","x":' + b"[" * depth + b"]" * depth + b"}]"),
)


@fuzzed
@given(bodies)
def test_any_body_becomes_events_and_malformed_elements_and_the_same_again(body: bytes) -> None:
    normalizer = Normalizer()
    found = normalizer(body, _RECEIVED)

    assert normalizer(body, _RECEIVED) == found
    for event in found.events:
        row = orjson.loads(event.line)
        assert row.keys() <= {column.name for column in event.type.columns}
        assert row["event_id"]
        assert 0 <= event.identity < 2**64
    if body.strip(b" \t\n\r") in (b"", b"[]"):
        assert not found.events
        assert not found.malformed


KEY = ec.generate_private_key(ec.SECP256R1())


@fuzzed
@given(st.text() | st.binary().map(lambda content: content.decode("latin-1")), st.text(), st.binary(max_size=50))
def test_no_signature_but_the_right_one_is_valid(signature: str, timestamp: str, body: bytes) -> None:
    assert not is_signed([KEY.public_key()], signature, timestamp, body)


@fuzzed
@given(st.text())
def test_a_text_is_a_key_or_is_said_to_be_none(text: str) -> None:
    with suppress(ValueError):
        public_key(text)


@fuzzed
@given(st.integers(0, 2**40), st.binary(max_size=100), st.integers(0, 2**31), st.binary(min_size=1, max_size=3))
def test_a_signed_body_is_valid_and_a_changed_one_is_not(time: int, body: bytes, position: int, junk: bytes) -> None:
    signature = Signer(KEY).headers(str(time), body)[SIGNATURE_HEADER]
    changed = spoiled(body, position, junk)

    assert is_signed([KEY.public_key()], signature, str(time), body)
    assert changed == body or not is_signed([KEY.public_key()], signature, str(time), changed)


cohorts = st.dictionaries(
    st.sampled_from(["cohort_name", "cohort_id", "in_cohort", "computed_time", "message_id", "users"]),
    values,
    max_size=6,
)


@fuzzed
@given(bodies | cohorts.map(as_json))
def test_any_cohort_body_is_a_batch_or_is_said_to_lack_a_fact(body: bytes) -> None:
    with suppress(MissingFactsError):
        assert orjson.loads(cohort_batch(body, "default", _RECEIVED).line())


@fuzzed
@given(st.text() | st.from_regex(re.compile(r"[0-9.]{0,20}[smhdT:+Z-]?[0-9:-]{0,8}"), fullmatch=True))
def test_any_text_is_a_time_or_wrong_usage(text: str) -> None:
    with suppress(typer.BadParameter):
        assert moment(text, _NOW).tzinfo


@fuzzed
@given(
    st.binary(max_size=120) | st.text(alphabet="[]=\"'{}.,#\n _abcdefgikoprsuw0123456789", max_size=120).map(str.encode)
)
def test_any_configuration_is_read_or_is_said_to_be_wrong(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "gridstream.toml"
    file.write_bytes(content)
    with suppress(Fatal):
        load(file)


words = st.sampled_from(
    [
        "INSERT",
        "INTO",
        "t",
        "db.t",
        "(a, b)",
        "VALUES",
        "FORMAT",
        "CSV",
        "SETTINGS",
        "a=1",
        "SELECT",
        "1",
        "'",
        '"',
        "`",
        "--",
        "/*",
        "*/",
        "#",
        "(",
        ")",
        ";",
        "\n",
        "input(",
        "OUTFILE",
        "$$",
        "\\",
    ]
)
statements = st.lists(words, max_size=12).map(" ".join).map(str.encode) | st.binary(max_size=80)


@fuzzed
@given(statements)
def test_any_statement_is_cut_into_its_own_pieces(text: bytes) -> None:
    ends = [token.end for token in outline(text)]
    assert ends == sorted(ends)
    found = data_insert(text)
    assert found is None or 0 <= found.data <= len(text)
    for offer in led(text, b"SETTINGS x = 1", "CSV"):
        assert offer
    takes_input(text)
    leads_out(text)


@fuzzed
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "query",
                "session_id",
                "session_timeout",
                "session_check",
                "param_x",
                "compress",
                "decompress",
                "default_format",
                "max_threads",
            ]
        )
        | st.text(max_size=8),
        st.text(max_size=20),
        max_size=6,
    )
)
def test_any_parameters_are_a_request_or_an_error_of_clickhouses(parameters: dict[str, str]) -> None:
    with suppress(QueryError):
        Request.parse(parameters, {})
