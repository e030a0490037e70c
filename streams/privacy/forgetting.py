"""Forgetting people, in the order that makes it last.

First everybody who writes learns whom to forget; then what was begun before is waited for; only then is deleted what is
there. What remains is Kafka's, which cannot delete one record: until when is said.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial

from connectors.amplitude_deletions import HOSTS, MOST_USERS, AmplitudeDeletions
from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from connectors.kafka import Admin, Producer
from connectors.sendgrid import MOST_FOUND, MOST_REMOVED, SendGrid
from schemas import topics
from schemas.columns import time_text
from schemas.contacts import InvalidAddressError, address
from schemas.privacy import Marks
from streams.clock import now
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.groups import Group, Offsets, Partition, groups
from streams.pieces import pieces
from streams.privacy.erasing import Erased, Eraser
from streams.privacy.forgotten import Forgotten, forgotten
from streams.privacy.lasting import NEVER, Lasting, lasting, read_by_all
from streams.privacy.masking import mask
from streams.privacy.searching import Search
from streams.schema import require_schema, wanted_topics
from streams.sections import Amplitude
from streams.settings import Settings

_ANSWER_SECONDS = 3_600.0
"""To read all rows of a large table takes minutes."""
_ASK_SECONDS = 0.2
_ROUNDS = 3
"""Somebody may write what they had begun while the first one runs."""
_OLD_PARTS_MS = 10 * 60_000
"""ClickHouse takes replaced parts off the disk after old_parts_lifetime, 8 minutes, and looks every minute or so."""
_OTHERS = frozenset({topics.FORGOTTEN, topics.OBJECTS, topics.VERIFICATION_KEYS})
"""Topics in which nothing of anybody is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        addresses: whose, in lower case.
        with_user_ids: also everything that bears the user ids of these people, under whatever address.
        truncate: have Kafka delete at once what everybody has read.
        sendgrid: delete the contacts in SendGrid.
        amplitude: have Amplitude delete the users.
    """

    addresses: Collection[str]
    with_user_ids: bool = False
    truncate: bool = False
    sendgrid: bool = False
    amplitude: bool = False


@dataclass(slots=True)
class Report:
    """What was done, and what is still to come.

    Attributes:
        at: when, in milliseconds since 1970.
        people: the marks of the addresses: whoever has the key can tell whose they are, and nobody else.
        known: how many of them had been forgotten before.
        user_ids: how many user ids these people had.
        rows_of_user_ids: rows that bear these and not the addresses, and stay.
        sources: what was erased from each database.
        logs: in how many places of log files an address was covered.
        sendgrid: by account: contacts that SendGrid is deleting.
        amplitude: by source: the day on which Amplitude begins to delete, empty where it knows nobody.
        topics: what Kafka still has.
        truncated: records that Kafka deleted at once.
        parts_until: when ClickHouse has the replaced parts off its disk, in milliseconds since 1970.
        remaining: rows that were found in the last round: somebody still writes them.
    """

    at: int
    people: list[str]
    known: int
    user_ids: int = 0
    rows_of_user_ids: int = 0
    sources: dict[str, Erased] = field(default_factory=dict)
    logs: int = 0
    sendgrid: dict[str, int] = field(default_factory=dict)
    amplitude: dict[str, str] = field(default_factory=dict)
    topics: list[Lasting] = field(default_factory=list)
    truncated: int = 0
    parts_until: int = 0
    remaining: int = 0

    @property
    def until(self) -> int:
        """When the last copy is gone, in milliseconds since 1970; NEVER: some topic keeps it."""
        times = [each.until for each in self.topics]
        return NEVER if NEVER in times else max([self.at, self.parts_until, *times])

    @property
    def rows(self) -> int:
        """How many rows were erased."""
        return sum(count for erased in self.sources.values() for count in erased.rows.values())

    def as_json(self) -> dict[str, object]:
        """For programs; times as people read them."""
        return {
            **asdict(self),
            "at": time_text(self.at),
            "parts_until": time_text(self.parts_until),
            "topics": [asdict(each) | {"until": shown(each.until)} for each in self.topics],
            "until": shown(self.until),
        }


def shown(until: int) -> str:
    """A time, for people."""
    return time_text(until) if until != NEVER else "never"


class Forgetting:
    """Forgets some people.

    Args:
        settings: read.
        data: the data folder.
        wish: what is asked for.
        on_progress: told what is being done.
    """

    def __init__(self, settings: Settings, data: DataFolder, wish: Wish, on_progress: Callable[[str], None]) -> None:
        self._settings = settings
        self._data = data
        self._wish = wish
        self._on_progress = on_progress
        self._groups = groups(settings)

    async def run(self) -> Report:
        """Forget; done twice it finds nothing the second time.

        Raises:
            Retry: something outside does not answer. Done again, it goes on.
            Fatal, Reject: something is missing, and it says what.
        """
        self._require()
        async with AsyncExitStack() as stack:
            known = await forgotten(self._settings, self._data, stack)
            if known.marks is None:
                raise Fatal("privacy.key is not set: people are remembered as forgotten by marks that need one")
            connection = self._data.connection(self._settings, _ANSWER_SECONDS)
            clickhouse = await stack.enter_async_context(connection)
            for source in self._settings.sources:
                await require_schema(source.name, clickhouse)
            admin = await stack.enter_async_context(Admin(self._settings.kafka.cluster))
            return await self._forget(known, known.marks, clickhouse, admin)

    def _require(self) -> None:
        if self._settings.clickhouse.cluster:
            # Distributed tables take no ALTER … DELETE, and each server tells of its own mutations alone.
            raise Fatal("clickhouse.cluster is set: gridstream forget cannot yet rewrite the tables of several servers")
        if self._wish.amplitude:
            for entry in self._amplitudes():
                if not entry.secret_key.get_secret_value():
                    raise Fatal("amplitude.secret_key is not set; it is in Amplitude, Settings > Projects")
            if not self._amplitudes():
                raise Fatal("no [[amplitude]] has an api_key: there is nothing to ask Amplitude with")
        if self._wish.sendgrid and not self._accounts():
            raise Fatal("no source and no [[contacts]] has an api_key: there is nothing to ask SendGrid with")

    async def _forget(self, known: Forgotten, marks: Marks, clickhouse: ClickHouse, admin: Admin) -> Report:
        people = sorted(self._wish.addresses)
        report = Report(now(), [marks(each) for each in people], sum(marks(each) in known.people for each in people))
        ids = await self._user_ids(clickhouse, marks)
        report.user_ids = len(ids)
        gone = ids if self._wish.with_user_ids else set()
        self._on_progress("telling everybody who writes")
        await self._tell(known, [*people, *sorted(gone)], report.at)
        if self._wish.amplitude:
            report.amplitude = await self._from_amplitude(sorted({*people, *ids}))
        if self._wish.sendgrid:
            report.sendgrid = await self._from_sendgrid(people)
        offsets = await self._in_flight(admin)
        at = now()
        await self._erase(report, clickhouse, marks, gone)
        report.rows_of_user_ids = await self._count_ids(clickhouse, ids - gone)
        report.parts_until = now() + _OLD_PARTS_MS if report.rows else report.at
        report.logs = await asyncio.to_thread(mask, self._data.logs, people)
        if self._wish.truncate:
            report.truncated = await self._truncate(admin, offsets)
            firsts = await admin.offsets({topic for topic, _ in offsets})
            offsets = {each: (firsts[each][0], end) for each, (_, end) in offsets.items()}
        report.topics = await lasting(admin, offsets, at)
        return report

    async def _tell(self, known: Forgotten, names: Sequence[str], at: int) -> None:
        async with Producer(self._settings.kafka.cluster) as producer:
            await known.add(names, producer, at)

    async def _in_flight(self, admin: Admin) -> Offsets:
        """Wait for what was begun before everybody knew; returns what Kafka had then."""
        # Who reads these asks before each chunk who is forgotten: what they read from here on, they read knowing.
        for role in ("normalize", "contacts", "mail"):
            for each in self._groups:
                if each.role == role:
                    await self._done(admin, each, await admin.offsets(each.topics), needed=False)
        store = next(each for each in self._groups if each.role == "store")
        await self._done(admin, store, await admin.offsets(store.topics), needed=True)
        names = [topic.name for topic in wanted_topics(self._settings) if topic.name not in _OTHERS]
        return await admin.offsets(names)

    async def _done(self, admin: Admin, of: Group, offsets: Offsets, *, needed: bool) -> None:
        """Wait until a group has processed everything before some offsets.

        Args:
            admin: entered.
            of: the group.
            offsets: of its topics.
            needed: whether somebody has to, also where nobody is working at it.
        """
        while waiting := _left(offsets, await admin.committed(of.name)):
            if not await admin.members(of.name):
                if needed:
                    raise Fatal(f"{waiting:,} records wait to be stored; start: gridstream worker {of.role}")
                return
            self._on_progress(f"waiting for {of.role}: {waiting:,} records")
            await asyncio.sleep(_ASK_SECONDS)

    @asynccontextmanager
    async def _search(
        self, clickhouse: ClickHouse, database: str, marks: Marks, ids: Collection[str]
    ) -> AsyncIterator[Search]:
        people = {form for each in self._wish.addresses for form in _forms(each)}
        hidden = {marks(each) for each in (*people, *ids)}
        async with Search(clickhouse, database, people, hidden, ids).open() as search:
            yield search

    async def _user_ids(self, clickhouse: ClickHouse, marks: Marks) -> set[str]:
        """The user ids that rows with the addresses have."""
        found: set[str] = set()
        for source in self._settings.sources:
            async with self._search(clickhouse, source.name, marks, ()) as search:
                for place in await search.places():
                    self._on_progress(f"{source.name}.{place.table}: user ids")
                    found |= await search.user_ids(place)
        return {each for each in found if "@" not in each}

    async def _count_ids(self, clickhouse: ClickHouse, ids: Collection[str]) -> int:
        total = 0
        for source in self._settings.sources if ids else ():
            async with Search(clickhouse, source.name, (), (), ids).open() as search:
                total += sum([await search.count(place) for place in await search.places()])
        return total

    async def _erase(self, report: Report, clickhouse: ClickHouse, marks: Marks, ids: Collection[str]) -> None:
        for source in self._settings.sources:
            total = report.sources.setdefault(source.name, Erased())
            for _ in range(_ROUNDS):
                async with self._search(clickhouse, source.name, marks, ids) as search:
                    found = await Eraser(search, source.name, marks, self._on_progress).erase()
                total.add(found)
                if not found.rows:
                    break
            report.remaining += sum(found.rows.values())

    async def _truncate(self, admin: Admin, offsets: Offsets) -> int:
        """Have Kafka delete what everybody has read of what was there; how many records."""
        committed: Mapping[str, Mapping[Partition, int]] = {
            each.name: await admin.committed(each.name) for each in self._groups
        }
        before = {
            partition: position
            for partition, position in read_by_all(self._groups, committed, offsets).items()
            if position > offsets[partition][0]
        }
        if before:
            await admin.delete_before(before)
        return sum(position - offsets[partition][0] for partition, position in before.items())

    def _accounts(self) -> dict[str, tuple[str, str]]:
        """The SendGrid accounts, each once: key and address of the API, by the name of what has the key."""
        settings = self._settings
        found: dict[tuple[str, str], str] = {}
        for source in settings.sources:
            found.setdefault((source.api_key.get_secret_value(), source.api_url), source.name)
        for entry in settings.contacts:
            source = settings.source(entry.source)
            found.setdefault((entry.key(source), source.api_url), entry.name)
        return {name: account for account, name in found.items() if account[0]}

    async def _from_sendgrid(self, people: Sequence[str]) -> dict[str, int]:
        deleted = {}
        wanted = [each for each in people if _is_valid(each)]
        for name, (key, url) in self._accounts().items():
            self._on_progress(f"SendGrid contacts of {name}")
            ids: set[str] = set()
            async with SendGrid(key, url) as api:
                for some in pieces(wanted, MOST_FOUND):
                    found = await persistently("finding contacts", partial(api.find, list(some)))
                    ids |= {str(contact["id"]) for contact in found.values()}
                for each in pieces(sorted(ids), MOST_REMOVED):
                    await persistently("deleting contacts", partial(api.delete_contacts, each))
            deleted[name] = len(ids)
        return deleted

    def _amplitudes(self) -> list[Amplitude]:
        return [entry for entry in self._settings.amplitude if entry.is_on]

    async def _from_amplitude(self, user_ids: Sequence[str]) -> dict[str, str]:
        days = {}
        for entry in self._amplitudes():
            source = self._settings.source(entry.source).name
            self._on_progress(f"Amplitude users of {source}")
            secret = entry.secret_key.get_secret_value()
            async with AmplitudeDeletions(entry.key, secret, entry.url or HOSTS[entry.region]) as api:
                days[source] = max(
                    [
                        await persistently("deleting users", partial(api.delete, list(some), "gridstream"))
                        for some in pieces(user_ids, MOST_USERS)
                    ]
                )
        return days


def _left(offsets: Offsets, committed: Mapping[Partition, int]) -> int:
    return sum(max(0, end - max(first, committed.get(each, first))) for each, (first, end) in offsets.items())


def _forms(given: str) -> set[str]:
    """An address as it was given, and as SendGrid stores it."""
    try:
        return {given, address(given)}
    except InvalidAddressError:
        return {given}


def _is_valid(given: str) -> bool:
    try:
        return bool(address(given))
    except InvalidAddressError:
        return False
