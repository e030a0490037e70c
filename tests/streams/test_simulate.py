"""Sending a feed: every event arrives, signed, whatever the ingress does in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count, islice

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.errors import Fatal
from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer, is_signed, public_key
from streams.simulator.feed import Feed, FeedEvent
from streams.simulator.simulate import Pace, Report, simulate

FEED = Feed(seed=3, start=1_790_000_000, rate=100.0)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ingress:
    """Takes what it is sent, after it has answered as it was told to."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.requests: list[tuple[web.Request, bytes]] = []
        self.taken: list[bytes] = []
        self.most_at_once = 0
        self._at_once = 0

    async def post(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            body = await request.read()
            self.requests.append((request, body))
            if self.answers:
                return await self.answers.pop(0)(request)
            self.taken.append(body)
            return web.Response()
        finally:
            self._at_once -= 1

    def lines(self) -> list[bytes]:
        """What was taken, event by event."""
        return [line for body in self.taken for line in body.removeprefix(b"[").removesuffix(b"]\r\n").split(b",\r\n")]


@pytest.fixture
async def ingress() -> AsyncIterator[Ingress]:
    ingress = Ingress()
    app = web.Application()
    app.router.add_post("/sendgrid", ingress.post)
    async with TestServer(app, host="127.0.0.1") as server:
        ingress.url = str(server.make_url("/sendgrid"))
        yield ingress


def answer(status: int, text: str = "") -> Answer:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return respond


async def drop_connection(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.abort()
    return web.Response()


def expected(number: int) -> list[bytes]:
    return sorted(event.line for event in islice(FEED, number))


class TestCounts:
    @pytest.mark.parametrize("sizes", [(1, 200), (100, 100)])
    async def test_every_event_is_sent_once_and_reported(self, ingress: Ingress, sizes: tuple[int, int]) -> None:
        report = await simulate(ingress.url, FEED, count=3000, sizes=sizes)

        assert sorted(ingress.lines()) == expected(3000)
        assert report.sent == report.acknowledged == 3000
        assert report.distinct == len(set(ingress.lines())) < 3000
        assert report.posts == len(ingress.taken)
        assert not report.refused
        assert not report.unanswered

    async def test_a_rate_sends_the_same_and_at_most_a_second_s_worth_at_once(self, ingress: Ingress) -> None:
        report = await simulate(ingress.url, FEED, count=2000, rate=20_000, sizes=(500, 500))
        few = await simulate(ingress.url, islice(FEED, 3), rate=900.5, sizes=(2, 1000))

        assert [report.acknowledged, report.posts] == [2000, 4]
        assert few.acknowledged == 3

    async def test_a_feed_that_ends_is_sent_to_its_end(self, ingress: Ingress) -> None:
        report = await simulate(ingress.url, islice(FEED, 50))

        assert report.acknowledged == len(ingress.lines()) == 50

    async def test_an_empty_feed_sends_nothing(self, ingress: Ingress) -> None:
        assert (await simulate(ingress.url, [])).posts == len(ingress.requests) == 0

    async def test_several_posts_are_on_their_way_at_once_and_no_more_than_asked_for(self, ingress: Ingress) -> None:
        together = asyncio.Barrier(3)

        async def respond(_: web.Request) -> web.Response:
            await together.wait()
            return web.Response()

        ingress.answers = [respond] * 3
        await simulate(ingress.url, FEED, count=100, sizes=(10, 10), concurrency=3)

        assert ingress.most_at_once == 3

    async def test_progress_is_told_after_each_acknowledged_post(self, ingress: Ingress) -> None:
        told: list[int] = []

        await simulate(
            ingress.url, FEED, count=30, sizes=(10, 10), on_progress=lambda report: told.append(report.acknowledged)
        )

        assert told == [10, 20, 30]


class TestRequests:
    async def test_are_those_of_sendgrid_and_their_signatures_verify(self, ingress: Ingress) -> None:
        signer = Signer.generate()

        await simulate(ingress.url, FEED, count=500, signer=signer)

        for request, body in ingress.requests:
            assert request.headers["Content-Type"] == "application/json;charset=utf-8"
            assert request.headers["User-Agent"] == "SendGrid Event API"
            assert is_signed(
                [public_key(signer.public_key)],
                request.headers[SIGNATURE_HEADER],
                request.headers[TIMESTAMP_HEADER],
                body,
            )

    async def test_are_unsigned_without_a_key_and_have_the_credentials(self, ingress: Ingress) -> None:
        await simulate(ingress.url, FEED, count=5, credentials=("us", "pässword:1"))

        for request, _ in ingress.requests:
            assert SIGNATURE_HEADER not in request.headers
            assert request.headers["Authorization"] == "Basic dXM6cMOkc3N3b3JkOjE="

    async def test_take_the_credentials_from_the_url_too(self, ingress: Ingress) -> None:
        await simulate(ingress.url.replace("//", "//us:pw@"), FEED, count=5)

        assert {request.headers["Authorization"] for request, _ in ingress.requests} == {"Basic dXM6cHc="}


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_a_refusal_for_now_loses_nothing(self, ingress: Ingress, status: int) -> None:
        ingress.answers = [answer(status)] * 2

        report = await simulate(ingress.url, FEED, count=300, sizes=(50, 50))

        assert sorted(ingress.lines()) == expected(300)
        assert report.sent == report.acknowledged == 300
        assert report.refused == {status: 2}
        assert report.posts == len(ingress.requests) == 8

    async def test_a_dropped_connection_loses_nothing(self, ingress: Ingress) -> None:
        ingress.answers = [drop_connection] * 2

        report = await simulate(ingress.url, FEED, count=300, sizes=(50, 50))

        assert sorted(ingress.lines()) == expected(300)
        assert report.acknowledged == 300
        assert report.unanswered == 2

    async def test_the_same_body_is_signed_anew(self, ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = count(1_790_000_000)
        monkeypatch.setattr("streams.simulator.simulate.time.time", lambda: next(clock))
        signer = Signer.generate()
        ingress.answers = [answer(503)]

        await simulate(ingress.url, FEED, count=10, sizes=(10, 10), signer=signer)

        (first, body), (second, again) = ingress.requests
        assert body == again
        assert int(first.headers[TIMESTAMP_HEADER]) < int(second.headers[TIMESTAMP_HEADER])
        assert is_signed(
            [public_key(signer.public_key)], second.headers[SIGNATURE_HEADER], second.headers[TIMESTAMP_HEADER], again
        )


class TestPace:
    def test_sends_each_body_when_its_events_have_happened(self) -> None:
        pace = Pace(rate=10, now=100)
        now = 100.0
        sent = []
        for events in (5, 1, 20):
            now += pace.wait(events, now)
            sent.append(round(now, 6))

        assert sent == [100.5, 100.6, 102.6]

    def test_catches_up_with_what_is_late_but_never_in_a_burst(self) -> None:
        pace = Pace(rate=10, now=0)
        now = pace.wait(10, 0) + 3  # the post took three seconds
        sent = []
        for _ in range(8):
            now += pace.wait(10, now)
            sent.append(round(now, 6))

        assert sent == [4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 9.0]

    def test_without_a_rate_waits_for_nothing(self) -> None:
        assert Pace(rate=0, now=0).wait(10, 0) == 0


class TestFatal:
    @pytest.mark.parametrize("status", [302, 400, 401, 404, 413])
    async def test_a_refusal_for_good_says_the_ingress_s_own_reason(self, ingress: Ingress, status: int) -> None:
        ingress.answers = [answer(status, '{"error": "wrong or missing signature"}')] * 4

        with pytest.raises(Fatal, match=f"the ingress answered {status}.*wrong or missing signature"):
            await simulate(ingress.url, FEED)

    @pytest.mark.parametrize("url", ["http://", "127.0.0.1", "nonsense"])
    async def test_a_url_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(Fatal, match="expected http"):
            await simulate(url, FEED, count=1)


class TestStop:
    async def test_reports_what_was_acknowledged(self, ingress: Ingress) -> None:
        enough = asyncio.Event()

        def on_progress(report: Report) -> None:
            if report.acknowledged >= 500:
                enough.set()

        sending = asyncio.create_task(simulate(ingress.url, FEED, on_progress=on_progress))
        await enough.wait()
        sending.cancel()
        report = await sending

        assert report.acknowledged == len(ingress.lines()) >= 500
        assert not sending.cancelled()

    async def test_waits_for_the_answer_to_what_is_on_its_way(self, ingress: Ingress) -> None:
        arrived, released = asyncio.Event(), asyncio.Event()

        async def respond(_: web.Request) -> web.Response:
            arrived.set()
            await released.wait()
            return web.Response()

        ingress.answers = [respond]
        sending = asyncio.create_task(simulate(ingress.url, FEED, sizes=(10, 10), concurrency=1))
        await arrived.wait()
        sending.cancel()
        asyncio.get_running_loop().call_soon(released.set)
        report = await sending

        assert report.acknowledged == report.sent == 10

    async def test_ends_while_the_ingress_refuses(self, ingress: Ingress) -> None:
        refused = asyncio.Event()

        async def respond(_: web.Request) -> web.Response:
            refused.set()
            return web.Response(status=503, headers={"Retry-After": "3600"})

        ingress.answers = [respond]
        sending = asyncio.create_task(simulate(ingress.url, FEED, sizes=(10, 10), concurrency=1))
        await refused.wait()
        sending.cancel()
        report = await sending

        assert [report.sent, report.acknowledged] == [10, 0]

    async def test_ends_while_it_keeps_to_a_rate(self, ingress: Ingress) -> None:
        feed = [FeedEvent(b"{}", is_repeat=False)]
        sending = asyncio.create_task(simulate(ingress.url, feed, rate=0.001))
        await asyncio.sleep(0)
        sending.cancel()

        assert (await sending).sent == 0


class TestLine:
    def test_says_what_was_sent(self) -> None:
        report = Report(sent=12_345, acknowledged=12_345, distinct=12_222, posts=130, seconds=61.74)

        assert report.line() == "sent 12,345 events, 12,222 of them distinct, in 130 posts and 61.7 s"

    def test_says_what_went_wrong(self) -> None:
        report = Report(sent=20, acknowledged=10, distinct=10, posts=7, seconds=1)
        report.refused.update({503: 3, 429: 1})
        report.unanswered = 2

        assert report.line() == (
            "sent 10 events, 10 of them distinct, in 7 posts and 1.0 s, refused 3 x 503 and 1 x 429, "
            "2 posts without an answer; 10 more events were posted but not acknowledged"
        )
