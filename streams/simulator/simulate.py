"""Sending a simulated feed to an ingress as SendGrid's servers do: several at once, and again until it is taken."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import islice

import aiohttp

from connectors.errors import Fatal, GridstreamError, Retry
from connectors.event_webhook import Signer
from connectors.http import error_for
from streams.delivery import persistently
from streams.simulator.feed import Body, FeedEvent, bodies

_HEADERS = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "SendGrid Event API"}
_ANSWER_SECONDS = 30.0
_LAST_ANSWERS_SECONDS = 5.0
"""So long is waited, when stopped, for answers to what has been posted."""


@dataclass(slots=True)
class Report:
    """What has been sent so far, and what became of it.

    Attributes:
        sent: events in bodies that were posted, each body counted once.
        acknowledged: those of them in bodies that were answered with 2xx,
        distinct: and those of these that are no repeats of earlier events.
        posts: requests, repeated ones included.
        refused: answers other than 2xx, by status.
        unanswered: requests that ended without an answer.
        seconds: how long it took.
    """

    sent: int = 0
    acknowledged: int = 0
    distinct: int = 0
    posts: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    seconds: float = 0.0

    def line(self) -> str:
        """The report in one line, for people."""
        text = (
            f"sent {self.acknowledged:,} events, {self.distinct:,} of them distinct, "
            f"in {self.posts:,} posts and {self.seconds:,.1f} s"
        )
        if self.refused:
            text += ", refused " + " and ".join(f"{number:,} x {status}" for status, number in self.refused.items())
        if self.unanswered:
            text += f", {self.unanswered:,} posts without an answer"
        if self.sent > self.acknowledged:
            text += f"; {self.sent - self.acknowledged:,} more events were posted but not acknowledged"
        return text


class Pace:
    """Lets so many events a second through, evenly; what a stall has left over, at no more than twice the rate.

    Args:
        rate: events a second; 0 is any number.
        now: when it begins, in seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._due = self._last = now

    def wait(self, events: int, now: float) -> float:
        """How long, in seconds, until so many more events should have happened and may be sent."""
        if not self._rate:
            return 0.0
        seconds = events / self._rate
        self._due += seconds
        self._last = max(self._due, self._last + seconds / 2, now)
        return self._last - now


class _Sender:
    """Posts bodies until each is acknowledged, and keeps the report."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        signer: Signer | None,
        report: Report,
        on_progress: Callable[[Report], None],
    ) -> None:
        self._session = session
        self._url = url
        self._signer = signer
        self._report = report
        self._on_progress = on_progress

    async def send(self, waiting: Iterator[Body], pace: Pace) -> None:
        """Send one body after another. Several of these share the bodies and the pace."""
        for body in waiting:
            await asyncio.sleep(pace.wait(body.events, time.monotonic()))
            self._report.sent += body.events
            await persistently("a post to the ingress", partial(self._post, body))

    async def _post(self, body: Body) -> None:
        request = asyncio.create_task(self._request(body))
        try:
            await asyncio.shield(request)
        except asyncio.CancelledError:
            with suppress(TimeoutError, GridstreamError):
                await asyncio.wait_for(request, _LAST_ANSWERS_SECONDS)
            raise

    async def _request(self, body: Body) -> None:
        headers = self._signer.headers(str(int(time.time())), body.content) if self._signer else {}
        self._report.posts += 1
        try:
            async with self._session.post(
                self._url, data=body.content, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.text(errors="replace")
        except aiohttp.InvalidURL as error:
            raise Fatal("the ingress's URL is none: expected http(s)://host:port/path") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            self._report.unanswered += 1
            raise Retry(f"the ingress does not answer: {str(error) or type(error).__name__}") from error
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            self._report.refused[answer.status] += 1
            refusal = error_for(answer.status, text, answer.headers, "the ingress")
            raise refusal if isinstance(refusal, Retry) else Fatal(str(refusal))
        self._report.acknowledged += body.events
        self._report.distinct += body.distinct
        self._on_progress(self._report)


def _ignore(_: Report) -> None:
    pass


async def simulate(
    url: str,
    feed: Iterable[FeedEvent],
    *,
    rate: float = 0.0,
    count: int = 0,
    signer: Signer | None = None,
    credentials: tuple[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
    concurrency: int = 4,
    sizes: tuple[int, int] = (1, 200),
    on_progress: Callable[[Report], None] = _ignore,
) -> Report:
    """Send a feed until `count` events are acknowledged, or until cancelled: then too, the report is returned.

    Args:
        url: where the source's webhook is.
        feed: the events.
        rate: events a second; 0 is as fast as the ingress takes them. A feed of the same rate that starts now has the
            time of day in its events.
        count: how many events, repeats included; 0 is all of the feed, which may have no end.
        signer: has the source's private key. Without one, nothing is signed.
        credentials: user name and password of the source.
        trust: what the ingress's certificate is checked with; None: the authorities of the system.
        concurrency: how many posts may be on their way at once.
        sizes: how many events a body has at least and at most. At a rate, no body has more than one second's.
        on_progress: called after each acknowledged post.

    Raises:
        Fatal: the ingress will never take it; its own reason says why.
    """
    least, most = sizes
    if rate:
        most = max(1, min(most, int(rate)))
        least = min(least, most)
    report = Report()
    started = time.perf_counter()
    headers = _HEADERS | ({"Authorization": aiohttp.encode_basic_auth(*credentials)} if credentials else {})
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(limit=concurrency, ssl=trust or True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session,
            asyncio.TaskGroup() as senders,
        ):
            sender = _Sender(session, url, signer, report, on_progress)
            waiting = bodies(islice(feed, count or None), least, most)
            pace = Pace(rate, time.monotonic())
            for _ in range(concurrency):
                senders.create_task(sender.send(waiting, pace))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()  # it has been obeyed
    report.seconds = time.perf_counter() - started
    return report
