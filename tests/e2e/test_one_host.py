"""A request has one host: over TLS the application sees the one whose policy was checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tornado.web

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from tests.e2e.site import address_of, answer, connected, serve
from tests.tls import pki

STAFF = pki.make_ca("Staff CA")
ALICE = pki.make_client(STAFF, "alice")

PUBLIC, SECRET = "public.test", "secret.test"

Hosts = list[tuple[str, ...]]
"""Of each request that an application was called with: every name of its host that it saw."""


@pytest.fixture
def ssl_options(tmp_path: Path, authority: pki.Issued) -> dict[str, Any]:
    """Return two hosts: one for everybody, one for clients of a certificate authority."""
    pairs = {n: pki.write_pair(tmp_path, pki.make_leaf(authority, n), n) for n in (PUBLIC, SECRET)}
    (tmp_path / "staff.pem").write_bytes(STAFF.pem)
    staff = {"client_auth": "required", "ca_certs": str(tmp_path / "staff.pem")}
    return {**pairs[PUBLIC], "hosts": {SECRET: {**pairs[SECRET], **staff}}, "reload": False}


# The interfaces.


def callback(hosts: Hosts) -> Any:
    """Return a function of one request."""

    def app(request: Any) -> None:
        raw = [value.decode() for name, value in request.headers.raw if name == b"host"]
        hosts.append((request.host, request.headers["Host"], *raw))
        answer(request, "ok")

    return app


def delegate(hosts: Hosts) -> Any:
    """Return a delegate, which gets start line and headers."""

    class Message(HTTPMessageDelegate):
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def headers_received(self, start_line: Any, headers: Any) -> None:
            fields = self.connection.fields
            hosts.append((headers["Host"], *headers.get_list("host"), fields[b"host"].decode()))

        def finish(self) -> None:
            answer(self, "ok")  # type: ignore[arg-type]  # it only needs the connection

    class App(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: Any) -> Message:
            return Message(request_conn)

    return App()


def tornado_app(hosts: Hosts) -> Any:
    """Return a Tornado application."""

    class Handler(tornado.web.RequestHandler):
        SUPPORTED_METHODS = (*tornado.web.RequestHandler.SUPPORTED_METHODS, "CONNECT")

        def get(self) -> None:
            hosts.append((self.request.host, self.request.headers["Host"]))
            self.finish("ok")

        connect = get

    return tornado.web.Application([(".*", Handler)])


def asgi(hosts: Hosts) -> Any:
    """Return an ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hosts.append(tuple(value.decode() for name, value in scope["headers"] if name == b"host"))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    return ASGIAdapter(app, lifespan="off")


def wsgi(hosts: Hosts) -> Any:
    """Return a WSGI application."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen = (environ["HTTP_HOST"],)
        if environ["SERVER_NAME"] != "127.0.0.1":  # on a Unix socket the request names the server
            seen = (*seen, f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}")
        hosts.append(seen)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    return WSGIAdapter(app)


INTERFACES = {
    "callback": callback,
    "delegate": delegate,
    "tornado": tornado_app,
    "asgi": asgi,
    "wsgi": wsgi,
}


# The requests.


class Case(NamedTuple):
    """Request line and fields, and the host that they are for; `secret` says of which kind."""

    line: str
    fields: str
    host: str
    secret: bool


CASES = [
    Case("GET / HTTP/1.1", "Host: {public}", "{public}", False),
    Case("GET / HTTP/1.1", "Host: {secret}", "{secret}", True),
    Case("GET https://{public}/a HTTP/1.1", "Host: {secret}", "{public}", False),
    Case("GET https://{public} HTTP/1.1", "Host: {secret}", "{public}", False),
    Case("GET https://{public}?a HTTP/1.0", "Host: {secret}", "{public}", False),
    Case("GET https://{public}:8443/a HTTP/1.0", "X: y", "{public}:8443", False),
    Case("GET http://Public.TEST:/ HTTP/1.1", "X: 1\r\nHost: {secret}\r\nX: 2", "Public.TEST:", 0),
    Case("GET https://[::1]:443/ HTTP/1.1", "Host: {secret}", "[::1]:443", False),
    Case("GET https://{secret}/a HTTP/1.1", "Host: {public}", "{secret}", True),
    Case("GET https://SECRET.test.:443/a HTTP/1.1", "Host: {public}", "SECRET.test.:443", True),
    Case("GET https://{secret}/a HTTP/1.0", "X: y", "{secret}", True),
    Case("CONNECT {public}:443 HTTP/1.1", "Host: {secret}", "{public}:443", False),
    Case("CONNECT {public}:443 HTTP/1.0", "X: y", "{public}:443", False),
    Case("CONNECT {secret}:443 HTTP/1.1", "Host: {public}", "{secret}:443", True),
]
ids = [
    f"{case.line} {case.fields}".format(public="public", secret="secret").replace("\r\n", " ")
    for case in CASES
]


def wire(text: str) -> str:
    """Return a template with the names of the two hosts."""
    return text.format(public=PUBLIC, secret=SECRET)


async def check(
    make: Callable[[Hosts], Any],
    case: Case,
    client: Callable[[pki.Issued | None], ssl.SSLContext],
    more: str = "",
    status: int = 200,
    **options: Any,
) -> None:
    """Send a request after a handshake for each host: it is told 421, or its host is that one."""
    hosts: Hosts = []
    data = f"{wire(case.line)}\r\n{wire(case.fields)}\r\n{more}\r\n".encode()
    async with serve(make(hosts), **options) as server:
        for name, show in ((PUBLIC, None), (SECRET, ALICE)):
            del hosts[:]
            async with connected(address_of(server), tls=client(show), name=name) as connection:
                await connection.send(data)
                got = await connection.answer()
            if bool(case.secret) != (name == SECRET):
                assert (got.status, hosts) == (421, [])
                continue
            assert got.status == status
            (seen,) = hosts
            assert seen
            assert set(seen) == {wire(case.host)}


@pytest.fixture
def client(authority: pki.Issued, tmp_path: Path) -> Callable[[Any], ssl.SSLContext]:
    """Return what makes a client's context, with a certificate to show or without."""
    return lambda show: pki.client_context(authority, show, directory=tmp_path)


