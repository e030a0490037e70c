"""Consumer groups: one for each role or destination, and where a new one begins."""

from connectors.kafka import Admin, Producer, Record
from schemas import topics
from streams.beginnings import ensure_beginnings
from streams.groups import groups
from streams.schema import ensure_topics, wanted_topics
from streams.settings import Settings

AMPLITUDE = {"api_key": "k", "events": ["open", "spamreport"]}


def names(settings: Settings) -> set[str]:
    return {group.name for group in groups(settings)}


def test_destinations_have_groups_of_their_own_where_they_are_configured() -> None:
    usual = names(Settings())
    relays = [{"url": "http://u:p@Old.example.com:81/a?b"}, {"name": "new", "url": "http://h"}, {"name": "off"}]
    settings = Settings(
        sources=[{"name": "eu"}, {"name": "us"}],
        amplitude=[AMPLITUDE | {"source": "us"}, {"source": "eu"}],
        relays=relays,
    )
    new = names(settings) - usual

    assert {name for name in new if "old" not in name} == {"gridstream.forward.us", "gridstream.relay.new"}
    (old,) = {name for name in new if "old" in name}
    assert old.startswith("gridstream.relay.old-example-com-")
    relays[0]["url"] = "http://u:other@Old.example.com:81/a?b"
    assert old in names(Settings(relays=relays))


def test_only_what_is_forwarded_is_read() -> None:
    (forward,) = (group for group in groups(Settings(amplitude=[AMPLITUDE])) if group.role == "forward")

    assert forward.topics == ["sendgrid.events.open", "sendgrid.events.spam_report", "sendgrid.forward"]


def test_all_that_is_read_is_made() -> None:
    settings = Settings(amplitude=[AMPLITUDE], relays=[{"url": "http://h"}], contacts=[{}])
    made = {topic.name for topic in wanted_topics(settings)}

    assert {topic for group in groups(settings) for topic in group.topics} <= made


async def test_a_new_destination_begins_at_the_end_and_one_that_has_read_stays_where_it_was(
    servers: Settings, source: str
) -> None:
    settings = servers.model_copy(
        update=dict(Settings(sources=[{"name": source}], relays=[{"name": source, "url": "http://h"}]))
        | {"kafka": servers.kafka}
    )
    raw = topics.raw(source)
    group = f"gridstream.relay.{source}"
    await ensure_topics(settings)
    async with Producer(settings.kafka.cluster) as producer, Admin(settings.kafka.cluster) as admin:
        await producer.publish(raw, Record(b"k", b"before"))
        await ensure_beginnings(settings)
        first = await admin.committed(group)
        await producer.publish(raw, Record(b"k", b"after"))
        await ensure_beginnings(settings)

        assert sum(offset for (topic, _), offset in first.items() if topic == raw) == 1
        assert await admin.committed(group) == first
        (partition,) = (partition for partition, offset in first.items() if offset)
        oldest = await admin.oldest({partition: 1})
        assert oldest
        assert oldest > 1_700_000_000_000
        assert await admin.oldest({}) is None
