"""Tests for what a server holds for applications of each interface: it is given back, always."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
import tornado.routing
import tornado.web

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.adapters.wsgi.input import BodyStream
from edgeserver.adapters.wsgi.pool import Mailbox
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPServerRequest
from tests.adapters.serving import STEP_S, hang_up, listening, reset, until
from tests.http1.conversation import Talk, fields

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"c350\r\n" + b"x" * 50_000 + b"\r\n"
END = b"0\r\n\r\n"


class Gate:
    """What applications wait at before they do anything, and what they do then."""

    def __init__(self, then: str) -> None:
        self.then = then
        self.called = False
        self._opened = threading.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let them go on."""
        self._opened.set()
        self._open.set()

    async def passed(self) -> None:
        """Wait in the event loop."""
        self.called = True
        await self._open.wait()
        self.act()

    def passed_in_thread(self) -> None:
        """Wait in a thread."""
        self.called = True
        self._opened.wait(STEP_S)
        self.act()

    def act(self) -> None:
        """Raise, if that is what is to be done."""
        if self.then == "raise":
            raise ValueError("the application fails")
        if self.then == "cancel":
            raise asyncio.CancelledError


def of_callback(gate: Gate) -> Any:
    """Return a callback."""

    async def callback(request: HTTPServerRequest) -> None:
        connection = request.connection
        await gate.passed()
        if gate.then == "abort":
            connection.abort()
        elif gate.then == "detach":
            connection.detach().close()
        else:
            connection.write_headers(("HTTP/1.1", 200, "OK"), fields(Content_Length="0"))
            connection.finish()

    return callback


def of_asgi(gate: Gate) -> Any:
    """Return an ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.passed()
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return ASGIAdapter(app, lifespan="off")


def of_wsgi(gate: Gate, *, buffering: bool = True) -> Any:
    """Return a WSGI application; its body is collected."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        gate.passed_in_thread()
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"ok"]

    return WSGIAdapter(app, wsgi_buffering=buffering)


def of_streaming_wsgi(gate: Gate) -> Any:
    """Return a WSGI application that reads its body as it comes."""
    return of_wsgi(gate, buffering=False)


def of_tornado(gate: Gate) -> Any:
    """Return a Tornado application."""

    class Handler(tornado.web.RequestHandler):
        async def post(self) -> None:
            await gate.passed()
            self.write("ok")

    return tornado.web.Application([("/.*", Handler)], log_function=lambda handler: None)


MAKERS = {
    "callback": of_callback,
    "asgi": of_asgi,
    "wsgi": of_wsgi,
    "wsgi-streamed": of_streaming_wsgi,
    "tornado": of_tornado,
}
COLLECTING = (of_callback, of_wsgi, of_tornado)
"""Who is called once the whole body is there."""

