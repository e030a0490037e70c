"""The page's HTTP server: its files, the panels' answers as JSON, and who tells browsers that something is new."""

import asyncio
import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.tls import serving
from streams import process
from streams.dashboard import files
from streams.dashboard.counting import Counting
from streams.dashboard.door import door
from streams.dashboard.health import Health, watch_account, watch_lag
from streams.dashboard.panels import PANELS, Panel
from streams.dashboard.period import DEFAULT, RANGES, Period, period
from streams.dashboard.queries import Source, is_counted, literal, parameters
from streams.datafolder import DataFolder
from streams.delivery import persistently
from streams.schema import require_schema
from streams.settings import Settings
from streams.tasks import Tasks

_WAIT_SECONDS = 20.0
"""A browser that waits for something new is answered after so long even so."""
_AT_ONCE = 4
"""Panels asked for at the same time: inserts need ClickHouse too."""
_LATEST_WITHIN = (600, 21_600, 259_200)
"""Seconds before the end in which the latest rows are looked for, so that not all are read to find them."""
_LONGEST_TEXT = 1_000


async def run(settings: Settings, data: DataFolder) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Fatal: the port cannot be had, the certificate not be used, or ClickHouse is not as it should be.
    """
    stopped = asyncio.ensure_future(process.stop_event().wait())
    page = settings.dashboard
    tls = serving(page.certificate, page.private_key, "dashboard")
    async with AsyncExitStack() as stack:
        clickhouse = data.connection(settings)
        stack.push_async_callback(clickhouse.close)
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        dashboard = Dashboard(settings, clickhouse)
        runner = web.AppRunner(dashboard.application(), access_log=None, shutdown_timeout=1.0)
        await process.serve(stack, runner, page.host, page.port, "the live page", tls=tls)
        tasks.begin(dashboard.work(tasks))
        process.tell_ready()
        failed = asyncio.ensure_future(tasks.failure())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        failed.cancel()


class Dashboard:
    """What the page asks for.

    Args:
        settings: read.
        clickhouse: not yet connected.
    """

    def __init__(self, settings: Settings, clickhouse: ClickHouse) -> None:
        self._settings = settings
        self._clickhouse = clickhouse
        self._counting = {source.name: Counting(source.name, clickhouse) for source in settings.sources}
        self._health = Health()
        self._not_yet = f"ClickHouse at {clickhouse.address} does not answer yet"
        self._answers: dict[tuple[str, int], asyncio.Task[list[tuple[Any, ...]]]] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(middlewares=[door(self._settings.dashboard)])
        files.add_to(app)
        app.router.add_get("/api/page", self._page)
        app.router.add_get("/api/panels/{name}", self._panel)
        app.router.add_get("/api/changes", self._changes)
        app.router.add_get("/api/health", self._pipeline)
        app.router.add_get("/health", process.health)
        app.router.add_get("/metrics", process.metrics)
        return app

    async def work(self, tasks: Tasks) -> None:
        """Connect to ClickHouse, however long that takes, and begin what is done beside answering.

        Raises:
            Fatal: it is not as it should be.
        """
        tasks.begin(watch_lag(self._health, self._settings))
        await persistently("connecting to ClickHouse", self._clickhouse.connect)
        for name in self._counting:
            await persistently("looking at the schema", partial(require_schema, name, self._clickhouse))
        self._not_yet = ""
        for counting in self._counting.values():
            tasks.begin(counting.run())
        tasks.begin(watch_account(self._health, self._settings, self._clickhouse))

    async def _page(self, _: web.Request) -> web.Response:
        """What the page is made of."""
        return _json(
            {
                "version": importlib.metadata.version("gridstream"),
                "sources": list(self._counting),
                "ranges": [{"name": name, "title": title} for name, (title, _) in RANGES.items()],
                "default_range": DEFAULT,
                "panels": [
                    {
                        "name": panel.name,
                        "title": panel.title,
                        "meaning": panel.meaning,
                        "shape": panel.shape,
                        "needs": panel.needs,
                        "apart": panel.apart,
                        "empty": panel.empty,
                        "columns": panel.columns,
                    }
                    for panel in PANELS.values()
                ],
            }
        )

    async def _panel(self, request: web.Request) -> web.Response:
        panel = PANELS.get(request.match_info["name"])
        if panel is None:
            return _json({"error": "there is no such panel"}, 404)
        try:
            source = self._source(request.query)
            asked = period(request.query, time.time())
            texts = {panel.needs: _text(request.query, panel.needs)} if panel.needs else {}
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        tests = int(request.query.get("tests") == "1")
        started = time.perf_counter()
        try:
            answer = await self._answer(panel, source, asked, {"tests": tests, **texts})
        except GridstreamError as error:
            return _json({"error": str(error)}, 503)
        answer["milliseconds"] = round((time.perf_counter() - started) * 1000, 1)
        return _json(answer)

    async def _answer(
        self, panel: Panel, source: str, asked: Period, values: Mapping[str, object]
    ) -> dict[str, object]:
        if self._not_yet:
            raise GridstreamError(self._not_yet)
        await self._counting[source].attend()
        covered = self._counting[source].covered

        async def ask(start: int, end: int) -> tuple[list[tuple[Any, ...]], str]:
            bound = {**parameters(start, end, covered), **values}
            sql = panel.sql(Source(source, asked.step, str(values.get("find", "")), is_counted(bound)))
            return await self._rows(sql, bound, [column.name for column in panel.columns]), literal(sql, bound)

        before: list[tuple[Any, ...]] | None = None
        if panel.compared:
            (rows, sql), (before, _) = await asyncio.gather(
                ask(asked.start, asked.end), ask(asked.before, asked.before_end)
            )
        elif panel.latest:
            for seconds in (*_LATEST_WITHIN, asked.end):
                start = max(asked.start, asked.end - seconds)
                rows, sql = await ask(start, asked.end)
                if len(rows) >= panel.latest or start == asked.start:
                    break
        else:
            rows, sql = await ask(asked.start, asked.end)
        return {
            "rows": rows,
            "before": before,
            "sql": sql,
            "start": asked.start,
            "end": asked.end,
            "step": asked.step,
            "live": asked.live,
        }

    async def _rows(self, sql: str, values: Mapping[str, object], columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows of a query. Who asks the same within the same second gets the same."""
        now = int(time.monotonic())
        key = (literal(sql, values), now)
        if key not in self._answers:
            self._answers = {each: task for each, task in self._answers.items() if each[1] == now}
            self._answers[key] = asyncio.ensure_future(self._ask(sql, values, columns))
        return await asyncio.shield(self._answers[key])

    async def _ask(self, sql: str, values: Mapping[str, object], columns: Sequence[str]) -> list[tuple[Any, ...]]:
        async with self._turn:
            result = await self._clickhouse.query(sql, values)
        if not result.result_rows:  # then the driver knows no columns either
            return []
        places = [result.column_names.index(name) for name in columns]
        return [tuple(row[place] for place in places) for row in result.result_rows]

    async def _changes(self, request: web.Request) -> web.Response:
        """Answer when there is something newer than the revision `since`."""
        try:
            counting = self._counting[self._source(request.query)]
            since = int(request.query.get("since", "-1"))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        await counting.wait(since, _WAIT_SECONDS)
        trouble = self._not_yet or counting.trouble
        return _json({"revision": counting.revision, "trouble": trouble, "counted": round(counting.progress, 3)})

    async def _pipeline(self, request: web.Request) -> web.Response:
        try:
            source = self._source(request.query)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json({**self._health.of(source), "now": time.time()})

    def _source(self, query: Mapping[str, str]) -> str:
        name = query.get("source") or self._settings.sources[0].name
        if name not in self._counting:
            raise ValueError(f"source: found {name!r}, expected one of {', '.join(self._counting)}")
        return name


def _text(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if not 0 < len(value) <= _LONGEST_TEXT:
        raise ValueError(f"{name}: expected a text of at most {_LONGEST_TEXT} characters")
    return value


def _json(content: object, status: int = 200) -> web.Response:
    body = orjson.dumps(content, option=orjson.OPT_NAIVE_UTC, default=str)
    response = web.Response(body=body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.enable_compression()
    return response
