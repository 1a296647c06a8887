"""The drain rule: nothing that a client may still ask is lost when a server stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import tornado.web
import tornado.websocket
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed

from edgeserver import httpserver
from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.httputil import HTTPHeaders, ResponseStartLine
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import address_of, answer, connected, serve
from tests.loops import on_both_loops

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PRELUDE = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
LONG_S = 30.0
"""A time that no test waits for."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer `done`."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
    )
    await send({"type": "http.response.body", "body": b"done"})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Answer `done`."""
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]


class Done(tornado.web.RequestHandler):
    """Answers `done`."""

    def get(self) -> None:
        """Answer."""
        self.write("done")


KINDS: dict[str, Callable[[], Any]] = {
    "callback": lambda: lambda request: answer(request, "done"),
    "asgi": lambda: ASGIAdapter(asgi, lifespan="off"),
    "wsgi": lambda: WSGIAdapter(wsgi),
    "tornado": lambda: tornado.web.Application([("/", Done)]),
}


async def until(condition: Callable[[], Any]) -> None:
    """Let the event loop run until something is the case."""
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_every_connection_may_bring_one_more_request(
    kind: str, secure: bool, pair: Any, trusting: Any
) -> None:
    """A kept and a fresh connection are answered once more, with close, whatever answers."""
    options, tls = ({"ssl_options": pair}, trusting) if secure else ({}, None)
    async with (
        serve(KINDS[kind](), **options) as server,
        connected(address_of(server), tls=tls) as kept,
        connected(address_of(server), tls=tls) as fresh,
    ):
        assert "connection" not in (await kept.ask()).fields
        await until(lambda: server.open_connections == 2)
        draining = asyncio.ensure_future(server.drain(LONG_S, idle=LONG_S))
        await asyncio.sleep(0)
        for client in (kept, fresh):
            got = await client.ask()
            assert (got.body, got.fields["connection"]) == (b"done", "close")
            assert await client.ended()
        assert await draining


@on_both_loops
async def test_who_was_not_accepted_yet_is_answered() -> None:
    """A client is connected before the server knows: what it has asked by then is answered."""
    async with serve(KINDS["callback"]()) as server:
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(address_of(server), LONG_S))
                for _ in range(20)
            ]
            for client in clients:
                client.sendall(GET)
            assert await server.drain(LONG_S)
            answers = [client.recv(65536) for client in clients]
    assert [each.startswith(b"HTTP/1.1 200") for each in answers] == [True] * 20


@on_both_loops
async def test_a_handshake_that_has_begun_may_end(pair: Any, trusting: Any) -> None:
    """Who was accepted before the stop, and had not said hello, is still answered."""
    async with (
        serve(KINDS["callback"](), ssl_options=pair) as server,
        connected(address_of(server)) as client,
    ):
        await until(lambda: server.open_connections)
        draining = asyncio.ensure_future(server.drain(LONG_S, idle=LONG_S))
        await asyncio.sleep(0)
        await client.writer.start_tls(trusting, server_hostname="localhost")
        got = await client.ask()
        assert (got.body, got.fields["connection"]) == (b"done", "close")
        assert await draining


@on_both_loops
async def test_a_prelude_may_still_come() -> None:
    """A connection whose PROXY prelude is not whole at the stop is still answered."""
    trust = TrustPolicy(["127.0.0.1"])
    async with (
        serve(KINDS["callback"](), trust=trust, proxy_protocol="v1") as server,
        connected(address_of(server)) as client,
    ):
        await client.send(PRELUDE[:9])
        await until(lambda: server.open_connections)
        draining = asyncio.ensure_future(server.drain(LONG_S, idle=LONG_S))
        await asyncio.sleep(0)
        await client.send(PRELUDE[9:] + GET)
        assert (await client.answer()).fields["connection"] == "close"
        assert await draining


@pytest.mark.parametrize("what", ["fresh", "kept", "handshake", "prelude"])
@on_both_loops
async def test_who_stays_silent_is_closed(what: str, pair: Any) -> None:
    """The stop does not wait for connections on which nothing comes."""
    options: dict[str, Any] = {}
    if what == "handshake":
        options = {"ssl_options": pair}
    elif what == "prelude":
        options = {"proxy_protocol": "v1", "trust": TrustPolicy(["127.0.0.1"])}
    async with (
        serve(KINDS["callback"](), **options) as server,
        connected(address_of(server)) as client,
    ):
        if what == "kept":
            await client.ask()
        await until(lambda: server.open_connections)
        assert await server.drain(LONG_S, idle=0.05)
        with contextlib.suppress(ConnectionError):  # an end in a handshake may be a reset
            assert await client.ended()


@on_both_loops
async def test_an_answer_that_promised_to_go_on() -> None:
    """Where the head was sent before the stop, without close, the connection has not ended."""
    gate = asyncio.Event()

    async def app(request: Any) -> None:
        connection = request.connection
        connection.write_headers(
            ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "2"}), b"a"
        )
        await gate.wait()
        connection.write(b"b")
        connection.finish()

    async with serve(app) as server, connected(address_of(server)) as client:
        await client.send(GET)
        await until(server.in_flight)
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Connection" not in head
        assert await client.reader.readexactly(1) == b"a"
        draining = asyncio.ensure_future(server.drain(LONG_S, idle=LONG_S))
        await asyncio.sleep(0)
        gate.set()
        assert await client.reader.readexactly(1) == b"b"
        got = await client.ask()
        assert (got.body, got.fields["connection"]) == (b"ab", "close")
        assert await draining


@pytest.mark.parametrize("listens", [True, False], ids=["listens", "goes-on"])
@on_both_loops
async def test_endless_answers_end(monkeypatch: pytest.MonkeyPatch, listens: bool) -> None:
    """A stream hears `http.disconnect` a moment into the drain, and is cut if it goes on."""
    monkeypatch.setattr(httpserver, "STREAM_S", 0.05)
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        heard.append((await receive())["type"])
        if not listens:
            await asyncio.Event().wait()

    adapter = ASGIAdapter(app, lifespan="off", shutdown_timeout=0)
    async with serve(adapter) as server, connected(address_of(server)) as client:
        await client.send(GET)
        await client.reader.readuntil(b"tick")
        assert server.in_flight() == ["GET /"]
        assert await server.drain(LONG_S, idle=0)
        assert heard == ["http.disconnect"]
        await client.reader.read()
        await adapter.shutdown()


@on_both_loops
async def test_answers_of_a_known_length_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """What says how long it is has the whole time of the drain."""
    monkeypatch.setattr(httpserver, "STREAM_S", 0.01)
    gate = asyncio.Event()

    async def app(request: Any) -> None:
        await gate.wait()
        answer(request, "done")

    async with serve(app) as server, connected(address_of(server)) as client:
        await client.send(GET)
        await until(server.in_flight)
        draining = asyncio.ensure_future(server.drain(LONG_S))
        await asyncio.sleep(0.1)
        gate.set()
        assert (await client.answer()).body == b"done"
        assert await draining


async def asgi_socket(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket, and wait for its end."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


class TornadoSocket(tornado.websocket.WebSocketHandler):
    """A WebSocket that says nothing."""

    def on_message(self, message: Any) -> None:
        """Take what comes."""


@pytest.mark.parametrize(
    "app",
    [
        lambda: ASGIAdapter(asgi_socket, lifespan="off"),
        lambda: tornado.web.Application([("/", TornadoSocket)]),
    ],
    ids=["asgi", "tornado"],
)
@on_both_loops
async def test_websockets_are_told_at_once(app: Callable[[], Any]) -> None:
    """Clients of WebSockets hear 1012 while the last requests still run."""
    async with serve(app()) as server:
        host, port = address_of(server)
        url = f"ws://{host}:{port}/"
        async with websockets.asyncio.client.connect(url) as one:
            await server.drain(LONG_S, idle=0)
            with pytest.raises(ConnectionClosed) as caught:
                await one.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012


@pytest.mark.parametrize("idle", [float("nan"), -1, "x", None])
@on_both_loops
async def test_an_idle_time_that_is_none(idle: Any) -> None:
    """What is not a number of seconds is named, and the server goes on."""
    async with serve() as server:
        with pytest.raises(ValueError, match=r"drain\(idle\)"):
            await server.drain(idle=idle)
        async with connected(address_of(server)) as client:
            assert (await client.ask()).status == 200
