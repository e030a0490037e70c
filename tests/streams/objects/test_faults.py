"""What goes wrong in a sync of objects stays where it is, and readers keep what they had."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from streams.doctor import accounts
from streams.objects import pulls, staging
from streams.objects.calls import LostError
from streams.objects.staging import Counts
from streams.sections import Source
from tests.fakes.faults import Drop, Respond
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.sendgrid.keys import FULL_ACCESS, MARKETING
from tests.streams.objects.world import NAMES, Unplugged, World

MARKETED = {"lists", "segments", "campaigns", "recipients"}
MANY = 100_000


class TestOneThatFails:
    async def test_does_not_stop_the_others(self, world: World) -> None:
        world.fake.add_list("VIP")
        world.fake.add_contact("ada@example.com")
        failure = world.fake.fail("GET", "/v3/marketing/segments/2.0", 500, times=None)
        first = await world.sync()
        failure.stop()
        second = await world.sync()

        assert {name: bool(outcome.error) for name, outcome in first.items()} == {
            name: name == "segments" for name in NAMES
        } | {"recipients": True}, "who is in which segment is a part of recipients"
        assert "segments failed 12 times in a row: SendGrid answered 500" in first["segments"].error
        assert not any(outcome.error for outcome in second.values())
        columns = "object, source, pulled, new, changed, gone, error, finished >= started AS done"
        syncs = await world.rows("syncs", columns)
        numbers = [(each["pulled"], each["new"], bool(each["error"])) for each in syncs if each["object"] == "lists"]
        assert numbers == [(1, 0, False), (1, 1, False)]
        assert len(syncs) == 2 * len(NAMES)
        assert all(each["done"] and each["source"] == world.database for each in syncs)

    async def test_for_a_reason_nobody_thought_of_neither(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        async def break_down(*_: object) -> None:
            raise ZeroDivisionError("oh")

        monkeypatch.setattr(pulls, "_PULLS", {**pulls._PULLS, "lists": break_down})
        world.fake.add_template("Order")
        outcomes = await world.sync("lists", "templates")

        assert (outcomes["lists"].error, outcomes["templates"].counts.new) == ("oh", 1)

    async def test_marks_nothing_as_deleted(self, world: World) -> None:
        for number in range(3):
            world.fake.add_list(str(number))
            world.fake.add_contact(f"{number}@example.com")
        await world.sync()
        before = [await world.rows(name) for name in ("lists", "recipients")]
        world.fake.fail("GET", "/v3/marketing/lists", Drop(), times=None)
        outcomes = await world.sync("lists", "recipients")

        assert all("does not answer" in outcome.error for outcome in outcomes.values())
        assert [await world.rows(name) for name in ("lists", "recipients")] == before

    async def test_leaves_no_tables_behind(self, world: World) -> None:
        world.fake.fail("GET", "/v3/marketing/lists", 500, times=None)
        await world.sync("lists", "recipients")

        assert await tables_of_pulls(world) == []


async def test_metrics_say_what_was_pulled_and_changed_how_long_it_took_and_what_failed(world: World) -> None:
    def value(name: str, kind: str, **labels: str) -> float:
        about = {"source": world.database, "object": kind} | labels
        return REGISTRY.get_sample_value(f"gridstream_{name}", about) or 0.0

    def values() -> list[float]:
        changed = [value("objects_changed_total", "lists", how=how) for how in ("new", "changed", "gone")]
        counts = [
            value(name, "lists") for name in ("objects_pulled_total", "sync_seconds_count", "sync_failures_total")
        ]
        return [*changed, *counts, value("sync_failures_total", "segments")]

    before = values()
    vip, old = world.fake.add_list("VIP"), world.fake.add_list("old")
    await world.sync("lists")
    vip.name = "renamed"
    del world.fake._lists.all[old.id]
    world.fake.fail("GET", "/v3/marketing/segments/2.0", 500, times=None)
    await world.sync("lists", "segments")

    assert [now - then for now, then in zip(values(), before, strict=True)] == [2, 1, 1, 3, 2, 0, 1]


async def test_rate_limits_are_waited_for_as_the_headers_say(world: World) -> None:
    for number in range(2500):
        world.fake.add_list(str(number))
    world.fake.rates.set("GET", "/v3/marketing/lists", 1, 60)
    began = world.fake.clock.now()
    outcome = (await world.sync("lists"))["lists"]

    assert outcome.counts == Counts(pulled=2500, new=2500)
    assert world.fake.clock.now() - began >= 60
    assert world.fake.rates.refused <= 2 * 3


@pytest.mark.parametrize("size", [0, 1, 1000, 1001])
async def test_lists_of_any_number(world: World, size: int) -> None:
    await _pulled(world, "lists", size, world.fake.add_list)


@pytest.mark.parametrize("size", [0, 1, 100, 101])
async def test_campaigns_of_any_number(world: World, size: int) -> None:
    def add(name: str) -> None:
        world.fake.add_singlesend(name).status = "triggered"

    await _pulled(world, "campaigns", size, add)


@pytest.mark.parametrize("size", [0, 1, 100, 101])
async def test_segments_of_any_number(world: World, size: int) -> None:
    await _pulled(world, "segments", size, world.fake.add_segment)


@pytest.mark.parametrize("size", [0, 1, 200, 201])
async def test_templates_of_any_number(world: World, size: int) -> None:
    await _pulled(world, "templates", size, world.fake.add_template)


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_unsubscribe_groups_of_any_number(world: World, size: int) -> None:
    def add(name: str) -> None:
        world.fake.suppressions.add_group(name, "", is_default=False)

    await _pulled(world, "unsubscribe_groups", size, add)


@pytest.mark.parametrize("size", [0, 1, 500, 501, 1000])
async def test_suppressions_of_any_number(world: World, size: int) -> None:
    await _pulled(
        world, "suppressions", size, lambda name: world.fake.suppressions.add("blocks", f"{name}@example.com")
    )


@pytest.mark.parametrize("size", [0, 1, 3, 4])
async def test_recipients_of_any_number(world: World, size: int) -> None:
    world.fake.limits.export_file = 3
    await _pulled(world, "recipients", size, lambda name: world.fake.add_contact(f"{name}@example.com"))


def add_lists(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        fake.add_list(str(number))


def add_segments(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        fake.add_segment(str(number))


def add_campaigns(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        # The pages of the statistics are another endpoint, of which some are enough.
        fake.add_singlesend(str(number)).status = "draft" if number % 100 else "triggered"
    fake._singlesends.all = dict(sorted(fake._singlesends.all.items()))  # so that none of a thousand pages sorts them


def add_templates(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        fake.add_template(str(number))
    fake._templates.all = dict(sorted(fake._templates.all.items()))


def add_groups(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        fake.suppressions.add_group(str(number), "", is_default=False)


def add_suppressions(fake: FakeSendGrid) -> None:
    for number in range(MANY):
        fake.suppressions.add("bounces", f"{number}@example.com")


@pytest.mark.parametrize(
    ("name", "add"),
    [
        ("lists", add_lists),
        ("segments", add_segments),
        ("campaigns", add_campaigns),
        ("templates", add_templates),
        ("unsubscribe_groups", add_groups),
        ("suppressions", add_suppressions),
    ],
)
async def test_a_hundred_thousand_of_each_kind(world: World, name: str, add: Callable[[FakeSendGrid], None]) -> None:
    add(world.fake)
    world.fake.rates.set("*", "*", 10 * MANY, 60)
    outcome = (await world.sync(name, through=Unplugged(world.fake)))[name]

    assert (outcome.error, outcome.counts) == ("", Counts(pulled=MANY, new=MANY))
    assert await world.rows(name, "count() AS rows, uniqExact(id) AS ids") == [{"rows": MANY, "ids": MANY}]


async def test_a_hundred_thousand_recipients(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several files, inserts and slices; no more is held than one insert's rows."""
    monkeypatch.setattr(staging, "_SLICE_ROWS", 40_000)
    inserted: list[int] = []
    insert = world.clickhouse.insert

    async def inserting(table: str, lines: Iterable[bytes]) -> None:
        inserted.append(sum(map(len, lines)))
        await insert(table, lines)

    monkeypatch.setattr(world.clickhouse, "insert", inserting)
    world.fake.limits.export_file = 30_000
    vip = world.fake.add_list("VIP")
    for number in range(MANY):
        world.fake.add_contact(f"{number}@example.com", lists=[vip.id] if number % 10 == 0 else [])
    outcome = (await world.sync("recipients"))["recipients"]

    assert outcome.counts == Counts(pulled=MANY, new=MANY)
    counts = f"count() AS rows, uniqExact(id) AS ids, countIf(has(list_ids, '{vip.id}')) AS vips"
    assert await world.rows("recipients", counts) == [{"rows": MANY, "ids": MANY, "vips": MANY // 10}]
    assert max(count for name, count, _ in world.progress if name == "recipients") == MANY
    assert len(inserted) > 10
    assert max(inserted) < staging._INSERT_BYTES + 1000


@pytest.mark.parametrize("rows", [4, 16, 17])
async def test_slices_of_any_size_publish_the_same(world: World, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(staging, "_SLICE_ROWS", rows)
    people = [world.fake.add_contact(f"{number}@example.com", first_name="old") for number in range(16)]
    await world.sync("recipients")
    world.fake._book.delete([each.id for each in people[:7]])
    for contact in people[7:10]:
        world.fake._book.write([replace(contact, fields={**contact.fields, "first_name": "new"})])
    world.fake.add_contact("more@example.com", first_name="old")
    outcome = (await world.sync("recipients"))["recipients"]

    assert outcome.counts == Counts(pulled=10, new=1, changed=3, gone=7)
    assert await world.rows("recipients", "first_name, is_deleted, count() AS rows", "1 GROUP BY ALL") == [
        {"first_name": "new", "is_deleted": False, "rows": 3},
        {"first_name": "old", "is_deleted": False, "rows": 7},
        {"first_name": "old", "is_deleted": True, "rows": 7},
    ]


async def _pulled(world: World, name: str, size: int, add: Callable[[str], Any]) -> None:
    for number in range(size):
        add(str(number))
    outcome = (await world.sync(name))[name]

    assert (outcome.error, outcome.counts) == ("", Counts(pulled=size, new=size))
    assert await world.rows(name, "count() AS rows, uniqExact(id) AS ids") == [{"rows": size, "ids": size}]


class TestKeys:
    async def test_a_wrong_one_is_named_but_not_shown(self, world: World) -> None:
        world.key = "SG.wrong"
        outcomes = await world.sync()

        for outcome in outcomes.values():
            assert f'the api_key of [[sources]] "{world.database}"' in outcome.error
            assert "IP access list" in outcome.error
            assert f"curl -i -H 'Authorization: Bearer KEY' {world.fake.url}/v3/scopes" in outcome.error
            assert "SG.wrong" not in outcome.error

    @pytest.mark.parametrize(
        ("scope", "failing"),
        [
            (MARKETING, MARKETED),
            ("templates.read", {"templates"}),
            ("suppression.read", {"suppressions"}),
            ("asm.groups.read", {"unsubscribe_groups", "suppressions"}),
        ],
    )
    async def test_a_narrow_one_is_told_what_it_lacks(self, world: World, scope: str, failing: set[str]) -> None:
        world.key = world.fake.add_key(each for each in FULL_ACCESS if each != scope)
        outcomes = await world.sync()

        assert {name for name, outcome in outcomes.items() if outcome.error} == failing
        for name in failing:
            assert f'the api_key of [[sources]] "{world.database}" lacks {scope}' in outcomes[name].error
            assert "IP access list" in outcomes[name].error

    async def test_the_doctor_says_so_too(self, world: World) -> None:
        def source(key: str) -> Source:
            return Source(name="sendgrid", api_key=key, api_url=world.fake.url)

        good = await accounts._objects(source(f"  {world.key}\n"))
        wrong = await accounts._objects(source("SG.wrong"))
        narrow = await accounts._objects(source(world.fake.add_key([MARKETING, "suppression.bounces.read"])))

        assert good == ("api_key of sendgrid", "may read all objects", "")
        assert "IP access list" in wrong.state
        assert narrow.state == "lacks asm.groups.read, templates.read"

    async def test_an_account_without_marketing_campaigns_has_zero_data(self, world: World) -> None:
        """Segment's words. Its key has the right, and yet it is forbidden."""
        world.fake.fail("*", "/v3/marketing/*", Respond(403, {"errors": [{"message": "access forbidden"}]}), times=None)
        world.fake.add_template("Order")
        outcomes = await world.sync()

        assert {name for name, outcome in outcomes.items() if "zero data synced" in outcome.note} == MARKETED
        assert not any(outcome.error for outcome in outcomes.values())
        assert outcomes["templates"].counts.new == 1
        assert await world.rows("lists") == []


class TestCrashes:
    """The sync ends somewhere: in SendGrid's calls or in ClickHouse's."""

    async def test_anywhere_leave_a_state_that_was_and_the_next_sync_completes_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = world.fake
        fake.limits.export_file = 2
        vip = fake.add_list("VIP")
        people = [fake.add_contact(f"{number}@example.com", lists=[vip.id]) for number in range(5)]
        await world.sync("lists", "recipients")
        old = await self._seen(world)
        await self._remember(world)
        vip.name = "very VIP"
        fake._book.delete([people[0].id])
        fake._book.leave([people[1].id], [vip.id])
        fake.add_contact("new@example.com", lists=[vip.id])
        seen = []
        steps = await self._crashing(world, monkeypatch, None)
        new = await self._seen(world)
        assert steps > 20

        for step in range(0, steps, 5):
            await self._restore(world)
            assert await self._seen(world) == old
            await self._crashing(world, monkeypatch, step)
            between = await self._seen(world)
            assert all(each in (before, after) for each, before, after in zip(between, old, new, strict=True)), step
            seen.append(between)
            await world.sync("lists", "recipients")
            assert await self._seen(world) == new, step
        assert old in seen

    async def _seen(self, world: World) -> list[list[dict[str, Any]]]:
        """By table. Lists have one change; of recipients all come in one slice, those gone after those changed."""
        present = await world.rows("recipients", "email, list_ids", "NOT is_deleted AND email != '0@example.com'")
        gone = await world.rows("recipients", "email", "is_deleted")
        return [await world.rows("lists", "name, is_deleted"), present, gone]

    async def _remember(self, world: World) -> None:
        for table in ("lists", "recipients"):
            name = f"{world.database}.{table}"
            await world.clickhouse.query(f"CREATE OR REPLACE TABLE {name}_before CLONE AS {name}_rows")

    async def _restore(self, world: World) -> None:
        """SendGrid's side stays; what ClickHouse has goes back."""
        for table in ("lists", "recipients"):
            name = f"{world.database}.{table}"
            await world.clickhouse.query(f"TRUNCATE TABLE {name}_rows")
            await world.clickhouse.query(f"INSERT INTO {name}_rows SELECT * FROM {name}_before")

    async def _crashing(self, world: World, monkeypatch: pytest.MonkeyPatch, at: int | None) -> int:
        """Sync, cancelled at a step; returns how many steps there were."""
        steps = 0
        task: asyncio.Task[Any]

        def step(*_: object) -> None:
            nonlocal steps
            if steps == at:
                task.cancel()
            steps += 1

        with monkeypatch.context() as patch:
            for name in ("query", "insert"):
                patch.setattr(world.clickhouse, name, _stepping(getattr(world.clickhouse, name), step))
            world.fake.on_call = world.fake.on_answer = step
            task = asyncio.ensure_future(world.sync("lists", "recipients"))
            await asyncio.wait({task})
        world.fake.on_call = world.fake.on_answer = None
        assert task.cancelled() == (at is not None)
        return steps


def _stepping(call: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    async def stepping(*arguments: Any) -> Any:
        step()
        await asyncio.sleep(0)
        return await call(*arguments)

    return stepping


async def tables_of_pulls(world: World) -> list[str]:
    sql = "SELECT name FROM system.tables WHERE database = {database:String} AND match(name, '^(pulled|joined)_')"
    return [name for (name,) in (await world.clickhouse.query(sql, {"database": world.database})).result_rows]


async def test_what_a_crash_left_behind_is_dropped_a_day_later(world: World) -> None:
    old, young = "pulled_lists_1000", "pulled_lists_99999999999999"
    for name in (old, young):
        await world.clickhouse.query(f"CREATE TABLE {world.database}.{name} (id String) ENGINE = MergeTree ORDER BY id")
    await world.sync("lists")

    left = await tables_of_pulls(world)
    assert (old in left, young in left) == (False, True)
    await world.clickhouse.query(f"DROP TABLE {world.database}.{young}")


async def test_a_sync_that_is_another_workers_now_ends(world: World) -> None:
    world.fake.add_list("VIP")

    def lose(_: object) -> None:
        world.is_ours = False

    world.fake.on_call = lose
    with pytest.raises(LostError):
        await world.sync()

    assert await world.rows("lists") == []
    assert await world.rows("syncs", "object, toUnixTimestamp(finished) AS finished") == [
        {"object": "lists", "finished": 0}
    ]


async def test_a_later_pull_counts_though_an_earlier_one_ends_after_it(world: World) -> None:
    """`gridstream sync` while the worker syncs: both go well, and the newer state stays."""
    vip = world.fake.add_list("old name")
    inner: list[Counts] = []
    is_first = True

    async def overtake(call: Any) -> None:
        nonlocal is_first
        if is_first and call.path == "/v3/marketing/lists":
            is_first = False
            vip.name = "new name"
            inner.append((await world.sync("lists"))["lists"].counts)
            vip.name = "old name"

    world.fake.on_answer = overtake
    outer = (await world.sync("lists"))["lists"]

    assert (inner, outer.counts) == ([Counts(pulled=1, new=1)], Counts(pulled=1))
    assert await world.rows("lists", "name") == [{"name": "new name"}]


@pytest.mark.parametrize("answer", [{}, b"", b"<html>", {"result": {}}])
async def test_an_answer_without_a_list_is_not_taken_for_an_empty_one(world: World, answer: object) -> None:
    world.fake.add_list("VIP")
    world.fake.suppressions.add("bounces", "ada@example.com")
    await world.sync("lists", "suppressions")
    world.fake.fail("GET", "*", Respond(200, answer), times=None)
    outcomes = await world.sync("lists", "suppressions")

    assert all(outcome.error for outcome in outcomes.values())
    for table in outcomes:
        assert await world.rows(table, "is_deleted") == [{"is_deleted": False}]


async def test_an_answer_without_identities_is_refused(world: World) -> None:
    world.fake.fail("GET", "/v3/marketing/lists", Respond(200, {"result": [{"name": "VIP"}]}))

    assert "one of the lists has no id" in (await world.sync("lists"))["lists"].error
