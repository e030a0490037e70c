"""ClickHouse's HTTP interface: routes, and the way of a request through this package."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from connectors.embedded.engine import hello
from connectors.embedded.engine.cancelling import Queries, asked_for
from connectors.embedded.engine.connection import Outcome
from connectors.embedded.engine.database import Database
from connectors.embedded.engine.errand import Errand
from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.inserts import insert
from connectors.embedded.engine.lanes import Lane
from connectors.embedded.engine.receiving import LONGEST, Sent, received
from connectors.embedded.engine.request import Request
from connectors.embedded.engine.responses import Answer, refusal
from connectors.embedded.engine.results import running
from connectors.embedded.engine.sessions import Sessions
from connectors.embedded.engine.users import User, authenticate

_UNKNOWN_PATH = """\
There is no handle {path}

Use / or /ping for health checks.
Or /replicas_status for more sophisticated health checks.

Send queries from your program with POST method or GET /?query=...
"""
_BY_GET = "For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
_BY_SETTING = "The request itself asks for readonly."
_FINISH_WITHIN = 5.0  # seconds, from being told to stop


class Server:
    """The HTTP interface of one database.

    Args:
        database: What it serves; still to be closed when the application has ended.
        password: The owner's.
        hint: What a reader who tries to write is told to do.
    """

    def __init__(self, database: Database, password: str, hint: str) -> None:
        self._database = database
        self._password = password
        self._hint = hint
        self._sessions = Sessions()
        self._queries = Queries()
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # Apart, so that no number of slow queries holds up an insert, and no reader the owner. Few threads: a query of
        # the engine is itself parallel. Inserts in hand are more than threads: they also wait for their client.
        self._lanes = {User.READER: Lane("reader", 8, 128), User.OWNER: Lane("owner", 8, 128)}
        self._inserts = Lane("insert", 8, 64)
        self._control = Lane("control", 1, 1)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=LONGEST)
        app.router.add_route("*", "/", self._query)
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _ok)
        app.router.add_route("*", "/{path:.*}", _unknown)
        app.cleanup_ctx.append(self._working)
        app.on_shutdown.append(self._finish)
        return app

    async def _finish(self, _: web.Application) -> None:
        try:
            await asyncio.wait_for(self._idle.wait(), _FINISH_WITHIN)
        except TimeoutError:
            await self._control.run(self._database.kill_all)

    async def _working(self, _: web.Application) -> AsyncIterator[None]:
        closing = asyncio.create_task(self._close_expired())
        yield
        closing.cancel()
        for lane in (*self._lanes.values(), self._inserts, self._control):
            lane.close()
        for connection in self._sessions.all():
            connection.close()

    async def _close_expired(self) -> None:
        while True:
            await asyncio.sleep(1)
            for connection in self._sessions.expired():
                await self._control.run(connection.close)

    async def _query(self, http: web.Request) -> web.StreamResponse:
        answer = None
        self._in_hand += 1
        self._idle.clear()
        try:
            user = authenticate(http.headers, http.query, self._password)
            request = Request.parse(await _params(http), http.headers)
            answer = Answer(http, request, self._database)
            sent = await received(http, request)
            if not sent.text.strip() and http.method in {"GET", "HEAD"}:
                return await _ok(http)
            with self._sessions.joined(user, request.session) as session:
                errand = Errand(self._database, user, session, request, self._reason_to_read(http, user, request))
                return await (self._insert if sent.rows else self._run)(errand, sent, answer)
        except QueryError as error:
            return answer.refuse(error) if answer else refusal(error, self._database)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _insert(self, errand: Errand, sent: Sent, answer: Answer) -> web.StreamResponse:
        if errand.reads:
            raise errand.readonly()
        return answer.complete(await insert(errand, self._inserts, sent))

    async def _run(self, errand: Errand, sent: Sent, answer: Answer) -> web.StreamResponse:
        request = errand.request
        if hello.asks(sent.text, request.default_format):
            ours = self._database
            greeting = hello.answer(ours.name, ours.version, ours.timezone, request.protocol_version)
            return answer.complete(Outcome(body=greeting))
        if query_id := asked_for(sent.text):
            if mark := self._queries.mark(errand.user, query_id):
                await self._control.run(self._database.kill, mark)
            return answer.complete(Outcome())
        with self._queries.listed(errand.user, request):
            async with running(errand, self._lanes[errand.user], self._control, sent.text) as result:
                return await answer.send(result)

    def _reason_to_read(self, http: web.Request, user: User, request: Request) -> str:
        if user is User.READER:
            return self._hint
        if http.method in {"GET", "HEAD"}:
            return _BY_GET
        return _BY_SETTING if request.reads else ""


async def _params(http: web.Request) -> dict[str, str]:
    """The URL's parameters, of a repeated one the first, and a form's, which may be sent instead of a long URL.

    Raises:
        QueryError: 48, a file in the form: that would be an external table.
    """
    params = {name: http.query[name] for name in http.query}
    if http.content_type == "multipart/form-data":
        for name, value in (await http.post()).items():
            if not isinstance(value, str):
                raise QueryError(48, "NOT_IMPLEMENTED", "External tables are not supported by the embedded engine")
            params[name] = value
    return params


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")


async def _unknown(http: web.Request) -> web.Response:
    return web.Response(status=404, text=_UNKNOWN_PATH.format(path=http.path))
