"""How the pipeline itself does: kept ready, as the account of many events takes longer than a page may wait."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.kafka import Admin
from streams.accounting import Status, collect
from streams.groups import groups, lags_of
from streams.process import FINISH_SECONDS
from streams.schema import wanted_topics
from streams.settings import Settings

T = TypeVar("T")

_REST = 10
"""The account is taken again after so many times as long as it took."""
_LAG_SECONDS = 2.0
_ANSWER_SECONDS = 20.0


@dataclass(slots=True)
class Health:
    """What is known, and since when.

    Attributes:
        lag: records that a consumer group has not processed yet, by group.
        lag_at: when that was, in seconds since 1970; 0: never yet.
        lag_trouble: why Kafka cannot be asked.
        status: the account of all sources.
        status_at: when that was.
        status_trouble: why it cannot be had.
    """

    lag: dict[str, int] = field(default_factory=dict)
    lag_at: float = 0.0
    lag_trouble: str = ""
    status: Status = field(default_factory=Status)
    status_at: float = 0.0
    status_trouble: str = ""

    def of(self, source: str) -> dict[str, object]:
        """What the page shows of it beside a source's numbers."""
        account = self.status.sources.get(source)
        return {
            "lag": self.lag,
            "lag_at": self.lag_at,
            "lag_trouble": self.lag_trouble,
            "roles": self.status.roles,
            "account": {**asdict(account), "balanced": account.balanced} if account else None,
            "account_at": self.status_at,
            "account_trouble": self.status_trouble,
        }


async def watch_lag(health: Health, settings: Settings) -> None:
    """Keep the lag known until cancelled."""
    while True:
        try:
            async with AsyncExitStack() as stack:
                admin = await _whole(stack.enter_async_context(Admin(settings.kafka.cluster)))
                while True:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        health.lag = await _whole(_lag(settings, admin))
                    health.lag_at, health.lag_trouble = time.time(), ""
                    await asyncio.sleep(_LAG_SECONDS)
        except TimeoutError:
            health.lag_trouble = f"Kafka at {settings.kafka.servers} does not answer"
        except GridstreamError as error:
            health.lag_trouble = str(error)
        await asyncio.sleep(_LAG_SECONDS)


async def watch_account(health: Health, settings: Settings, clickhouse: ClickHouse) -> None:
    """Keep the account known until cancelled."""
    while True:
        started = time.monotonic()
        try:
            health.status = await _whole(_account(settings, clickhouse))
            health.status_at, health.status_trouble = time.time(), ""
        except GridstreamError as error:
            health.status_trouble = str(error)
        await asyncio.sleep(max(_LAG_SECONDS, _REST * (time.monotonic() - started)))


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end, also when cancelled meanwhile: aiokafka would leave its connections open."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=FINISH_SECONDS)
        raise


async def _account(settings: Settings, clickhouse: ClickHouse) -> Status:
    async with Admin(settings.kafka.cluster) as admin:
        return await collect(settings, admin, clickhouse)


async def _lag(settings: Settings, admin: Admin) -> dict[str, int]:
    # What is committed before where topics end, so that nothing is behind in between.
    committed = [(each, await admin.committed(each.name)) for each in groups(settings)]
    offsets = await admin.offsets([topic.name for topic in wanted_topics(settings)])
    return {each.name: sum(lags_of(offsets, of, each.topics).values()) for each, of in committed}
