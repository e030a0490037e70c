"""An ingress for a test, with a producer that does what the test wants."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from connectors.kafka import Record
from streams.ingress import server as http_server
from streams.ingress.bodies import Bodies
from streams.settings import Settings
from streams.verification_keys import VerificationKeys


class FakeProducer:
    """Takes what is published, unless it was told to fail or to hang."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Record]] = []
        self.failure: Exception | None = None
        self.hanging: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def publish(self, topic: str, record: Record) -> None:
        self.asked.set()
        if self.hanging:
            await self.hanging.wait()
        if self.failure:
            raise self.failure
        self.records.append((topic, record))

    async def ping(self) -> None:
        if self.failure:
            raise self.failure


class Server:
    """An ingress under test."""

    def __init__(self, url: str, producer: FakeProducer, bodies: Bodies, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.producer = producer
        self.bodies = bodies
        self._session = session

    async def post(self, path: str = "/sendgrid", body: Any = b"[]", **headers: str) -> tuple[int, str]:
        async with self._session.post(self.url + path, data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Server]:
    producer = FakeProducer()
    used = Settings(**settings)
    app = http_server.application(used, producer, VerificationKeys(used))  # type: ignore[arg-type]
    runner = http_server._Runner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        yield Server(f"http://{host}:{port}", producer, app[http_server._CONNECTIONS]._bodies, session)
    await runner.cleanup()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
