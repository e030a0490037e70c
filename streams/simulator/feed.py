"""A simulated feed of SendGrid's Event Webhook: for demos, benchmarks and tests.

Pure: the same arguments give the same feed, byte for byte.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count, islice
from random import Random
from typing import NamedTuple

from streams.simulator.messages import Message
from streams.simulator.stories import EVENTS_PER_MESSAGE, LIVES, LONGEST_SECONDS, STORIES

_MOST_MESSAGES = 100_000
"""So many may be born within one life; most of them have ended by then."""
_REPEATABLE = 1000


class FeedEvent(NamedTuple):
    """One event of a feed.

    Attributes:
        line: its JSON.
        is_repeat: whether it is an exact copy of an earlier one.
    """

    line: bytes
    is_repeat: bool


class Body(NamedTuple):
    """The body of one POST.

    Attributes:
        content: byte for byte as SendGrid frames it.
        events: how many are in it,
        distinct: and how many of them are not repeats.
    """

    content: bytes
    events: int
    distinct: int


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of a company's mail, in the order in which they happen.

    It never ends, and begins anew with each `iter`. It begins in the middle of things: messages sent before `start` are
    still being opened. The very first events are one of each kind, so that no table stays empty for long.

    Attributes:
        seed: another seed, another feed, of the same users.
        start: when its first event happens, in seconds since 1970.
        users: how many people get mail.
        rate: events a second, above 0, in the feed's own time: the time of the n-th event is about `start + n / rate`.
        compress: how many times faster than in reality people and servers act; 1 is real time. A feed whose rate would
            put more messages on their way than memory should hold goes faster than this.
        repeat_share: how many of all events are exact copies of earlier ones: SendGrid delivers at least once.
    """

    seed: int
    start: float
    users: int = 50_000
    rate: float = 1000.0
    compress: float = 60.0
    repeat_share: float = 0.01

    def __iter__(self) -> Iterator[FeedEvent]:
        random = Random(self.seed)  # noqa: S311  no secret
        probability = self.repeat_share / (1 - self.repeat_share)
        recent: deque[bytes] = deque(maxlen=_REPEATABLE)
        for line in self._lines():
            yield FeedEvent(line, is_repeat=False)
            recent.append(line)
            if random.random() < probability:
                yield FeedEvent(random.choice(recent), is_repeat=True)

    def _lines(self) -> Iterator[bytes]:
        random = Random(self.seed)  # noqa: S311  no secret
        gap = EVENTS_PER_MESSAGE / self.rate / (1 - self.repeat_share)
        scale = min(1 / self.compress, _MOST_MESSAGES * gap / LONGEST_SECONDS)
        waiting = self._under_way(random, gap, scale)
        for order in count():
            born = self.start + order * gap
            while waiting and waiting[0][0] <= born:
                due, tie, message = waiting[0]
                yield message.event(int(due))
                wait = message.advance()
                if wait is None:
                    heappop(waiting)
                else:
                    heapreplace(waiting, (due + wait * scale, tie, message))
            heappush(waiting, (born, order, Message(random, self.users, random.choice(LIVES), born)))

    def _under_way(self, random: Random, gap: float, scale: float) -> list[tuple[float, int, Message]]:
        """What is due, in which order, of messages born before the start; and of one message of each kind."""
        births = int(LONGEST_SECONDS * scale / gap)
        due_at = [
            (self.start, -births - number, Message(random, self.users, story[-1:], self.start))
            for number, (_, story) in enumerate(STORIES, 1)
        ]
        for order in range(-births, 0):
            born = due = self.start + order * gap
            story = random.choice(LIVES)
            for position, step in enumerate(story[1:], 1):
                due += step.wait(random) * scale
                if due >= self.start:
                    due_at.append((due, order, Message(random, self.users, story[position:], born)))
                    break
        heapify(due_at)
        return due_at


def bodies(events: Iterable[FeedEvent], least: int = 1, most: int = 200, seed: int = 0) -> Iterator[Body]:
    """Events in bodies as SendGrid frames them: small ones are the most frequent.

    Args:
        events: the last body has what is left of them.
        least: so many events at least in a body,
        most: and so many at most; equal ones make all bodies alike.
        seed: of the sizes.
    """
    random = Random(seed)  # noqa: S311  no secret
    rest = iter(events)
    while chunk := list(islice(rest, int(least * ((most + 1) / least) ** random.random()))):
        content = b"[" + b",\r\n".join([event.line for event in chunk]) + b"]\r\n"
        yield Body(content, len(chunk), sum(not event.is_repeat for event in chunk))
