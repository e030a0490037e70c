"""The wiring: which agents a role has, in the order data flows, and the Faust app they run in."""

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import faust

from connectors.clickhouse import ClickHouse
from connectors.kafka import Cluster, Producer, partition_of
from schemas import topics
from schemas.amplitude import Rules
from schemas.mail import MailRules
from schemas.normalize import Normalizer
from schemas.tables import CALLS
from streams.aside import Aside
from streams.chunks import Chunk
from streams.contacts.account import Account
from streams.contacts.flusher import Flusher
from streams.contacts.gather import Gather
from streams.forwarding.delivery import Delivery
from streams.forwarding.forward import Forward
from streams.mail.agent import MailAgent
from streams.mail.book import MailBook
from streams.mail.resolving import keep_resolving
from streams.mail.sender import Sender
from streams.normalize import Normalize
from streams.objects.schedule import Schedule
from streams.privacy.forgotten import Forgotten
from streams.sections import Amplitude, Source
from streams.store import InsertPolicy, Store
from streams.transport import App, ChunkSchema, assigned

HELD_BYTES = 128 << 20
"""Of records that agents may hold without having acknowledged them."""
_METADATA_MS = 10_000
"""So soon a worker notices that a topic was made anew or has got more partitions."""

Agent = Callable[[Any], Awaitable[None]]


def faust_app(
    group: str, cluster: Cluster, member: str | None = None, held_bytes: int = HELD_BYTES, *, packed: bool = False
) -> App:
    """A Faust app over chunks, without the parts of Faust that gridstream does not use.

    Args:
        group: the consumer group; each role has its own.
        cluster: where its topics are.
        member: a name in the group that survives a restart; None: another one each time.
        held_bytes: of records that agents may hold without having acknowledged them: as they are, or packed.
        packed: agents get records packed.
    """
    return App(
        group,
        held_bytes=held_bytes,
        packed=packed,
        broker=[f"chunked://{server}" for server in cluster.servers.split(",")],
        broker_credentials=_credentials(cluster),
        autodiscover=False,
        web_enabled=False,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=1.0,  # the others learn from the answer that one has come or gone
        broker_rebalance_timeout=30.0,
        broker_commit_interval=1.0,
        consumer_group_instance_id=member,
        consumer_max_fetch_size=4 << 20,
        consumer_metadata_max_age_ms=_METADATA_MS,
    )


def _credentials(cluster: Cluster) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """How Faust says what its clients get in with."""
    if cluster.protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=cluster.username, password=cluster.password, ssl_context=cluster.tls, mechanism=cluster.mechanism
        )
    return faust.SSLCredentials(cluster.tls) if cluster.tls else None


def normalize_agents(
    source: Source, producer: Producer, partitions: Mapping[str, int], forgotten: Forgotten
) -> dict[str, Agent]:
    """The normalize role's agents for one source, by topic."""
    normalizer = Normalizer(source.user_id_key)
    normalize = Normalize(source.name, normalizer, producer, partitions, forgotten, forgotten.guard(source))
    return {topics.raw(source.name): normalize.agent}


def store_agents(source: Source, clickhouse: ClickHouse, producer: Producer, policy: InsertPolicy) -> dict[str, Agent]:
    """The store role's agents for one source, by topic: one a table."""
    return {
        topic: Store(source.name, table, clickhouse, producer, policy).agent
        for topic, table in topics.stored(source.name).items()
    }


def calls_agents(
    source: Source, clickhouse: ClickHouse, producer: Producer, policy: InsertPolicy, forgotten: Forgotten
) -> dict[str, Agent]:
    """The store role's agent for the calls of Segment's API, by topic.

    Args:
        source: in whose database they are kept.
        clickhouse: open.
        producer: started.
        policy: when inserts are due.
        forgotten: whose calls are not kept.
    """
    store = Store(source.name, CALLS, clickhouse, producer, policy, forgotten)
    return {topics.CALLS: store.agent}


def contacts_agents(
    accounts: Mapping[str, Account], aside: Aside, partitions: int
) -> tuple[dict[str, Agent], Callable[[faust.App], Coroutine[Any, Any, None]]]:
    """The contacts role's agents, by topic, and what syncs the lists beside them.

    Args:
        accounts: by name.
        aside: takes what is for none of them.
        partitions: of the topic of cohorts.
    """
    flusher = Flusher(accounts)
    rules = {name: (account.rules, account.memberships) for name, account in accounts.items()}
    gather = Gather(rules, aside, flusher.notice)

    def sync(app: faust.App) -> Coroutine[Any, Any, None]:
        return flusher.run(lambda key: (topics.COHORTS, partition_of(key, partitions)) in assigned(app))

    return {topics.COHORTS: gather.agent}, sync


def objects_agents(
    schedule: Schedule,
) -> tuple[dict[str, Agent], Callable[[faust.App], Coroutine[Any, Any, None]]]:
    """The objects role's agents, by topic, and what syncs beside them.

    Kafka elects the worker that does it: the one that reads the first partition of a topic in which nothing ever is.
    """

    def sync(app: faust.App) -> Coroutine[Any, Any, None]:
        return schedule.run(lambda: (topics.OBJECTS, 0) in assigned(app))

    return {topics.OBJECTS: acknowledge}, sync


async def acknowledge(stream: AsyncIterable[Chunk]) -> None:
    """Read nothing: whatever is there is done with."""
    async for chunk in stream:
        chunk.acknowledge()


def forward_agents(source: Source, entry: Amplitude, delivery: Delivery, aside: Aside) -> dict[str, Agent]:
    """The forward role's agents for one source, by topic."""
    rules = Rules(
        user_id_key=source.user_id_key,
        known_users_only=entry.known_users_only,
        casing=entry.casing,
        custom_args=entry.custom_args,
        allowed_args=frozenset(entry.allowed_args) or None,
        min_id_length=entry.min_id_length,
    )
    forward = Forward(delivery, rules, aside)
    agents: dict[str, Agent] = {topics.events(source.name, event): forward.of(event) for event in entry.forwarded()}
    return agents | {topics.forward(source.name): forward.again}


def mail_agents(
    rules: MailRules, sender: Sender, book: MailBook, source: str, producer: Producer, forgotten: Forgotten
) -> tuple[dict[str, Agent], Callable[[faust.App], Coroutine[Any, Any, None]]]:
    """The mail role's agents, by topic, and what resolves uncertain mails beside them.

    Args:
        rules: which calls send which mails.
        sender: sends them.
        book: what is known of them.
        source: whose dead letters take what cannot be read.
        producer: started.
        forgotten: to whom nothing is sent.
    """
    agent = MailAgent(rules, sender, source, producer, forgotten)

    def resolving(app: faust.App) -> Coroutine[Any, Any, None]:
        sender.owns = lambda partition: (topics.MAILS, partition) in assigned(app)
        return keep_resolving(book, producer, lambda: sender.owns(0))

    return {topics.MAILS: agent.agent}, resolving


def attach(app: faust.App, topic: str, agent: Agent) -> None:
    """Have an agent read a topic.

    Args:
        app: not started yet.
        topic: its name.
        agent: what reads it.
    """
    app.agent(app.topic(topic, schema=ChunkSchema()), name=f"{app.conf.id} {topic}")(agent)
