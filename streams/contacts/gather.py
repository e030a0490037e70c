"""Gathering what cohort webhooks say: each record becomes wishes in ClickHouse, then it is acknowledged."""

from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.cohorts import CohortBatch
from schemas.contacts import InvalidAddressError, Person, Rules, address, given_address
from streams import failpoints
from streams.aside import Aside
from streams.chunks import Chunk
from streams.contacts.memberships import Memberships, Wish

_MOST_WISHES = 5000
"""That are held in memory: a record holds some thousand people."""


@dataclass(slots=True)
class _Gathered:
    """What was said for one account and is not written yet."""

    wishes: list[Wish] = field(default_factory=list)
    refused: list[tuple[str, Person, str]] = field(default_factory=list)
    batches: list[tuple[CohortBatch, int]] = field(default_factory=list)


class Gather:
    """Reads the topic of cohorts.

    Args:
        accounts: what each takes from people, and where its wishes go, by name.
        aside: takes what is for none of these.
        noticed: told the account and the cohort of whatever has come.
    """

    def __init__(
        self,
        accounts: Mapping[str, tuple[Rules, Memberships]],
        aside: Aside,
        noticed: Callable[[str, str], None],
    ) -> None:
        self._accounts = accounts
        self._aside = aside
        self._noticed = noticed
        self._gathered: dict[str, _Gathered] = {}

    async def agent(self, stream: AsyncIterable[Chunk]) -> None:
        """Write what comes, then acknowledge it."""
        async for chunk in stream:
            await failpoints.reach("before-inserting")
            for record in chunk.records:
                await self._take(record)
            await self.write()
            await failpoints.reach("after-inserting")
            chunk.acknowledge()

    async def _take(self, record: Any) -> None:  # noqa: ANN401  aiokafka's ConsumerRecord
        try:
            batch = CohortBatch.of_line(record.value)
        except ValueError as error:
            await self._aside.put(record, record.value or b"", str(error), record.timestamp)
            return
        if batch.account not in self._accounts:
            reason = f"there is no [[contacts]] entry {batch.account}; configure it, then replay this"
            await self._aside.put(record, record.value, reason, record.timestamp)
            return
        await self.add(batch)
        await self._aside.succeeded(record)

    async def add(self, batch: CohortBatch) -> None:
        """Take what one batch says; some of it may be written now, all of it is by `write`."""
        rules, _ = self._accounts[batch.account]
        gathered = self._gathered.setdefault(batch.account, _Gathered())
        without = 0
        for user_id, traits in batch.users:
            given = given_address(user_id, traits, rules)
            if not given:
                without += 1
                continue
            try:
                gathered.wishes.append(Wish(batch, Person(address(given), user_id, traits)))
            except InvalidAddressError as error:
                if batch.action == "enter":
                    gathered.refused.append((batch.id, Person(given, user_id, traits), str(error)))
        gathered.batches.append((batch, without))
        if sum(len(each.wishes) for each in self._gathered.values()) > _MOST_WISHES:
            await self.write()

    async def write(self) -> None:
        """Write all that was taken."""
        for account, gathered in self._gathered.items():
            _, memberships = self._accounts[account]
            await memberships.wish(gathered.wishes)
            await memberships.add_rejects(gathered.refused)
            await memberships.add_batches(gathered.batches)
            for batch, _ in gathered.batches:
                self._noticed(account, batch.id)
        self._gathered.clear()
