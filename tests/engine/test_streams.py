"""Statements that take long, break off or are too many; what must not depend on them goes on.

Nothing here waits for a time to pass: a statement that takes long would take minutes, and is ended by the test.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.engine.conftest import Ask, Reply
from tests.engine.process import PATIENCE, Engine, running

LONG = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1"
LARGE = "SELECT number, randomPrintableASCII(100) FROM numbers(10000000000)"
INSERT = "INSERT INTO t FORMAT JSONEachRow"
Tasks = list[asyncio.Task[Reply]]
ROW = b'{"a":1}\n'
READERS_AT_A_TIME, READERS_AT_ALL = 8, 128


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("engine") / "data", "--memory-limit", str(1 << 30)) as engine:
        yield engine


@pytest.fixture(autouse=True)
async def _table(tell: Ask) -> None:
    await tell("CREATE OR REPLACE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")


async def until_running(tell: Ask, count: int, kind: str = "Select") -> None:
    """Wait until so many statements of a kind run, besides the one that asks."""
    asking = f"SELECT countIf(query_kind = '{kind}' AND query NOT LIKE '%processes%') FROM system.processes"
    async with asyncio.timeout(PATIENCE):
        while int((await tell(asking)).body) != count:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def under_way(
    ask: Ask, statement: str, count: int = 1, **params: object
) -> AsyncIterator[list[asyncio.Task[Reply]]]:
    """Have so many of a statement under way; their client leaves at the end."""
    tasks = [asyncio.ensure_future(ask(statement, **params)) for _ in range(count)]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_slow_queries_hold_up_no_insert(ask: Ask, tell: Ask) -> None:
    async with under_way(ask, LONG, 2 * READERS_AT_A_TIME) as slow:
        await until_running(tell, READERS_AT_A_TIME)

        replies = [await tell(ROW * 1000, query=INSERT) for _ in range(10)]

        assert [reply.status for reply in replies] == [200] * 10
        assert (await tell("SELECT count() FROM t")).body == b"10000\n"
        assert not any(task.done() for task in slow)


async def test_too_many_queries(ask: Ask, tell: Ask) -> None:
    async with under_way(ask, LONG, READERS_AT_ALL + 3) as tasks:
        async with asyncio.timeout(PATIENCE):
            while sum(task.done() for task in tasks) < 3:
                await asyncio.sleep(0.01)

        refused = [task.result() for task in tasks if task.done()]

        assert {reply.headers["X-ClickHouse-Exception-Code"] for reply in refused} == {"202"}
    await until_running(tell, 0)


@pytest.mark.parametrize("statement", [LONG, "SELECT uniqExact(number) FROM numbers(100000000000)", LARGE])
async def test_who_leaves_frees_his_thread(ask: Ask, tell: Ask, statement: str) -> None:
    async with under_way(ask, statement):
        await until_running(tell, 1)
    await until_running(tell, 0)


async def test_who_leaves_a_result_half_read_frees_his_thread(engine: Engine, tell: Ask) -> None:
    async with aiohttp.ClientSession() as session, session.post(engine.url, data=LARGE) as response:
        await response.content.readexactly(10_000_000)
        await until_running(tell, 1)
        response.close()
    await until_running(tell, 0)


async def test_an_error_in_the_middle_breaks_the_response_off(engine: Engine, http: aiohttp.ClientSession) -> None:
    query = "SELECT throwIf(number = 3000000) FROM numbers(5000000)"
    body = bytearray()

    async def read(response: aiohttp.ClientResponse) -> None:
        async for piece in response.content.iter_any():
            body.extend(piece)

    async with http.post(engine.url, data=query) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response)

    tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
    _, text, end = bytes(body).partition(b"\r\n__exception__\r\n" + tag + b"\r\n")
    assert text.startswith(b"\r\n__exception__\r\n")
    assert end.startswith(b"Code: 395. DB::Exception: ")
    assert end.endswith(b" " + tag + b"\r\n__exception__\r\n")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
async def test_a_body_that_breaks_off_stores_nothing(engine: Engine, tell: Ask, chunked: bool) -> None:  # noqa: FBT001
    rows = ROW * 200_000
    headers = {
        **engine.writer,
        "Host": "x",
        **({"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "9999999"}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    _, stream = await asyncio.open_connection("127.0.0.1", engine.port)
    stream.write(f"POST /?query={INSERT.replace(' ', '+')} HTTP/1.1\r\n{lines}\r\n".encode())
    stream.write(b"%x\r\n%b\r\n" % (len(rows), rows) if chunked else rows)
    await stream.drain()
    await until_running(tell, 1, "Insert")

    stream.close()
    await stream.wait_closed()

    await until_running(tell, 0, "Insert")
    assert (await tell("SELECT count() FROM t")).body == b"0\n"


async def test_a_session_is_for_one_request_at_a_time(ask: Ask, tell: Ask) -> None:
    async with under_way(ask, LONG, session_id="s"):
        await until_running(tell, 1)

        reply = await ask("SELECT 1", session_id="s")

        assert reply.headers["X-ClickHouse-Exception-Code"] == "373"
    await until_running(tell, 0)


async def test_a_query_is_cancelled_by_its_id(ask: Ask, tell: Ask) -> None:
    async with under_way(ask, LONG, query_id="mine") as (mine,), under_way(tell, LONG, query_id="other") as (other,):
        await until_running(tell, 2)

        await ask("KILL QUERY WHERE query_id = 'other'")
        await ask("KILL QUERY WHERE query_id = 'mine'")

        assert (await mine).headers["X-ClickHouse-Exception-Code"] == "394"
        assert not other.done()
        await tell("KILL QUERY WHERE query_id = 'other' ASYNC")
        assert (await other).headers["X-ClickHouse-Exception-Code"] == "394"


async def test_a_query_that_needs_too_much_memory(ask: Ask, tell: Ask) -> None:
    reply = await ask("SELECT uniqExact(number, toString(number)) FROM numbers(1000000000)", max_threads=2)

    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (500, "241")
    assert (await tell(ROW, query=INSERT)).status == 200