@pytest.mark.parametrize("make", INTERFACES.values(), ids=INTERFACES)
@pytest.mark.parametrize("case", CASES, ids=ids)
async def test_the_host_that_is_seen_was_checked(make, case: Case, ssl_options, client) -> None:
    """Every interface shows the one host that the client's certificate was asked for."""
    await check(make, case, client, ssl_options=ssl_options)


@pytest.mark.parametrize("case", [each for each in CASES if "1.1" in each.line], ids=str)
async def test_the_host_of_a_websocket(case: Case, ssl_options, client) -> None:
    """A WebSocket's scope shows it as well; a CONNECT is none."""
    more = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    status = 403 if case.line.startswith("GET") else 200
    await check(asgi, case, client, more, status, ssl_options=ssl_options)


@pytest.mark.parametrize("line", ["GET https://{public}:8443/a", "CONNECT {public}:8443"])
async def test_the_name_of_the_server_on_a_unix_socket(
    line: str, ssl_options, client, tmp_path: Path
) -> None:
    """Where the request names the server, its one host does."""
    case = Case(f"{line} HTTP/1.1", "Host: {secret}", "{public}:8443", False)
    await check(wsgi, case, client, path=str(tmp_path / "s"), ssl_options=ssl_options)


@pytest.mark.parametrize("make", INTERFACES.values(), ids=INTERFACES)
async def test_a_proxys_host_is_its_own(make, ssl_options, client) -> None:
    """What a trusted proxy declares stands beside the host of the request, and replaces nothing."""
    policy = TrustPolicy([TrustedProxy("127.0.0.1", name="edge", sets={"x-forwarded-host"})])
    case = Case("GET https://{public}/ HTTP/1.1", "Host: {secret}", "{public}", False)
    more = f"X-Forwarded-Host: {SECRET}\r\n"
    await check(make, case, client, more, ssl_options=ssl_options, trust=policy)


async def test_any_history_of_one_connection(ssl_options, client) -> None:
    """Fields that repeat bring no host with them that another target had."""
    hosts: Hosts = []
    lines = [f"GET https://{PUBLIC}/", "GET /", f"GET https://{PUBLIC}:1/", "GET /", "GET /b"]
    async with (
        serve(callback(hosts), ssl_options=ssl_options) as server,
        connected(address_of(server), tls=client(None), name=PUBLIC) as connection,
    ):
        for line in lines * 3:
            await connection.send(f"{line} HTTP/1.1\r\nHost: other.test\r\n\r\n".encode())
            assert (await connection.answer()).status == 200
        expected = [PUBLIC, "other.test", f"{PUBLIC}:1", "other.test", "other.test"] * 3
        assert [seen for (seen, *_) in hosts] == expected
        for _ in range(2):
            await connection.send(b"GET / HTTP/1.1\r\nHost: public.test\r\n\r\n")
            assert (await connection.answer()).status == 200
        await connection.send(b"GET https://secret.test/ HTTP/1.1\r\nHost: public.test\r\n\r\n")
        assert (await connection.answer()).status == 421
    await asyncio.sleep(0)
    assert not any(SECRET in seen for seen in hosts)
