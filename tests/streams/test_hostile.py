"""What an ingress that is open to the internet does with whoever means it ill: every limit has a clear answer."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from connectors.event_webhook import Signer
from streams.ingress import bodies
from tests.streams.serving import Server, serving

SIGNER = Signer.generate()
SIGNED = {"sources": [{"public_keys": [SIGNER.public_key]}]}
CONTACTS = {"contacts": [{"name": "default"}]}
_PATIENCE_SECONDS = 30


class Connection:
    """A connection on which any bytes can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def status(self) -> int:
        """Of the next answer; 0: there is none, the connection has been closed."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                line = await self._reader.readline()
                while line.strip() and await self._reader.readline() not in (b"\r\n", b""):
                    pass
        except ConnectionError:
            return 0
        return int(line.split()[1]) if line else 0

    async def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Connection]:
    host, port = server.url.removeprefix("http://").split(":")
    connection = Connection(*await asyncio.open_connection(host, int(port)))
    try:
        yield connection
    finally:
        await connection.close()


def posted(body: bytes = b"[]", path: str = "/sendgrid", length: int | None = None) -> bytes:
    """A request as it is on the wire, of whose body more may be announced than comes."""
    announced = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {announced}\r\n\r\n".encode() + body


class TestBodies:
    async def test_of_too_many_at_once_the_one_that_takes_longest_gives_way(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "_MOST_BYTES", 1000)
        async with serving() as server, connected(server) as slow, connected(server) as quick:
            await slow.send(posted(b"x" * 800, length=900))
            await until(lambda: server.bodies._bytes == 800)
            await quick.send(posted(b"x" * 500, length=600))
            assert await slow.status() == 503
            assert server.bodies._bytes == 500
            await quick.send(b"x" * 100)
            assert await quick.status() == 200
            assert server.bodies._bytes == 0

        assert len(server.producer.records) == 1

    async def test_what_could_never_be_taken_is_refused_before_it_comes(self) -> None:
        async with serving(ingress={"max_body_bytes": 1000}) as server, connected(server) as large:
            await large.send(posted(b"", length=1001))
            assert await large.status() == 413

    async def test_of_an_unsigned_one_nothing_is_kept(self) -> None:
        async with serving(**SIGNED) as server, connected(server) as unsigned:
            await unsigned.send(posted(b"x" * 100, length=5_000_000))
            assert await unsigned.status() == 401
            assert server.bodies._bytes == 0

    @pytest.mark.parametrize("framing", [b"5\r\nab", b"zz\r\nab\r\n"], ids=["cut off", "no length"])
    async def test_one_whose_framing_is_wrong_is_refused(self, framing: bytes) -> None:
        async with serving() as server, connected(server) as broken:
            await broken.send(b"POST /sendgrid HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + framing)
            if framing.startswith(b"5"):
                await until(lambda: server.bodies._bytes == 2)
            else:
                assert await broken.status() == 400
            await broken.close()
            await until(lambda: not server.bodies._under_way)

        assert server.producer.records == []


class TestConnections:
    async def test_a_flood_of_idle_ones_pushes_out_its_own(self) -> None:
        async with serving(ingress={"max_connections": 5}) as server, AsyncExitStack() as stack:
            async with connected(server) as sender:
                await sender.send(posted())
                assert await sender.status() == 200
                flood = [await stack.enter_async_context(connected(server)) for _ in range(20)]
                assert [await each.status() for each in flood[:15]] == [0] * 15
                await sender.send(posted())
                assert await sender.status() == 200

            assert (await server.post())[0] == 200

        assert len(server.producer.records) == 3

    async def test_where_all_are_busy_the_body_that_takes_longest_goes(self) -> None:
        async with serving(ingress={"max_connections": 3}) as server, AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(connected(server)) for _ in range(3)]
            for number, each in enumerate(slow, 1):
                await each.send(posted(b"[", length=100))
                await until(lambda number=number: len(server.bodies._under_way) == number)
            async with connected(server) as sender:
                assert await slow[0].status() == 0
                await sender.send(posted())
                assert await sender.status() == 200

    async def test_where_nothing_can_go_the_new_one_does(self) -> None:
        async with serving(ingress={"max_connections": 1}) as server, connected(server) as first:
            server.producer.hanging = asyncio.Event()
            await first.send(posted())
            await server.producer.asked.wait()
            async with connected(server) as second:
                assert await second.status() == 0
            server.producer.hanging.set()
            assert await first.status() == 200


class TestHeaders:
    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 2\r\nTransfer-Encoding: chunked",
            b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: -2",
            b"Content-Length: 2, 2",
            b"Content-Length: 0x2",
            b"Content-Length : 2",
            b"Transfer-Encoding: chunked, identity",
            b"X-Nul: a\x00b\r\nContent-Length: 2",
            b" X-Folded: a\r\nContent-Length: 2",
            b"X-Long: " + b"x" * 5000 + b"\r\nContent-Length: 2",
            b"\r\n".join(b"X-%d: x" % number for number in range(100)) + b"\r\nContent-Length: 2",
        ],
        ids=lambda head: head[:30].decode("latin-1"),
    )
    async def test_what_two_servers_might_read_differently_is_refused(self, head: bytes) -> None:
        async with serving() as server:
            async with connected(server) as tricky:
                await tricky.send(b"POST /sendgrid HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n\r\n[]")
                assert await tricky.status() == 400
            assert (await server.post())[0] == 200

        assert len(server.producer.records) == 1

    async def test_of_several_credentials_none_is_taken_from_a_second_header(self) -> None:
        both = "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\nAuthorization: Basic dTpw"  # u:p comes second
        async with serving(sources=[{"username": "u", "password": "p"}]) as server, connected(server) as tricky:
            await tricky.send(f"POST /sendgrid HTTP/1.1\r\nHost: h\r\n{both}\r\nContent-Length: 2\r\n\r\n[]".encode())
            assert await tricky.status() in (400, 401)

        assert server.producer.records == []

    async def test_what_claims_to_come_from_this_machine_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aiohttp.web.BaseRequest.remote", "203.0.113.5")
        claims = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
        async with serving(**CONTACTS) as server:
            assert (await server.post("/v1/track", b"{}", **claims))[0] == 401
            assert (await server.post("/amplitude/cohorts", b"{}", **claims))[0] == 401

    @pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x1b]0;t\x07", b"GET / HTTP/1.1\r\n\x1b]0;t\x07: x"])
    async def test_what_is_no_http_is_refused_without_a_word_in_the_log(
        self, noise: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving() as server, connected(server) as tricky:
            await tricky.send(noise + b"\r\n\r\n")
            assert await tricky.status() == 400

        assert not caplog.records


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
async def test_a_source_that_waits_for_its_key_takes_nothing_beyond_this_machine(host: str) -> None:
    async with serving(ingress={"host": host}, sources=[{"api_key": "SG.x"}]) as server:
        status, text = await server.post()

    assert status == (200 if host == "127.0.0.1" else 401)
    assert host == "127.0.0.1" or "gridstream webhook register" in text


@pytest.mark.parametrize(
    "path",
    [
        "/sendgrid/../sendgrid/one",
        "/sendgrid/%2e%2e/one",
        "/sendgrid/one%00",
        "/sendgrid/one%0d%0aX:y",
        "/sendgrid/ONE",
        "/sendgrid/one;two",
        "/sendgrid/%6fne/",
        "//sendgrid/one",
        "/sendgrid//one",
        "/amplitude/cohorts/..%2fone",
        "/v1/../sendgrid/one",
    ],
)
async def test_no_path_leads_to_a_source_but_its_own(path: str) -> None:
    async with serving(sources=[{"name": "first"}, {"name": "one"}]) as server, connected(server) as tricky:
        await tricky.send(posted(path=path))
        assert await tricky.status() == 404

    assert server.producer.records == []


class TestJson:
    DEPTH = 30_000

    @pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/v1/identify", "/amplitude/cohorts"])
    @pytest.mark.parametrize("opening", ["[", '{"a":', '{"traits":{"a":'])
    async def test_nesting_beyond_any_sense_is_refused(self, path: str, opening: str) -> None:
        body = (opening * self.DEPTH).encode()
        async with serving(**CONTACTS) as server:
            status, text = await server.post(path, body)

        assert status == 400
        assert json.loads(text)
        assert server.producer.records == []

    async def test_sendgrids_are_kept_whatever_they_are(self) -> None:
        async with serving() as server:
            assert (await server.post(body=b"[" * self.DEPTH))[0] == 200


class TestCompression:
    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (gzip.compress(b" " * 50_000_000), "gzip"),
            (zlib.compress(b" " * 50_000_000), "deflate"),
            (gzip.compress(gzip.compress(b" " * 50_000_000)), "gzip"),
            (gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
            (b"{}", "br"),
            (gzip.compress(b"{}")[:-9], "gzip"),
        ],
        ids=["gzip", "deflate", "gzip in gzip", "gzip twice", "unknown", "cut off"],
    )
    async def test_bombs_and_what_cannot_be_unpacked_are_refused(self, body: bytes, encoding: str) -> None:
        async with serving() as server:
            status, text = await server.post("/v1/track", body, **{"Content-Encoding": encoding})

        assert (status, json.loads(text)["success"]) == (400, False)
        assert server.producer.records == []


async def until(is_so: object) -> None:
    assert callable(is_so)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.005)
