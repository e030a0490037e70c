"""What all fakes share: the log of calls, scripted faults, hooks, the clock."""

import asyncio
import time

import aiohttp
import pytest

from tests.fakes.clock import Clock
from tests.fakes.conftest import Caller
from tests.fakes.faults import LOST_ANSWER, Cut, Delay, Drop, Hang, Respond
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.server import Answer, Call, FakeServer

LISTS = "/v3/marketing/lists"


class TestCalls:
    async def test_are_logged(self, fake: FakeSendGrid, call: Caller) -> None:
        await call("POST", LISTS, {"name": "VIP"}, a="b c")

        (logged,) = fake.called("*", "/v3/*")
        assert (logged.method, logged.path, logged.query, logged.body) == ("POST", LISTS, {"a": "b c"}, {"name": "VIP"})
        assert (logged.at, logged.status) == (fake.clock.now(), 201)

    async def test_need_not_keep_their_bodies(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.keep_bodies = False

        await call("POST", LISTS, {"name": "VIP"})

        assert fake.calls[0].body is None
        assert fake.lists

    async def test_are_seen_by_hooks_before_and_after_their_effect(self, fake: FakeSendGrid, call: Caller) -> None:
        seen: list[int] = []

        async def on_answer(_: Call) -> None:
            seen.append(len(fake.lists))

        fake.on_call = lambda _: seen.append(len(fake.lists))
        fake.on_answer = on_answer

        await call("POST", LISTS, {"name": "VIP"})

        assert seen == [0, 1]


class TestFaults:
    async def test_a_status_instead_of_an_effect(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.fail("POST", LISTS, Respond(500, {"errors": []}, {"X-A": "b"}))

        reply = await call("POST", LISTS, {"name": "VIP"})

        assert (reply.status, reply.body, reply.headers["X-A"]) == (500, {"errors": []}, "b")
        assert not fake.lists

    async def test_a_status_despite_the_effect(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.fail("POST", LISTS, Respond(502, b"<html>", applied=True))

        assert (await call("POST", LISTS, {"name": "VIP"})).status == 502
        assert fake.lists

    @pytest.mark.parametrize(("fault", "number"), [(Drop(), 0), (LOST_ANSWER, 1)])
    async def test_a_connection_that_ends_before_or_after_the_effect(
        self, fake: FakeSendGrid, call: Caller, fault: Drop, number: int
    ) -> None:
        fake.fail("POST", LISTS, fault)

        with pytest.raises(aiohttp.ClientError):
            await call("POST", LISTS, {"name": "VIP"})

        assert len(fake.lists) == number

    async def test_an_answer_that_breaks_off(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.fail("GET", LISTS, Cut(10))

        with pytest.raises(aiohttp.ClientPayloadError):
            await call("GET", LISTS)

        assert len(fake.calls) == 1

    async def test_a_client_repeats_some_calls_by_itself(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.fail("GET", LISTS, Drop(), times=3)

        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call("GET", LISTS)
        assert len(fake.calls) == 2
        assert (await call("GET", LISTS)).status == 200

    @pytest.mark.parametrize(("applied", "number"), [(False, 0), (True, 1)])
    async def test_no_answer_at_all(self, fake: FakeSendGrid, call: Caller, applied: bool, number: int) -> None:  # noqa: FBT001  parametrized
        fake.fail("POST", LISTS, Hang(applied=applied))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call("POST", LISTS, {"name": "VIP"})

        assert len(fake.lists) == number

    async def test_a_slow_answer_has_its_effect_though_the_caller_has_gone(
        self, fake: FakeSendGrid, call: Caller
    ) -> None:
        fake.fail("POST", LISTS, Delay(60))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call("POST", LISTS, {"name": "VIP"})
        assert not fake.lists
        fake.clock.advance(60)
        async with asyncio.timeout(5):
            while not fake.lists:
                await asyncio.sleep(0.01)

    async def test_so_many_times_after_so_many(self, fake: FakeSendGrid, call: Caller) -> None:
        failure = fake.fail("GET", "/v3/marketing/*", 503, times=2, skip=1)

        statuses = [(await call("GET", LISTS)).status for _ in range(4)]

        assert statuses == [200, 503, 503, 200]
        assert failure.seen == 2

    async def test_until_stopped(self, fake: FakeSendGrid, call: Caller) -> None:
        failure = fake.fail("*", "*", 503, times=None)
        assert [(await call("GET", LISTS)).status for _ in range(3)] == [503] * 3

        failure.stop()

        assert (await call("GET", LISTS)).status == 200


class Broken(FakeServer):
    async def answer(self, call: Call) -> Answer:
        raise LookupError(call.path)


async def test_a_defect_of_the_fake_is_raised_in_the_end() -> None:
    fake = Broken()
    await fake.__aenter__()
    async with aiohttp.ClientSession() as session, session.get(f"{fake.url}/a") as answer:
        assert answer.status == 500

    with pytest.raises(ExceptionGroup) as raised:
        await fake.__aexit__(None)

    assert [str(each) for each in raised.value.exceptions] == ["/a"]


class TestClock:
    def test_stands_still_but_for_advance(self) -> None:
        clock = Clock(100.0)
        clock.advance(2.5)

        assert clock.now() == 102.5

    def test_is_the_time_of_day_without_a_start(self) -> None:
        clock = Clock()

        assert abs(clock.now() - time.time()) < 1
        clock.advance(3600)
        assert abs(clock.now() - time.time() - 3600) < 1

    def test_has_things_happen_in_the_order_of_their_time_and_at_it(self) -> None:
        clock = Clock(0.0)
        happened: list[tuple[str, float]] = []

        def first() -> None:
            happened.append(("first", clock.now()))
            clock.after(3, lambda: happened.append(("third", clock.now())))

        clock.after(2, lambda: happened.append(("second", clock.now())))
        clock.after(1, first)
        clock.advance(10)

        assert happened == [("first", 1.0), ("second", 2.0), ("third", 4.0)]

    async def test_sleepers_wake_by_themselves_or_when_it_is_stepped(self) -> None:
        async with asyncio.timeout(5):
            await Clock().sleep(0.01)
            clock = Clock()
            sleeping = asyncio.create_task(clock.sleep(3600))
            await asyncio.sleep(0)
            clock.advance(3600)
            await sleeping
