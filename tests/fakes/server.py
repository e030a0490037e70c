"""A fake service on a free loopback port: it logs each call, fails as scripted, and lets a subclass answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Self

import orjson
from aiohttp import web

from tests.fakes.clock import Clock
from tests.fakes.faults import Cut, Delay, Drop, Failure, Fault, Hang, Respond

_LARGEST_BODY = 128 * 1024 * 1024
_LONGEST_LINE = 128 * 1024
"""A service's own limit on URLs is checked by its fake, so aiohttp's has to be higher."""


@dataclass(slots=True)
class Call:
    """One request that came in.

    Attributes:
        method: GET, PUT, …
        path: decoded, without the query.
        query: decoded.
        target: path and query as they were on the wire.
        headers: by lower-case name.
        content: the body, decompressed.
        origin: scheme, host and port that it was sent to.
        at: when, by the fake's clock.
        status: of the answer; None where there was none.
    """

    method: str
    path: str
    query: Mapping[str, str]
    target: str
    headers: Mapping[str, str]
    content: bytes
    origin: str
    at: float
    status: int | None = None

    @property
    def body(self) -> Any:
        """The JSON of the body; None for an empty one."""
        return orjson.loads(self.content) if self.content else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered with.

    Attributes:
        status: HTTP's.
        body: bytes as they are, an iterable of bytes as a stream, None as an empty body, anything else as JSON.
        headers: beside the content type.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Hook = Callable[[Call], Awaitable[None] | None]


class FakeServer:
    """Serves while its context lasts.

    Attributes:
        port: where to serve; 0 is any free port.
        url: where it does, without a slash at the end.
        clock: its time.
        calls: all that came in so far.
        keep_bodies: whether `calls` keep their bodies; a test of a million rows may not want that.
        on_call: called (and awaited) before a call has its effect.
        on_answer: called (and awaited) after that, before the answer is sent.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.port = 0
        self.url = ""
        self.clock = clock or Clock()
        self.calls: list[Call] = []
        self.keep_bodies = True
        self.on_call: Hook | None = None
        self.on_answer: Hook | None = None
        self._failures: list[Failure] = []
        self._defects: list[Exception] = []
        self._closing = asyncio.Event()

    def fail(self, method: str, path: str, with_: Fault | int, *, times: int | None = 1, skip: int = 0) -> Failure:
        """Have calls fail; of several such lines that fit a call, the first counts.

        Args:
            method: of the calls; `*` is any.
            path: of the calls, without the query; `*` stands for any text, slashes included.
            with_: how; a number is that status with an empty body.
            times: how many of them; None is all.
            skip: so many go well before.
        """
        fault = Respond(with_) if isinstance(with_, int) else with_
        failure = Failure(method, path, fault, times, skip)
        self._failures.append(failure)
        return failure

    def called(self, method: str, path: str) -> list[Call]:
        """The calls so far of this method (`*`: any) on this path (with `*` for any text)."""
        pattern = Failure(method, path, Drop(), None, 0)
        return [call for call in self.calls if pattern.takes(call.method, call.path)]

    async def answer(self, call: Call) -> Answer:
        """What a call is answered with, after it has had its effect. For subclasses."""
        raise NotImplementedError

    async def close(self) -> None:
        """End what is under way. For subclasses."""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1, max_line_size=_LONGEST_LINE, max_field_size=_LONGEST_LINE
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closing.set()
        await self.close()
        await self._runner.cleanup()
        if self._defects and kind is None:
            raise ExceptionGroup("the fake could not answer; its callers got a 500", self._defects)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        call = Call(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            target=request.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            content=content,
            origin=f"{request.scheme}://{request.host}",
            at=self.clock.now(),
        )
        self.calls.append(call)
        await _run(self.on_call, call)
        fault = next((each.fault for each in self._failures if each.takes(call.method, call.path)), None)
        answer = await self._with(fault, call)
        if not self.keep_bodies:
            call.content = b""
        if answer is None:
            return _dropped(request)
        await _run(self.on_answer, call)
        call.status = answer.status
        return await _send(request, answer, fault.after if isinstance(fault, Cut) else None)

    async def _answered(self, call: Call) -> Answer:
        try:
            return await self.answer(call)
        except Exception as error:
            self._defects.append(error)
            raise

    async def _with(self, fault: Fault | None, call: Call) -> Answer | None:
        """The answer to a call that goes wrong like this; None where there is none."""
        match fault:
            case None | Cut():
                return await self._answered(call)
            case Delay(seconds, applied=True):
                answer = await self._answered(call)
                await self.clock.sleep(seconds)
                return answer
            case Delay(seconds):
                await self.clock.sleep(seconds)
                return await self._answered(call)
        if fault.applied:
            await self._answered(call)
        if isinstance(fault, Respond):
            return Answer(fault.status, fault.body, fault.headers)
        if isinstance(fault, Hang):
            await self._closing.wait()
        return None


async def _run(hook: Hook | None, call: Call) -> None:
    if hook and isawaitable(result := hook(call)):
        await result


def _dropped(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.abort()
    return web.Response()


async def _send(request: web.Request, answer: Answer, cut: int | None) -> web.StreamResponse:
    headers = dict(answer.headers)
    body = answer.body
    if isinstance(body, Iterable) and not isinstance(body, bytes | str | dict | list):
        chunks: Iterable[bytes] = body
    else:
        if body is not None and not isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
            body = orjson.dumps(body)
        chunks = (body,) if body else ()
        headers["Content-Length"] = str(len(body or b""))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        for chunk in chunks:
            await response.write(chunk if cut is None else chunk[:cut])
            if cut is not None:
                cut -= min(cut, len(chunk))
                if not cut:
                    return _dropped(request)
        await response.write_eof()
    except ConnectionError:
        pass  # the caller has gone
    return response
