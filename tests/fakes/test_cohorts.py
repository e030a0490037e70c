"""Amplitude's cohort webhook (facts 3.1 and 3.3 of the fact sheet on Amplitude and Segment)."""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.fakes.cohorts import Cohort, CohortSender, populations

ADA = {"email": "ada@example.com"}


class Receiver:
    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.headers: list[Any] = []
        self.bodies: list[Any] = []

    async def post(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        self.bodies.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.post)
    async with TestServer(app, host="127.0.0.1") as server:
        receiver.url = str(server.make_url("/"))
        yield receiver


class TestBodies:
    def test_have_the_documented_keys(self) -> None:
        """Facts 3.3: computed_time is a text of epoch seconds; message_id is a uuid, the direction, the batch."""
        (body,) = Cohort("Power users", "abc123").run({"u1": ADA}, at=1_790_000_000.9)

        run_id, direction, number = body.pop("message_id").split("::")
        assert (len(run_id), direction, number) == (36, "enter", "0")
        assert body == {
            "cohort_name": "Power users",
            "cohort_id": "abc123",
            "in_cohort": True,
            "computed_time": "1790000000",
            "users": [{"user_id": "u1", "user_properties": ADA}],
        }

    def test_tell_everybody_first_and_then_the_changes(self) -> None:
        """Facts 3.1."""
        cohort = Cohort("a", "1")
        cohort.run({"u1": {}, "u2": {}}, at=1)

        bodies = cohort.run({"u2": {}, "u3": {}}, at=2)

        assert [(body["in_cohort"], [user["user_id"] for user in body["users"]]) for body in bodies] == [
            (True, ["u3"]),
            (False, ["u1"]),
        ]
        assert cohort.run({"u2": {}, "u3": {}}, at=3) == []

    def test_come_in_numbered_batches(self) -> None:
        """Facts 3.3."""
        bodies = Cohort("a", "1", batch_size=2).run({f"u{number}": {} for number in range(5)}, at=1)

        assert [len(body["users"]) for body in bodies] == [2, 2, 1]
        assert [body["message_id"].rpartition("::")[2] for body in bodies] == ["0", "1", "2"]
        assert len({body["message_id"].partition("::")[0] for body in bodies}) == 1


class TestSending:
    async def test_has_a_secret_header_and_repeats_until_200(self, receiver: Receiver) -> None:
        """Facts 3.3: the same message_id again."""
        receiver.statuses = [503, 202]
        async with aiohttp.ClientSession() as session:
            sender = CohortSender(session, receiver.url, "secret", pause=0.001)
            given_up = await sender.send(Cohort("a", "1").run({"u1": ADA}, at=1))

        assert given_up == []
        assert [body["message_id"] for body in receiver.bodies] == [receiver.bodies[0]["message_id"]] * 3
        assert {headers["X-Gridstream-Secret"] for headers in receiver.headers} == {"secret"}
        assert {headers["User-Agent"] for headers in receiver.headers} == {"Amplitude/Webhook/1.0"}

    async def test_gives_up_in_the_end(self, receiver: Receiver) -> None:
        receiver.statuses = [500] * 3
        bodies = Cohort("a", "1").run({"u1": ADA}, at=1)
        async with aiohttp.ClientSession() as session:
            assert await CohortSender(session, receiver.url, retries=2, pause=0.001).send(bodies) == bodies


def test_populations_change_a_little_from_run_to_run() -> None:
    first, second, third = islice(populations(100, seed=3), 3)

    assert len(first) == 50
    assert len(first.keys() ^ second.keys()) == len(second.keys() ^ third.keys()) == 10
    assert [first, second, third] == list(islice(populations(100, seed=3), 3))
