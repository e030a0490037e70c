"""What panels answer is what is in the tables, whatever part of it was counted ahead, and whenever rows came."""

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest

from connectors.clickhouse import ClickHouse
from connectors.errors import Retry
from schemas.ddl import FOREVER, identifier
from streams.dashboard.counting import Counting
from streams.dashboard.panels import PANELS
from streams.dashboard.period import Period
from streams.dashboard.queries import NOTHING, Source, is_counted, literal, parameters
from streams.schema import apply
from tests.streams.dashboard.numbers import Expected
from tests.streams.dashboard.serving import feed, insert, lines

_HOUR, _DAY = 3_600, 86_400
_PATIENCE_SECONDS = 60
Lines = list[tuple[str, bytes]]


@pytest.fixture
async def counting(clickhouse: ClickHouse, source: str) -> Counting:
    """Counts ahead for a source whose tables are still empty."""
    await apply({source: FOREVER}, clickhouse)
    return Counting(source, clickhouse)


async def answer(
    clickhouse: ClickHouse, counting: Counting, panel: str, start: int, end: int, **values: Any
) -> list[dict[str, Any]]:
    """What a panel shows; as bound, as pasted, and with nothing counted ahead it must be the same."""
    step = Period(start, end, 0, 0, live=False).step
    answers = []
    for covered in (counting.covered, NOTHING):
        bound = {**parameters(start, end, covered), "tests": 0, **values}
        sql = PANELS[panel].sql(Source(counting._database, step, values.get("find", ""), is_counted(bound)))
        answers.append(list((await clickhouse.query(sql, bound)).named_results()))
        answers.append(list((await clickhouse.query(literal(sql, bound))).named_results()))
    assert answers[0] == answers[1] == answers[2] == answers[3]
    for row in answers[0][:1]:
        assert row.keys() >= {column.name for column in PANELS[panel].columns}
    return answers[0]


async def settle(counting: Counting) -> None:
    """Count all that waits to be counted."""
    await counting.step()
    while counting._days:
        await counting.step()


def stretch(days: float) -> tuple[int, int]:
    """So many days until now, as simulated feeds fill them."""
    now = int(time.time())
    return now - int(days * _DAY), now


async def check(
    clickhouse: ClickHouse, counting: Counting, stored: Lines, start: int, end: int, *, tests: bool = False
) -> None:
    """Compare every panel that counts with what was stored."""
    expected = Expected(stored, start, end, tests=tests)

    async def ask(panel: str, **values: Any) -> list[dict[str, Any]]:
        return await answer(clickhouse, counting, panel, start, end, tests=int(tests), **values)

    assert {row["step"]: row["messages"] for row in await ask("funnel")} == {
        k: v for k, v in expected.funnel().items() if v
    }
    rates = {row["title"]: row["events"] for row in await ask("rates")}
    kinds, firsts = expected.kinds, expected.firsts
    assert rates == {
        "Delivered": kinds["delivered"], "Bounced": kinds["bounce"], "Blocked": kinds["blocked"],
        "Dropped": kinds["dropped"], "Deferrals": kinds["deferred"], "Opened": firsts["open"],
        "Clicked": firsts["click"], "Unsubscribed": kinds["unsubscribe"] + kinds["group_unsubscribe"],
        "Spam reports": kinds["spamreport"],
    }  # fmt: skip
    step = Period(start, end, 0, 0, live=False).step
    assert {(row["event"], row["second"]): row["events"] for row in await ask("timeline")} == expected.over_time(step)
    domains = await ask("domains")
    assert {row["domain"]: row["deferred"] for row in domains if row["deferred"]} == expected.domains("deferred")
    assert {row["domain"]: row["delivered"] for row in domains if row["delivered"]} == expected.domains("delivered")
    assert {row["domain"]: row["bounced"] for row in domains if row["bounced"]} == expected.domains("bounce", "blocked")
    for domain in [row["domain"] for row in domains][:2]:
        assert (
            sum(row["deferrals"] for row in await ask("answers", domain=domain)) == expected.domains("deferred")[domain]
        )
    bounces = await ask("bounces")
    assert {kind: sum(row["bounces"] for row in bounces if row["type"] == kind) for kind in ("bounce", "blocked")} == {
        kind: kinds[kind] for kind in ("bounce", "blocked")
    }
    assert {row["reason"]: row["dropped"] for row in await ask("drops")} == expected.by(
        lambda row: [row["reason"]], "dropped"
    )
    top = [row["clicks"] for row in await ask("links")]
    assert top == sorted(expected.links().values(), reverse=True)[:100]
    for panel, of in (("campaigns", expected.campaigns), ("categories", expected.categories)):
        found = await ask(panel)
        for column, names in (
            ("processed", ("processed",)), ("delivered", ("delivered",)), ("opens", ("open",)), ("clicks", ("click",)),
            ("bounces", ("bounce", "blocked")), ("unsubscribes", ("unsubscribe", "group_unsubscribe")),
            ("spam", ("spamreport",)),
        ):  # fmt: skip
            assert {row["name"]: row[column] for row in found if row[column]} == of(*names), (panel, column)
    assert [str(row["time"])[:19] for row in await ask("tail")] == [text[:19] for text in expected.latest(50)]
    left = ("unsubscribe", "group_unsubscribe", "group_resubscribe", "spamreport")
    assert [str(row["time"])[:19] for row in await ask("complaints")] == [
        text[:19] for text in expected.latest(50, *left)
    ]
    assert [row["wait"] for row in await ask("slowest")] == expected.slowest(20)


