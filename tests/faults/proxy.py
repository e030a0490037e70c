"""What stands between the store and ClickHouse's HTTP interface, and does what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

Forward = Callable[[], Awaitable[web.Response]]
"""Passes the request on and returns ClickHouse's answer."""
Behaviour = Callable[[web.BaseRequest, Forward], Awaitable[web.Response]]

_STEP_SECONDS = 0.02
_NOT_PASSED_ON = {"host", "content-length", "transfer-encoding", "connection"}


async def passing(_: web.BaseRequest, forward: Forward) -> web.Response:
    """As if the proxy were not there."""
    return await forward()


def refusing(status: int, text: str = "upstream is not available", code: int = 0) -> Behaviour:
    """Refuse everything: with ClickHouse's own error where there is a code, else as a load balancer does."""
    headers = {"X-ClickHouse-Exception-Code": str(code)} if code else {}
    body = f"Code: {code}. DB::Exception: {text} (version 26.9.2.1)" if code else text

    async def refuse(_: web.BaseRequest, __: Forward) -> web.Response:
        return web.Response(status=status, text=body, headers=headers)

    return refuse


async def cutting(request: web.BaseRequest, forward: Forward) -> web.Response:
    """Have ClickHouse do it, and cut the connection instead of saying so."""
    answer = await forward()
    assert request.transport
    request.transport.abort()
    return answer


async def silent(request: web.BaseRequest, forward: Forward) -> web.Response:
    """Have ClickHouse do it, and never say so."""
    answer = await forward()
    while request.transport:  # until whoever asks gives up
        await asyncio.sleep(_STEP_SECONDS)
    return answer


def slow(seconds: float) -> Behaviour:
    """Answer late."""

    async def late(_: web.BaseRequest, forward: Forward) -> web.Response:
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
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0)
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
        yield
        self.behaviour = passing

    async def has_met(self, requests: int) -> None:
        """Wait until so many requests have met the behaviour."""
        while self.met < requests:
            await asyncio.sleep(_STEP_SECONDS)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        behaviour = self.behaviour
        if behaviour is not passing:
            self.met += 1
        return await behaviour(request, partial(self._forward, request, body))

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        url = f"{self._target}{request.path_qs}"
        try:
            async with self._session.request(request.method, url, headers=headers, data=body) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502, text="ClickHouse is away")
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
        return web.Response(status=answer.status, headers=passed, body=content)
