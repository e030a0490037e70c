"""One engine for each module of tests, and its clients."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import aiohttp
import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from multidict import CIMultiDictProxy

from tests.engine.process import Engine, running


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: CIMultiDictProxy[str]


Ask = Callable[..., Awaitable[Reply]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("engine") / "data") as engine:
        yield engine


@pytest.fixture(scope="module")
def reader(engine: Engine) -> Iterator[Client]:
    with clickhouse_connect.get_client(host="127.0.0.1", port=engine.port) as client:
        yield client


@pytest.fixture(scope="module")
def writer(engine: Engine) -> Iterator[Client]:
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=engine.port, username="gridstream", password=engine.password
    ) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def ask(engine: Engine, http: aiohttp.ClientSession) -> Ask:
    """Sends a statement as the reader; `ask(sql, x=1)` has x in the URL."""

    async def post(
        statement: str | bytes,
        *,
        method: str = "POST",
        path: str = "",
        headers: dict[str, str] | None = None,
        **params: object,
    ) -> Reply:
        url = engine.url + path
        data = statement if isinstance(statement, bytes) else statement.encode()
        texts = {name: str(value) for name, value in params.items()}
        async with http.request(method, url, data=io.BytesIO(data), params=texts, headers=headers) as response:
            return Reply(response.status, await response.read(), response.headers)

    return post


@pytest.fixture
def tell(engine: Engine, ask: Ask) -> Ask:
    """The same as the user who may write."""

    async def post(statement: str | bytes, *, headers: dict[str, str] | None = None, **params: object) -> Reply:
        return await ask(statement, headers={**engine.writer, **(headers or {})}, **params)

    return post