interfaces = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Visit:
    """A client in the middle of a body that the server holds."""

    def __init__(
        self,
        server: HTTPServer,
        gate: Gate,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.gate = gate
        self.reader = reader
        self.writer = writer

    async def finish(self) -> None:
        """Send the rest of the request, and have the application called."""
        self.writer.write(END)
        await until(lambda: self.gate.called)


async def finishes(visit: Visit) -> None:
    """Complete the request, and let the application do what it does."""
    visit.writer.write(END)
    visit.gate.open()


async def leaves(visit: Visit) -> None:
    """Leave in the middle of the body."""
    reset(visit.writer)


async def says_no_more(visit: Visit) -> None:
    """Close the sending half in the middle of the body."""
    visit.writer.write_eof()


async def leaves_later(visit: Visit) -> None:
    """Leave while the application works."""
    await visit.finish()
    reset(visit.writer)


async def breaks_a_rule(visit: Visit) -> None:
    """Send what is no chunk."""
    visit.writer.write(b"no chunk\r\n")


async def sends_too_much(visit: Visit) -> None:
    """Announce more than is allowed."""
    visit.writer.write(b"fffffff\r\n")


async def is_drained(visit: Visit) -> None:
    """Be cut when the server ends."""
    await visit.server.drain(0)


async def is_closed(visit: Visit) -> None:
    """Be cut with all connections."""
    await visit.server.close_all_connections()


async def is_late(visit: Visit) -> None:
    """Send nothing more until the time for the body is over."""


WAYS = [leaves, says_no_more, leaves_later, breaks_a_rule, sends_too_much, is_drained, is_closed]


async def go(make: Callable[[Gate], Any], then: str, way: Any, **limits: Any) -> None:
    """Have a body held, go one way out, and see that nothing is held any more."""
    gate = Gate(then)
    app = make(gate)
    server = HTTPServer(app, max_body_size=1_000_000, **limits)
    try:
        async with listening(server) as port, asyncio.timeout(STEP_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + PIECE)
            await until(lambda: server.held_bytes >= 50_000)
            await way(Visit(server, gate, reader, writer))
            await until(lambda: server.held_bytes == 0)
            await hang_up(writer)
    finally:
        gate.open()
        if hasattr(app, "shutdown"):
            await app.shutdown()
    assert server.held_bytes == 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@interfaces
async def test_nothing_is_held_after_a_client_has_gone(make: Any, way: Any) -> None:
    """Whichever way a request ends before its answer, what was held of it is given back."""
    await go(make, "answer", way)


@interfaces
async def test_nothing_is_held_after_a_body_was_late(make: Any) -> None:
    """A body that did not come in time is given back."""
    await go(make, "answer", is_late, body_timeout=0.2)


@pytest.mark.parametrize("then", ["answer", "raise", "cancel"])
@interfaces
async def test_nothing_is_held_after_an_answer(make: Any, then: str) -> None:
    """What was held for an application is given back with its answer, or its failure."""
    await go(make, then, finishes)


@pytest.mark.parametrize("then", ["abort", "detach"])
async def test_nothing_is_held_for_a_connection_that_is_the_applications(then: str) -> None:
    """A request whose connection was aborted or detached holds nothing."""
    await go(of_callback, then, finishes)


@interfaces
async def test_gzip_counts_as_what_it_is_in_memory(make: Any) -> None:
    """Of 100 kB that came as a few hundred bytes, what is kept counts."""
    gate = Gate("answer")
    app = make(gate)
    body = gzip.compress(bytes(100_000))
    server = HTTPServer(app, decompress_request=True)
    try:
        async with listening(server) as port, asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await until(lambda: server.held_bytes == 100_000)
            gate.open()
            await until(lambda: server.held_bytes == 0)
            await hang_up(writer)
    finally:
        gate.open()
        if hasattr(app, "shutdown"):
            await app.shutdown()


@interfaces
async def test_nobody_is_called_for_a_body_without_room(make: Any) -> None:
    """It is told 503, and when to come back, and the application never hears of it."""
    gate = Gate("answer")
    app = make(gate)
    server = HTTPServer(app, max_held=50_000)
    try:
        async with listening(server) as port, asyncio.timeout(STEP_S):
            _, first = await asyncio.open_connection("127.0.0.1", port)
            first.write(HEAD + PIECE)
            await until(lambda: server.held_bytes >= 50_000)
            await until(lambda: gate.called or make in COLLECTING)
            gate.called = False
            reader, second = await asyncio.open_connection("127.0.0.1", port)
            second.write(HEAD + PIECE + END)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 5\r\n" in answer
            assert not gate.called
            await hang_up(first)
            await hang_up(second)
    finally:
        gate.open()
        if hasattr(app, "shutdown"):
            await app.shutdown()


@interfaces
async def test_nobody_is_called_for_a_declared_length_over_the_limit(make: Any) -> None:
    """It is told 413; Tornado's handlers, which may allow more, are only looked for."""
    gate = Gate("answer")
    app = make(gate)
    server = HTTPServer(app, max_body_size=10)
    try:
        async with listening(server) as port, asyncio.timeout(STEP_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
            assert not gate.called
            await hang_up(writer)
    finally:
        gate.open()
        if hasattr(app, "shutdown"):
            await app.shutdown()


async def test_what_a_tornado_handler_reads_as_it_comes_is_not_held() -> None:
    """A handler that takes the pieces of a body keeps what it wants of them."""
    sizes: list[int] = []

    @tornado.web.stream_request_body
    class Handler(tornado.web.RequestHandler):
        def data_received(self, chunk: bytes) -> None:
            sizes.append(server.held_bytes)

        def post(self) -> None:
            self.write("ok")

    server = HTTPServer(tornado.web.Application([("/", Handler)]))
    async with listening(server) as port, asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + PIECE * 40 + END)
        await reader.readuntil(b"ok")
        await hang_up(writer)
    assert max(sizes) < 1_000_000  # what was read ahead, if anything, of 2,000,000
    assert server.held_bytes == 0


async def test_what_a_function_behind_a_tornado_rule_gets_is_held() -> None:
    """A router's function is called with a whole body, which Tornado collects."""
    held: list[int] = []

    def answer(request: Any) -> None:
        held.append(server.held_bytes)
        request.connection.write_headers(("HTTP/1.1", 200, "OK"), fields(Content_Length="0"))
        request.connection.finish()

    matches = tornado.routing.PathMatches("/.*")
    inner = tornado.routing.RuleRouter([tornado.routing.Rule(matches, answer)])
    server = HTTPServer(tornado.routing.RuleRouter([tornado.routing.Rule(matches, inner)]))
    async with listening(server) as port, asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + PIECE + END)
        await reader.readuntil(b"\r\n\r\n")
        await hang_up(writer)
    assert held == [50_000]
    assert server.held_bytes == 0


async def test_tiny_pieces_that_an_asgi_application_does_not_take_are_bounded() -> None:
    """Each is an object of its own, so not only their bytes count."""
    gate = Gate("answer")
    talk = Talk(app=of_asgi(gate))
    talk.receive(HEAD)
    await until(lambda: gate.called)
    talk.receive(*[b"1\r\nx\r\n"] * 3000)
    assert talk.service.budget.held <= 1100
    gate.open()
    talk.receive(END)
    await until(lambda: talk.statuses == [200])
    assert talk.service.budget.held == 0


async def test_tiny_pieces_that_a_thread_does_not_read_are_bounded() -> None:
    """A reader that is late has the connection wait after so many, and lets it go on."""
    stream = BodyStream(Mailbox(asyncio.get_running_loop()))
    waiting = [stream.feed(b"x") for _ in range(1024)]
    assert waiting[:-1] == [None] * 1023
    room = waiting[-1]
    assert not room.done()
    assert await asyncio.to_thread(io.BufferedReader(stream, 1024).read, 1000) == b"x" * 1000
    await room
