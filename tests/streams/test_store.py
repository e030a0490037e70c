"""When the store inserts, and what."""

import time
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.errors import Reject, Retry
from schemas.events import EVENTS
from schemas.tables import EVENT_TABLES
from streams import delivery, store
from streams.chunks import Chunk
from streams.store import InsertPolicy, Store, received_seconds


class TestInsertPolicy:
    def test_rows_are_fresh_where_inserts_are_quick(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 0.016)

        assert policy.seconds(0.1) == 0.3

    def test_inserts_of_all_tables_take_about_half_of_the_time(self) -> None:
        policy = InsertPolicy()
        for table in range(13):
            policy.took(str(table), 0.03)

        assert policy.seconds(0.1) == pytest.approx(13 * 0.03)

    def test_slow_ones_are_seldom_but_rows_never_wait_for_long(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 60.0)

        assert policy.seconds(2.5) == 2.0

    def test_it_follows_the_last_insert_of_each_table(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 60.0)
        policy.took("open", 0.4)

        assert policy.seconds(0.1) == pytest.approx(0.4)

    @pytest.mark.parametrize(("age", "seconds"), [(5.0, 2.0), (9.0, 5.0), (3600.0, 8.0)])
    def test_rows_of_a_backlog_wait_for_as_much_longer_as_they_are_late(self, age: float, seconds: float) -> None:
        policy = InsertPolicy()
        policy.took("open", 60.0)

        assert policy.seconds(age) == seconds

    def test_tables_take_turns_for_their_shares_of_the_time_each_source_by_itself(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        policy = InsertPolicy()
        assert policy.turn("shop", "open", 4.0) == 0.0
        policy.took("open", 0.3)
        policy.took("click", 0.1)

        assert policy.turn("shop", "open", 4.0) == 0.0
        assert policy.turn("shop", "click", 4.0) == pytest.approx(3.0)
        assert policy.turn("app", "open", 0.4) == 0.0
        now += 10.0
        assert policy.turn("shop", "open", 4.0) == 0.0


def test_a_row_says_when_its_event_came_in() -> None:
    assert received_seconds(b'{"received_at":"2026-11-21 12:00:00.250"}') == 1795262400.25


@pytest.mark.parametrize(
    "line", [b"{}", b"[1]", b"1", b"no json", b'{"received_at":1795262400}', b'{"received_at":"1795262400"}']
)
def test_rows_of_other_producers_need_not_say_it_as_we_do(line: bytes) -> None:
    assert received_seconds(line) == 0.0


class FakeClickHouse:
    """Takes everything."""

    def __init__(self) -> None:
        self.inserted: list[bytes] = []

    async def insert(self, _: str, lines: Iterable[bytes]) -> None:
        self.inserted.append(b"".join(lines))


def of(*values: bytes | None) -> Chunk:
    records = [SimpleNamespace(offset=n, timestamp=0, value=value, headers=[]) for n, value in enumerate(values)]
    return Chunk.of("topic", 0, records, 1)


async def stored(clickhouse: Any, *chunks: Chunk) -> None:
    async def stream() -> AsyncIterator[Chunk]:
        for chunk in chunks:
            yield chunk

    nobody: Any = None
    await Store("source", EVENT_TABLES[EVENTS[0].name], clickhouse, nobody, InsertPolicy()).agent(stream())


@pytest.mark.parametrize(("values", "inserted"), [([b"{}", None, b"", b"{}"], [b"{}\n{}\n"]), ([None, b""], [])])
async def test_records_without_a_value_are_no_rows(values: list[bytes | None], inserted: list[bytes]) -> None:
    clickhouse = FakeClickHouse()
    chunk = of(*values)

    await stored(clickhouse, chunk)

    assert clickhouse.inserted == inserted
    assert chunk.acknowledged


async def test_what_is_too_much_for_one_insert_is_inserted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PIECE_ROWS", 2)
    monkeypatch.setattr(store, "_BYTES", 6)
    clickhouse = FakeClickHouse()
    chunks = of(b"1", b"22", b"333", b""), of(b"4444", b"5", b"", b"", b"", b"")

    await stored(clickhouse, *chunks)

    assert clickhouse.inserted == [b"1\n22\n333\n", b"4444\n5\n"]
    assert all(chunk.acknowledged for chunk in chunks)


async def test_an_insert_that_broke_off_is_repeated_whole_and_the_next_begins_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BreaksOff(FakeClickHouse):
        async def insert(self, table: str, lines: Iterable[bytes]) -> None:
            if not self.inserted:
                self.inserted.append(b"broken off after " + next(iter(lines)))
                raise Retry("away")
            await super().insert(table, lines)

    monkeypatch.setattr(store, "_PIECE_ROWS", 1)
    monkeypatch.setattr(store, "_BYTES", 2)
    monkeypatch.setattr(delivery, "_FIRST_SECONDS", 0.0)
    clickhouse = BreaksOff()

    await stored(clickhouse, of(b"1", b"2", b"3"))

    assert clickhouse.inserted == [b"broken off after 1\n", b"1\n2\n", b"3\n"]


async def test_halves_of_a_refused_insert_that_are_too_much_for_one_are_inserted_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Small(FakeClickHouse):
        async def insert(self, table: str, lines: Iterable[bytes]) -> None:
            await super().insert(table, lines)
            if self.inserted[-1].count(b"\n") > 3:
                self.inserted.pop()
                raise Reject("too large")

    monkeypatch.setattr(store, "_PIECE_ROWS", 2)
    monkeypatch.setattr(store, "_BYTES", 8)
    clickhouse = Small()

    await stored(clickhouse, of(b"1", b"2", b"3", b"4", b"55555555", b"66666666", b"7"))

    assert clickhouse.inserted == [b"1\n2\n3\n", b"4\n55555555\n", b"66666666\n", b"7\n"]
