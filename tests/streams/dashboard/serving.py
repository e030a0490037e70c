"""A live page for a test, in this process, and rows for it to show."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.normalize import Normalizer
from schemas.tables import EVENT_TABLES
from streams.dashboard.server import Dashboard
from streams.settings import Settings
from streams.simulator.feed import Feed
from streams.tasks import Tasks

Row = dict[str, Any]
_PATIENCE_SECONDS = 60


def lines(elements: Iterable[dict[str, object]], received_at: int) -> list[tuple[str, bytes]]:
    """What the store writes for the elements of a body: the type and the line of each."""
    events = Normalizer()(orjson.dumps(list(elements)), received_at).events
    return [(event.type.name, event.line) for event in events]


def feed(seed: int, start: float, seconds: float, count: int) -> list[tuple[str, bytes]]:
    """Lines of so many simulated events, spread over so many seconds; some of them are repeats."""
    events = islice(Feed(seed=seed, start=start, rate=count / seconds, compress=1, users=500, repeat_share=0.05), count)
    return lines([orjson.loads(event.line) for event in events], int((start + seconds) * 1000))


async def insert(clickhouse: ClickHouse, source: str, written: Sequence[tuple[str, bytes]]) -> None:
    """Put lines into their tables, each table's in one insert."""
    by_type: dict[str, list[bytes]] = defaultdict(list)
    for name, line in written:
        by_type[name].append(line)
    for name, of in by_type.items():
        await clickhouse.insert(f"{identifier(source)}.{identifier(EVENT_TABLES[name].rows)}", [b"\n".join(of)])


class Page:
    """A page under test.

    Attributes:
        url: where it is.
        dashboard: what serves it.
        session: to ask it.
        tasks: what it does beside answering.
    """

    def __init__(self, url: str, dashboard: Dashboard, session: aiohttp.ClientSession, tasks: Tasks) -> None:
        self.url = url
        self.dashboard = dashboard
        self.session = session
        self.tasks = tasks

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status of an answer, and its JSON."""
        async with self.session.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.json()

    async def rows(self, panel: str, query: str = "") -> list[Row]:
        """The rows of a panel, by the names of its columns."""
        status, declared = await self.get("/api/page")
        assert status == 200
        columns = next(each["columns"] for each in declared["panels"] if each["name"] == panel)
        status, answer = await self.get(f"/api/panels/{panel}?{query}")
        assert status == 200, answer
        return [{column["name"]: value for column, value in zip(columns, row, strict=True)} for row in answer["rows"]]

    async def noticing(self, inserting: Awaitable[None]) -> None:
        """Return when what is inserted is in what is counted ahead."""
        await inserting
        for counting in self.dashboard._counting.values():
            await counting.step()

    async def counted(self) -> None:
        """Return when the whole past is counted."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (await self.get("/api/changes?since=-1"))[1]["counted"] < 1:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def serving(settings: Settings, clickhouse_url: str, source: str, **sections: Any) -> AsyncIterator[Page]:
    """Serve a page for one source."""
    used = Settings(
        **{"sources": [{"name": source}], "kafka": {"bootstrap_servers": settings.kafka.servers}, **sections}
    )
    clickhouse = ClickHouse(clickhouse_url)
    dashboard = Dashboard(used, clickhouse)
    runner = web.AppRunner(dashboard.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tasks = Tasks()
    tasks.begin(dashboard.work(tasks))
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        yield Page(f"http://{host}:{port}", dashboard, session, tasks)
    await tasks.close()
    await runner.cleanup()
    await clickhouse.close()
