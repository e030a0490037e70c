"""What stands between the store and ClickHouse's HTTP interface, and does what a test wants."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

Forward = Callable[[], Awaitable[web.Response]]
"""Passes the request on and returns ClickHouse's answer."""
Behaviour = Callable[[web.Request, Forward], Awaitable[web.Response]]

_STEP_SECONDS = 0.02
_NOT_PASSED_ON = {"host", "content-length", "transfer-encoding", "connection"}


async def passing(_: web.Request, forward: Forward) -> web.Response:
    """As if the proxy were not there."""
    return await forward()


def refusing(status: int, text: str = "upstream is not available", code: int = 0) -> Behaviour:
    """Refuse everything: with ClickHouse's own error where there is a code, else as a load balancer does."""
    headers = {"X-ClickHouse-Exception-Code": str(code)} if code else {}
    body = f"Code: {code}. DB::Exception: {text} (version 26.9.2.1)" if code else text

    async def refuse(_: web.Request, __: Forward) -> web.Response:
        return web.Response(status=status, text=body, headers=headers)

    return refuse


def refusing_large(limit: int) -> Behaviour:
    """Refuse bodies of more than so many bytes, as a load balancer does."""

    async def refuse(request: web.Request, forward: Forward) -> web.Response:
        if len(await request.read()) > limit:
            return web.Response(status=413, text="Request Entity Too Large")
        return await forward()

    return refuse


async def cutting(request: web.Request, forward: Forward) -> web.Response:
    """Have ClickHouse do it, and cut the connection instead of saying so."""
    answer = await forward()
    assert request.transport
    request.transport.abort()
    return answer


async def silent(request: web.Request, forward: Forward) -> web.Response:
    """Have ClickHouse do it, and never say so."""
    answer = await forward()
    while request.transport:  # until whoever asks gives up
        await asyncio.sleep(_STEP_SECONDS)
    return answer


def slow(seconds: float) -> Behaviour:
    """Answer late."""

    async def late(_: web.Request, forward: Forward) -> web.Response:
        await asyncio.sleep(seconds)
        return await forward()

    return late


class FaultProxy:
    """A reverse proxy. An async context manager.

    Args:
        target: ClickHouse's URL, user and password included.

    Attributes:
        behaviour: what it does with each request.
        met: requests that have met a behaviour other than passing.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = f"http://{parts.hostname}:{parts.port}"
        self._credentials = f"{parts.username}:{parts.password}"
        app = web.Application(client_max_size=0)  # any
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        self._session: aiohttp.ClientSession
        self._site: web.TCPSite
        self._port = 0
        self.behaviour: Behaviour = passing
        self.met = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
        )
        await self._runner.setup()
        await self._listen()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    @property
    def url(self) -> str:
        """Of ClickHouse, by way of the proxy."""
        return f"http://{self._credentials}@127.0.0.1:{self._port}"

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Refuse connections meanwhile, and end those there are."""
        await self._site.stop()
        server = self._runner.server
        assert server
        for connection in list(server.connections):
            connection.force_close()
        yield
        await self._listen()

    @asynccontextmanager
    async def doing(self, behaviour: Behaviour) -> AsyncIterator[None]:
        """Behave so meanwhile."""
        self.met = 0
        self.behaviour = behaviour
        try:
            yield
        finally:
            self.behaviour = passing

    async def has_met(self, requests: int) -> None:
        """Wait until so many requests have met the behaviour."""
        while self.met < requests:
            await asyncio.sleep(_STEP_SECONDS)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        behaviour = self.behaviour
        if behaviour is not passing:
            self.met += 1
        return await behaviour(request, partial(self._forward, request, body))

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        url = f"{self._target}{request.path_qs}"
        try:
            async with self._session.request(request.method, url, headers=headers, data=io.BytesIO(body)) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502, text="ClickHouse is away")
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
        return web.Response(status=answer.status, headers=passed, body=content)
