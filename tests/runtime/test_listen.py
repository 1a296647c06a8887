"""`edgeserver.listen`: every kind of application, its options, its start and its end."""

import asyncio
import inspect
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import tornado.web

import edgeserver
from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import (
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from edgeserver.ioloop import IOLoop
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.listen_options import ListenOptions
from edgeserver.tcpserver import TCPServer
from tests.tls.pki import client_context, make_ca, make_leaf, write_pair

HEAD = (ResponseStartLine("HTTP/1.1", 200, "OK"), {"Content-Length": "5"})


def callback(request: HTTPServerRequest) -> None:
    """Answer as a callback."""
    connection = request.connection
    assert connection is not None
    connection.write_headers(HEAD[0], edgeserver.HTTPHeaders(HEAD[1]), b"hello")
    connection.finish()


class Delegate(HTTPServerConnectionDelegate):
    """Answer as a delegate."""

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        class Message(HTTPMessageDelegate):
            def finish(self) -> None:
                request_conn.write_headers(HEAD[0], edgeserver.HTTPHeaders(HEAD[1]), b"hello")
                request_conn.finish()

        return Message()


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer as a WSGI application."""
    start_response("200 OK", [("X-Root", environ["SCRIPT_NAME"])])
    return [b"hello"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer as an ASGI application without lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Handler(tornado.web.RequestHandler):
    """Answer as a Tornado application."""

    def get(self) -> None:
        self.write("hello")


KINDS = [
    pytest.param(callback, id="callback"),
    pytest.param(Delegate(), id="delegate"),
    pytest.param(wsgi, id="wsgi"),
    pytest.param(asgi, id="asgi"),
    pytest.param(tornado.web.Application([("/", Handler)]), id="tornado"),
]


def port_of(server: HTTPServer) -> int:
    """Return the port that a server listens on."""
    return int(server.listeners[0].socket.getsockname()[1])


async def fetch(server: HTTPServer, scheme: str = "http", **options: Any) -> httpx.Response:
    """Ask the server once."""
    async with httpx.AsyncClient(trust_env=False, **options) as client:
        return await client.get(f"{scheme}://127.0.0.1:{port_of(server)}/")


@pytest.mark.parametrize("app", KINDS)
async def test_every_kind(app: Any) -> None:
    """An application of each kind is served by one call, and ends with its server."""
    server = edgeserver.listen(app, 0, "127.0.0.1")
    assert isinstance(server, HTTPServer)
    assert (await fetch(server)).text == "hello"
    assert await server.drain(5)
    assert not server.listeners


async def test_options_go_where_they_belong(tmp_path: Path) -> None:
    """Options of the socket, of the server and of the adapter stand side by side."""
    ca = make_ca()
    server = edgeserver.listen(
        wsgi,
        0,
        "127.0.0.1",
        backlog=7,
        family=socket.AF_INET,
        ssl_options=write_pair(tmp_path, make_leaf(ca)),
        trust=TrustPolicy(["127.0.0.1"]),
        threads=3,
        root_path="/shop",
    )
    answer = await fetch(server, "https", verify=client_context(ca))
    assert answer.headers["x-root"] == "/shop"
    assert server.request_callback.threads == 3
    await server.drain(5)


WRONG = [
    pytest.param(
        wsgi, {"thread": 3}, TypeError, "no option 'thread'; did you mean 'threads'", id="unknown"
    ),
    pytest.param(wsgi, {"qqqqqq": 3}, TypeError, "'qqqqqq'; see edgeserver.listen", id="no guess"),
    pytest.param(
        asgi, {"threads": 3}, ConfigurationError, "'threads' means", id="unknown-for-asgi"
    ),
    pytest.param(
        callback, {"threads": 3}, ConfigurationError, "to a callback", id="for-a-callback"
    ),
    pytest.param(wsgi, {"threads": 0}, ConfigurationError, "threads=0", id="adapter-refuses"),
    pytest.param(
        wsgi, {"max_header_size": 0}, ConfigurationError, "max_header", id="server-refuses"
    ),
    pytest.param(7, {}, ConfigurationError, "environ, start_response", id="no-application"),
    pytest.param(wsgi, {"interface": "zope"}, ConfigurationError, "zope", id="no-interface"),
]


@pytest.mark.parametrize(("app", "options", "error", "part"), WRONG)
async def test_wrong_options(
    app: Any, options: dict[str, Any], error: type[Exception], part: str
) -> None:
    """What nobody takes is refused by name, before anything listens."""
    with pytest.raises(error, match=part):
        edgeserver.listen(app, 0, "127.0.0.1", **options)


async def test_a_port_that_is_taken() -> None:
    """A port that cannot be bound is an OSError, as everywhere."""
    server = edgeserver.listen(callback, 0, "127.0.0.1")
    with pytest.raises(OSError, match="in use"):
        edgeserver.listen(wsgi, port_of(server), "127.0.0.1")
    server.stop()


async def test_the_interface_can_be_said() -> None:
    """Where a shape does not tell, the caller does."""

    def variadic(*args: Any) -> Any:
        return wsgi(*args)

    server = edgeserver.listen(variadic, 0, "127.0.0.1", interface="wsgi")
    assert (await fetch(server)).text == "hello"
    await server.drain(5)


# Applications with something to do at the start and at the end.


class Lifespan:
    """An ASGI application that notes what it is told, and may fail to start."""

    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[str] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails = fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.heard.append("request")
            await asgi(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            self.asked.set()
            await self.go_on.wait()
            self.heard.append(event)
            if self.fails:
                await send({"type": "lifespan.startup.failed", "message": "no database"})
                return
            await send({"type": f"lifespan.{event}.complete"})


@pytest.mark.parametrize("end", ["drain", "close_all_connections"])
async def test_the_application_starts_first_and_ends_last(end: str) -> None:
    """A request that comes early is served after the start; the end comes once."""
    app = Lifespan()
    server = edgeserver.listen(app, 0, "127.0.0.1")
    fetching = asyncio.create_task(fetch(server))
    await app.asked.wait()
    # Another server of this loop serves a client that comes later, so this one would have.
    other = edgeserver.listen(callback, 0, "127.0.0.1")
    async with asyncio.timeout(20):
        assert (await fetch(other)).text == "hello"
    await other.drain(5)
    assert app.heard == []
    app.go_on.set()
    await server.started()
    assert (await fetching).text == "hello"
    server.stop()
    await getattr(server, end)()
    await server.drain(5)
    assert app.heard == ["startup", "request", "shutdown"]


async def test_an_application_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is listened on after a failed start, which is logged and told to who waits."""
    app = Lifespan(fails=True)
    app.go_on.set()
    server = edgeserver.listen(app, 0, "127.0.0.1")
    with pytest.raises(Exception, match="no database"):
        await server.started()
    assert not server.listeners
    await server.drain(5)
    assert app.heard == ["startup"]
    assert "the application did not start" in caplog.text


@pytest.mark.parametrize("fails", [False, True], ids=["starts", "fails"])
def test_before_the_loop_runs(fails: bool) -> None:
    """Where the loop does not run yet, the start is done when `listen` returns, or raises."""
    io_loop = IOLoop()
    try:
        app = Lifespan(fails=fails)
        app.go_on.set()
        if fails:
            with pytest.raises(Exception, match="no database"):
                edgeserver.listen(app, 0, "127.0.0.1")
            return
        server = edgeserver.listen(app, 0, "127.0.0.1")
        assert app.heard == ["startup"]

        async def use() -> None:
            assert (await fetch(server)).text == "hello"
            await server.drain(5)

        io_loop.run_sync(use)
        assert app.heard == ["startup", "request", "shutdown"]
    finally:
        io_loop.close(all_fds=True)


def test_the_options_are_those_of_who_takes_them() -> None:
    """`listen` has an option for each argument of the socket, the server and the adapters."""
    taken: set[str] = set()
    for each in (TCPServer.listen, HTTPServer.initialize, ASGIAdapter, WSGIAdapter):
        taken |= inspect.signature(each).parameters.keys()
    given = {"self", "port", "address", "request_callback", "app"}
    assert ListenOptions.__annotations__.keys() == taken - given
