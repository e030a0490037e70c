"""What comes with data stays data: in tables, on a terminal, in logs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from schemas.ddl import identifier
from schemas.events import EVENTS, EventType
from schemas.normalize import Normalizer
from schemas.tables import EVENT_TABLES
from streams import cli
from streams.commands.printing import print_table
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.pipeline import running
from tests.samples import sample

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\r\x08\u202e"
SQL = "'); DROP TABLE click; -- `\"\\' {x:String} %(x)s \\N"
MARKUP = "<script>alert(1)</script>[/red][link=file:///etc/passwd]{{7*7}}${x}"
NASTY = f"{SQL}{MARKUP}{ESCAPES}\n\t\x00end"


def spoilt(value: Any) -> Any:
    """A value in which every text is nasty, and so is the name of one more argument."""
    if isinstance(value, dict):
        return {name: spoilt(each) for name, each in value.items()}
    if isinstance(value, list):
        return [spoilt(each) for each in value]
    return NASTY if isinstance(value, str) else value


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
async def test_what_is_posted_is_text_in_every_column(event: EventType, clickhouse: ClickHouse, database: str) -> None:
    element = {**spoilt(orjson.loads(sample(event.table))[0]), "event": event.name, NASTY: NASTY}
    normalized = Normalizer()(orjson.dumps([element]), 1_790_000_000_000)
    (found,) = normalized.events
    expected = orjson.loads(found.line)
    assert found.type == event
    table = f"{identifier(database)}.{identifier(EVENT_TABLES[event.name].rows)}"

    await clickhouse.insert(table, [found.line])

    columns = [name for name, value in expected.items() if "drop table" in str(value).lower()]
    sql = f"SELECT * FROM {table} WHERE event_id = {{event_id:String}}"
    (row,) = (await clickhouse.query(sql, {"event_id": expected["event_id"]})).named_results()
    assert "custom_args" in columns
    assert {name: row[name] for name in columns} == {name: expected[name] for name in columns}
    assert row["custom_args"][NASTY] == NASTY


async def test_no_command_obeys_what_was_posted(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    amplitude = [{"source": source, "api_key": "k", "url": "http://127.0.0.1:9"}]
    environment = {"GRIDSTREAM_AMPLITUDE": json.dumps(amplitude)}
    async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
        body = orjson.dumps([{"event": NASTY, "email": NASTY, "url": NASTY}, NASTY])
        assert await pipeline.post(body, **{"Content-Type": MARKUP}) == 200
        assert await pipeline.post(ESCAPES.encode()) == 200
        account = await pipeline.settled()
        assert (account.rows, account.malformed) == (1, 2)
        letter = {"id": "nasty", "source": source, "step": "forward", "reason": NASTY, "state": "waiting"}
        rows = f"{identifier(source)}.dead_letters_rows"
        await pipeline.clickhouse.insert(rows, [orjson.dumps({**letter, "payload": NASTY, "topic": NASTY})])

        for arguments in (
            ["status"],
            ["status", "--json"],
            ["dead-letters", "list"],
            ["dead-letters", "show", "nasty"],
            ["sql", f"SELECT * FROM {source}.activity"],
        ):
            code, output, errors = await pipeline.command(*arguments)
            assert code == 0, errors
            assert "[/red]" in output or "end" in output, arguments  # narrow columns are cut into lines
            assert is_harmless(output + errors), arguments


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_tables_show_what_would_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((NASTY,), [(NASTY,)])

    shown = capsys.readouterr().out
    assert is_harmless(shown)
    assert "[/red]" in shown
    assert "\\x1b]0;title\\x07" in shown


def test_an_error_shows_what_would_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise Fatal(f"SendGrid answered 400: {NASTY}")

    monkeypatch.setattr(cli, "cli", fail)
    with pytest.raises(SystemExit):
        cli.main()

    said = capsys.readouterr().err
    assert is_harmless(said)
    assert said.startswith("gridstream: SendGrid answered 400: ")


def logged(*, to_terminal: bool) -> str:
    """What a process logs of something nasty, in its own words and in a library's."""
    code = (
        "import logging, structlog\n"
        "from streams import logs\n"
        "from tests.streams.test_injection import NASTY\n"
        f"logs.configure('ingress', to_terminal={to_terminal})\n"
        "structlog.get_logger().warning(NASTY, reason=NASTY.replace(' ', ''))\n"
        "logging.getLogger('library').warning('said %s', NASTY)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr


def test_logs_on_a_terminal_show_what_would_command_it() -> None:
    text = logged(to_terminal=True)

    assert is_harmless(text)
    assert text.count("DROP") == 3


def test_logs_elsewhere_are_one_line_of_json_each() -> None:
    own, library = map(json.loads, logged(to_terminal=False).splitlines())

    assert (own["event"], own["reason"]) == (NASTY, NASTY.replace(" ", ""))
    assert library["event"] == f"said {NASTY}"
