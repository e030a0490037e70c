"""What was put aside or went missing, and comes back: dead letters and replays."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import typer

from connectors.kafka import Record
from schemas import topics
from schemas.ddl import identifier
from schemas.dead_letters import DeadLetter
from schemas.events import EVENTS
from streams.commands.times import moment
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.pipeline import Pipeline, running
from tests.samples import sample

CLICK = next(event for event in EVENTS if event.name == "click")


@pytest.fixture
async def pipeline(servers: Settings, data: DataFolder, source: str, tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with running(servers, data, source, tmp_path) as pipeline:
        yield pipeline


async def put_aside(pipeline: Pipeline, payload: bytes) -> str:
    """A letter as a normalizer writes one, with its delivery: the id."""
    received_at = 1_790_000_000_000
    letter = DeadLetter("abc", pipeline.source, "normalize", "a bug", received_at, payload, topics.raw(pipeline.source))
    delivery = {"partition": 0, "offset": 10**9, "received_at": "2026-09-21 14:13:20.000", "events": 1, "malformed": 1}
    await pipeline.publish(topics.dead_letters(pipeline.source), Record(b"abc", letter.line()))
    await pipeline.publish(topics.deliveries(pipeline.source), Record(None, orjson.dumps(delivery)))
    account = await pipeline.settled()
    assert account.balanced
    assert (account.accepted, account.malformed, account.dead_letters) == (1, 1, 1)
    return letter.id


class TestDeadLetters:
    async def test_a_replayed_one_that_succeeds_leaves_the_list_and_counts_as_its_row(self, pipeline: Pipeline) -> None:
        letter = await put_aside(pipeline, b'{"event":"click","sg_event_id":"x"}')
        code, output, _ = await pipeline.command("dead-letters", "replay", letter)
        account = await pipeline.settled()

        assert (code, output) == (0, "1 succeeded, 0 failed again\n")
        assert account.balanced
        assert (account.accepted, account.rows, account.malformed, account.dead_letters) == (1, 1, 0, 0)
        (row,) = await pipeline.rows("click", "toUnixTimestamp64Milli(received_at) AS received")
        assert row["received"] == 1_790_000_000_000
        assert "No dead letters" in (await pipeline.command("dead-letters", "list"))[1]
        assert letter in (await pipeline.command("dead-letters", "list", "--state", "replayed"))[1]

    async def test_one_that_becomes_several_events_counts_as_these(self, pipeline: Pipeline) -> None:
        letter = await put_aside(pipeline, b'[{"event":"click","sg_event_id":"x"},{"event":"open"},7]')
        assert (await pipeline.command("dead-letters", "replay", letter))[0] == 0
        account = await pipeline.settled()

        assert account.balanced
        assert (account.accepted, account.rows, account.malformed, account.dead_letters) == (3, 2, 1, 1)

    async def test_one_that_fails_again_is_there_once_with_both_reasons(self, pipeline: Pipeline) -> None:
        letter = await put_aside(pipeline, b"still no json")
        for _ in range(2):
            code, output, _ = await pipeline.command("dead-letters", "replay")
            assert (code, output) == (0, "0 succeeded, 1 failed again\n")
        account = await pipeline.settled()

        assert account.balanced
        assert (account.accepted, account.rows, account.malformed, account.dead_letters) == (1, 0, 1, 1)
        (found,) = await pipeline.rows("dead_letters")
        assert found["id"] == letter
        assert found["reason"].startswith("a bug; again: not JSON")
        assert found["reason"].count("again") == 1

    async def test_a_row_that_clickhouse_refused_is_stored_once_the_table_takes_it(self, pipeline: Pipeline) -> None:
        line = orjson.dumps({"event_id": "x", "user_id": "u1", "timestamp": "2026-11-21 12:00:00.000", "novel": "1"})
        await pipeline.publish(topics.events(pipeline.source, CLICK), Record(b"u1", line))
        assert (await pipeline.settled()).refused == 1
        assert (await pipeline.command("dead-letters", "replay", "--step", "store"))[1].startswith("0 succeeded")
        await pipeline.clickhouse.query(f"ALTER TABLE {identifier(pipeline.source)}.click_rows ADD COLUMN novel String")
        assert (await pipeline.command("dead-letters", "replay", "--step", "store"))[1].startswith("1 succeeded")
        account = await pipeline.settled()

        assert (account.rows, account.refused, account.dead_letters) == (1, 0, 0)

    async def test_a_discarded_one_leaves_the_list_but_not_the_account(self, pipeline: Pipeline) -> None:
        letter = await put_aside(pipeline, b"nothing")
        code, output, _ = await pipeline.command("dead-letters", "discard", letter)
        account = await pipeline.settled()

        assert (code, output) == (0, "1 discarded\n")
        assert account.balanced
        assert (account.malformed, account.dead_letters) == (1, 1)
        assert "No dead letters" in (await pipeline.command("dead-letters", "list"))[1]

    async def test_they_are_found_by_what_they_are(self, pipeline: Pipeline) -> None:
        await pipeline.post(b"[1]")
        await pipeline.post(b"not json at all")
        await pipeline.settled()

        async def listed(*options: str) -> int:
            output = (await pipeline.command("dead-letters", "list", *options))[1]
            return output.count("normalize")

        assert await listed() == 2
        assert await listed("--reason", "NOT JSON") == 1
        assert await listed("--step", "store") == 0
        assert await listed("--since", "1h") == 2
        assert await listed("--since", "2100-01-01") == 0
        assert await listed("--limit", "1") == 1
        assert await listed("--source", pipeline.source) == 2

    async def test_an_unknown_id_is_named(self, pipeline: Pipeline) -> None:
        for command in (("show",), ("replay",), ("discard",)):
            code, _, errors = await pipeline.command("dead-letters", *command, "nonsense")
            assert code == 1
            assert "nonsense" in errors

    async def test_one_is_shown_with_all_it_has_and_commands_no_terminal(self, pipeline: Pipeline) -> None:
        await pipeline.post(b"\x1b[31mred [bold]bold")
        await pipeline.settled()
        (letter,) = await pipeline.rows("dead_letters")
        code, output, _ = await pipeline.command("dead-letters", "show", letter["id"])

        assert code == 0
        assert "\\x1b[31mred [bold]bold" in output
        assert "\x1b[31m" not in output
        assert "not JSON" in output


class TestReplay:
    async def test_it_changes_nothing_when_nothing_is_missing(self, pipeline: Pipeline) -> None:
        await pipeline.post(sample("click"))
        await pipeline.post(b'[{"event":"open"},5]')
        before = await pipeline.settled()
        for _ in range(2):
            code, output, _ = await pipeline.command("replay", "--since", "1h")
            assert (code, output) == (0, f"normalized 2 raw records of {pipeline.source} again\n")
        after = await pipeline.settled()

        assert before.balanced
        assert after == before

    async def test_it_fills_what_is_missing_and_marks_its_events(self, pipeline: Pipeline) -> None:
        await pipeline.post(sample("click"))
        await pipeline.settled()
        for table in ("click_rows", "deliveries_rows"):
            await pipeline.clickhouse.query(f"TRUNCATE TABLE {identifier(pipeline.source)}.{table}")
        assert await pipeline.count("activity") == 0
        assert (await pipeline.command("replay", "--since", "1h"))[0] == 0
        account = await pipeline.settled()

        assert account.balanced
        assert account.accepted == account.rows == 1
        records = await pipeline.records(topics.events(pipeline.source, CLICK))
        assert [record.headers for record in records] == [(), (("replay", b"1"),)]

    async def test_it_takes_only_what_was_received_in_its_time(self, pipeline: Pipeline) -> None:
        await pipeline.post(sample("click"))
        await pipeline.settled()
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()

        assert "normalized 0 raw" in (await pipeline.command("replay", "--since", tomorrow))[1]
        assert "normalized 0 raw" in (await pipeline.command("replay", "--since", "2h", "--until", "1h"))[1]
        assert "normalized 1 raw" in (await pipeline.command("replay", "--since", "2h", "--until", tomorrow))[1]


class TestMoments:
    NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
            ("2026-11-21T10:00", datetime(2026, 11, 21, 10, tzinfo=UTC)),
            ("2026-11-21T10:00+02:00", datetime(2026, 11, 21, 8, tzinfo=UTC)),
            ("30m", NOW - timedelta(minutes=30)),
            ("2h", NOW - timedelta(hours=2)),
            ("1.5d", NOW - timedelta(days=1.5)),
        ],
    )
    def test_dates_times_and_ages_are_understood(self, text: str, expected: datetime) -> None:
        assert moment(text, self.NOW) == expected

    @pytest.mark.parametrize("text", ["", "yesterday", "5", "5y", "2026-13-01", "99999999999d"])
    def test_anything_else_is_wrong_usage(self, text: str) -> None:
        with pytest.raises(typer.BadParameter):
            moment(text)


def test_a_letter_survives_its_header_and_its_row() -> None:
    letter = DeadLetter(
        "id", "s", "normalize", "why", 1_790_000_000_000, b"\xff", "s.raw", "waiting", 1_790_000_000_001
    )
    row = json.loads(letter.line()) | {"received_ms": letter.received_at, "changed_ms": letter.changed_at}

    assert DeadLetter.of_header(letter.header(), letter.payload) == letter
    assert DeadLetter.of_row(row) == letter
