"""What all benches of the pipeline process: the simulator's feed, in bodies that are all alike."""

from collections.abc import Iterator, Sequence
from itertools import islice

from connectors.kafka import Producer
from streams.clock import now
from streams.simulator.feed import Feed, bodies

A_BODY = 100
"""Events in a body."""
_AT_ONCE = 100
"""Bodies in one call of the producer."""
_START = 1_790_000_000
"""Of the feed, in seconds since 1970: always the same, so that the feed is."""


def feed(events: int, a_body: int = A_BODY, seed: int = 1) -> Iterator[bytes]:
    """The bodies of so many events, no two of them the same, of 50,000 users.

    Args:
        events: a multiple of a_body.
        a_body: events in each.
        seed: another one makes other events.
    """
    lines = Feed(seed=seed, start=_START, repeat_share=0)
    for body in islice(bodies(lines, least=a_body, most=a_body), events // a_body):
        yield body.content


async def preload(producer: Producer, topic: str, contents: Sequence[bytes]) -> None:
    """Put bodies into a raw topic as the ingress does.

    Args:
        producer: started.
        topic: of raw records.
        contents: of POSTs.
    """
    partitions = await producer.partitions(topic)
    for first in range(0, len(contents), _AT_ONCE):
        outgoing = producer.outgoing()
        headers = [("received_at", str(now()).encode()), ("verified", b"signature")]
        for content in contents[first : first + _AT_ONCE]:
            outgoing.add(topic, first // _AT_ONCE % partitions, None, content, headers)
        await producer.publish_all(outgoing)