async def test_every_panel_shows_the_numbers_of_the_tables(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(2.3)
    stored = feed(1, start, end - start, 4_000)
    await insert(clickhouse, counting._database, stored)
    await settle(counting)

    assert counting.covered[0] == 0 < end // _HOUR * _HOUR <= counting.covered[1]
    for first, last in (
        (start, end + 1),
        (end // _HOUR * _HOUR - 20 * _HOUR, end // _HOUR * _HOUR),
        (end - _DAY - 100, end - 7_000),
        (end - 1_800, end + 1),
    ):
        await check(clickhouse, counting, stored, first, last)


async def test_late_events_and_repeats_are_counted_in_their_hours(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(1.5)
    stored = feed(2, start, end - start, 2_000)
    shuffled = random.Random(2).sample(stored, len(stored))
    database = counting._database
    await insert(clickhouse, database, shuffled[:1_200])
    await settle(counting)
    await check(clickhouse, counting, shuffled[:1_200], start, end + 1)

    revision = counting.revision
    await insert(clickhouse, database, shuffled[1_000:])
    await counting.step()

    assert counting.revision > revision
    await check(clickhouse, counting, stored, start, end + 1)


async def test_what_came_while_nobody_counted_is_counted_at_the_next_start(
    clickhouse: ClickHouse, counting: Counting
) -> None:
    start, end = stretch(1.2)
    stored = feed(3, start, end - start, 1_200)
    database = counting._database
    await insert(clickhouse, database, stored[::2])
    await settle(counting)
    await insert(clickhouse, database, stored[1::2])
    again = Counting(database, clickhouse)
    await settle(again)

    await check(clickhouse, again, stored, start, end + 1)


async def test_an_event_that_is_normalized_again_counts_as_what_it_is_now(
    clickhouse: ClickHouse, counting: Counting
) -> None:
    start, end = stretch(1)
    at = start // _HOUR * _HOUR + 10
    click: dict[str, object] = {"event": "click", "email": "a@example.com", "sg_event_id": "e1", "timestamp": at}
    before = lines([{**click, "url": "https://example.com/old"}], end * 1000)
    after = lines([{**click, "url": "https://example.com/new"}], end * 1000)
    await insert(clickhouse, counting._database, before)
    await settle(counting)
    await insert(clickhouse, counting._database, after)
    await counting.step()

    assert await answer(clickhouse, counting, "links", start - _HOUR, end) == [
        {"link": "https://example.com/new", "clicks": 1}
    ]


async def test_two_that_count_the_same_do_not_count_twice(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(1.2)
    stored = feed(4, start, end - start, 800)
    other = Counting(counting._database, clickhouse)
    await insert(clickhouse, counting._database, stored[:400])
    await settle(counting)
    await settle(other)
    await insert(clickhouse, counting._database, stored[400:])
    await other.step()
    await counting.step()

    await check(clickhouse, counting, stored, start, end + 1)


async def test_sendgrids_test_events_can_be_left_out(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(1)
    message = " 14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"
    events = ("processed", "delivered", "open", "click", "bounce", "dropped", "deferred", "spamreport", "unsubscribe")
    posted = [
        {
            "event": event, "email": "example@test.com", "timestamp": start + 2 * _HOUR, "sg_message_id": message,
            "category": ["cat facts"],
            "sg_event_id": event, "url": "http://www.sendgrid.com/", "reason": "500 unknown recipient",
        }
        for event in events
    ]  # fmt: skip
    await insert(clickhouse, counting._database, lines(posted, end * 1000))
    await settle(counting)

    async def shown(tests: int) -> Counter[str]:
        rows = await answer(clickhouse, counting, "timeline", start, end, tests=tests)
        return Counter({row["event"]: row["events"] for row in rows})

    assert await shown(0) == {}
    assert await shown(1) == dict.fromkeys(events, 1)
    assert await answer(clickhouse, counting, "funnel", start, end) == []
    assert len(await answer(clickhouse, counting, "funnel", start, end, tests=1)) == 4


async def test_the_history_of_a_person_and_of_a_message(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(1)
    stored = feed(5, start, end - start, 1_000)
    await insert(clickhouse, counting._database, stored)
    rows = Expected(stored, 0, end + 1)._rows
    by_person = Counter(row["email"] for row in rows if "email" in row)
    by_message = Counter(row["sg_message_id"] for row in rows if row.get("sg_message_id"))
    (person, events), (message, steps) = by_person.most_common(1)[0], by_message.most_common(1)[0]

    history = await answer(clickhouse, counting, "history", start, end, find=f" {person.title()} ")
    assert len(history) == events
    messages = [(message, [row["time"] for row in group]) for message, group in groupby(history, itemgetter("message"))]
    named = [message for message, _ in messages if message]
    assert len(named) == len(set(named)) > 1, "all events of a message are together"
    assert all(times == sorted(times, reverse=True) for _, times in messages)
    latest = [times[0] for _, times in messages]
    assert latest == sorted(latest, reverse=True)
    assert len(await answer(clickhouse, counting, "history", start, end, find=message)) == steps
    assert await answer(clickhouse, counting, "history", start, end, find="' OR 1 = 1 --") == []


async def test_an_empty_database_has_empty_panels(clickhouse: ClickHouse, counting: Counting) -> None:
    await settle(counting)
    start, end = stretch(1)
    for panel in PANELS:
        if panel not in ("rates", "freshness"):
            assert (
                await answer(clickhouse, counting, panel, start, end, domain="example.com", find="a@example.com") == []
            )
    assert {row["share"] for row in await answer(clickhouse, counting, "rates", start, end)} == {None}


async def test_who_comes_where_nobody_watched_sees_what_was_stored_meanwhile(
    clickhouse: ClickHouse, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.dashboard.counting._IDLE_SECONDS", 3600.0)
    running = asyncio.ensure_future(counting.run())
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while counting._is_fresh.is_set():
            await asyncio.sleep(0.01)
        revision = counting.revision
        await insert(clickhouse, counting._database, feed(4, *stretch(0.1), 10))
        await counting.attend()

        assert counting.revision == revision + 1
        await insert(clickhouse, counting._database, feed(5, *stretch(0.1), 10))
        await counting.wait(revision + 1, _PATIENCE_SECONDS)
        assert counting.revision > revision + 1
    running.cancel()


async def test_trouble_is_told_and_goes_away(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    query = counting._clickhouse.query

    async def away(*_: object) -> None:
        raise Retry("ClickHouse does not answer")

    monkeypatch.setattr(counting._clickhouse, "query", away)
    with suppress(Retry):
        await counting.step()
    assert counting.covered == (0, 0)
    monkeypatch.setattr(counting._clickhouse, "query", query)
    await settle(counting)

    assert counting.progress == 1
    assert counting.covered[0] == 0


def test_identifiers_in_panels_are_quoted() -> None:
    for panel in PANELS.values():
        assert identifier("a`b") in panel.sql(Source("a`b", 60))


async def test_what_touches_many_days_is_right_before_it_is_counted(clickhouse: ClickHouse, counting: Counting) -> None:
    start, end = stretch(4.5)
    stored = feed(6, start, end - start, 1_000)
    await settle(counting)
    revision = counting.revision
    await insert(clickhouse, counting._database, stored)
    while counting.revision == revision:
        await counting.step()

    assert counting.progress < 1
    await check(clickhouse, counting, stored, start, end + 1)
    await settle(counting)
    assert counting.covered[0] == 0
    await check(clickhouse, counting, stored, start, end + 1)
