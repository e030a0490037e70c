"""When the store inserts, and what."""

from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.events import EVENTS
from schemas.tables import EVENT_TABLES
from streams.store import InsertPolicy, Store, received_seconds
from streams.transport import Chunk


class TestInsertPolicy:
    def test_rows_are_fresh_where_inserts_are_quick(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 0.016)

        assert policy.seconds == 0.3

    def test_inserts_of_all_tables_take_about_half_of_the_time(self) -> None:
        policy = InsertPolicy()
        for table in range(13):
            policy.took(str(table), 0.03)

        assert policy.seconds == pytest.approx(13 * 0.03)

    def test_slow_ones_are_seldom_but_rows_never_wait_for_long(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 60.0)

        assert policy.seconds == 2.0

    def test_it_follows_the_last_insert_of_each_table(self) -> None:
        policy = InsertPolicy()
        policy.took("open", 60.0)
        policy.took("open", 0.4)

        assert policy.seconds == pytest.approx(0.4)


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


@pytest.mark.parametrize(("values", "inserted"), [([b"{}", None, b"", b"{}"], [b"{}\n{}\n"]), ([None, b""], [])])
async def test_records_without_a_value_are_no_rows(values: list[bytes | None], inserted: list[bytes]) -> None:
    clickhouse: Any = FakeClickHouse()
    records = [SimpleNamespace(offset=number, value=value, headers=[]) for number, value in enumerate(values)]
    chunk = Chunk("topic", 0, records, 1)

    async def stream() -> AsyncIterator[Chunk]:
        yield chunk

    nobody: Any = None
    store = Store("source", EVENT_TABLES[EVENTS[0].name], clickhouse, nobody, InsertPolicy())
    await store.agent(stream())

    assert clickhouse.inserted == inserted
    assert chunk.acknowledged
