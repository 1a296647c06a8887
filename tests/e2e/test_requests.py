"""Requests and answers over real sockets, plain and TLS, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import ssl
from typing import Any

import httpx
import pytest

from edgeserver.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine
from tests.e2e.conftest import Scheme
from tests.e2e.site import Client, address_of, answer, connected, program, serve, tell
from tests.loops import on_both_loops

MIB = 1024 * 1024


def echo(request: Any) -> None:
    """Answer with the body."""
    answer(request, request.body)


def url_of(server: Any, scheme: Scheme, path: str = "/") -> str:
    """Return a URL of `server`."""
    return f"{scheme.name}://localhost:{address_of(server)[1]}{path}"


@contextlib.asynccontextmanager
async def browser(scheme: Scheme):
    """Give an httpx client."""
    async with httpx.AsyncClient(verify=scheme.tls or False, trust_env=False) as client:
        yield client


@on_both_loops
async def test_httpx_gets_and_posts(scheme: Scheme) -> None:
    """A common client gets, posts, uploads in chunks, asks for a head, on one connection."""

    async def pieces():
        for number in range(50):
            yield b"%02d" % number * 1000

    async with serve(echo, **scheme.options) as server, browser(scheme) as client:
        url = url_of(server, scheme)
        assert (await client.get(url)).content == b""
        assert (await client.post(url, content=b"x" * MIB)).content == b"x" * MIB
        body = b"".join([piece async for piece in pieces()])
        assert (await client.post(url, content=pieces())).content == body
        head = await client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert server.open_connections == 1


@on_both_loops
async def test_what_the_application_sees(scheme: Scheme) -> None:
    """Address, scheme, TLS version, fields and body are those of the connection and request."""
    async with serve(**scheme.options) as server, browser(scheme) as client:
        got = await client.put(url_of(server, scheme), content=b"12345", headers={"X-Thing": "a b"})
        seen = got.json()
        assert (seen["ip"], seen["peer"], seen["scheme"]) == ("127.0.0.1", "127.0.0.1", scheme.name)
        assert seen["tls"] == (None if scheme.tls is None else "TLSv1.3")
        assert seen["body"] == 5
        assert ["x-thing", "a b"] in seen["fields"]


@on_both_loops
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], {"body": 0}),
        (["--data-binary", "x" * 3000], {"body": 3000}),
        (["-H", "Transfer-Encoding: chunked", "--data-binary", "y" * 3000], {"body": 3000}),
        (["-H", "Expect: 100-continue", "--data-binary", "z" * 3000], {"body": 3000}),
        (["--http1.0"], {"body": 0}),
        (["-F", "file=@-;filename=a.txt"], {}),
    ],
    ids=["get", "post", "chunked", "expect", "1.0", "form"],
)
async def test_curl(scheme: Scheme, ca_file, arguments: list[str], told: dict[str, Any]) -> None:
    """Curl is answered in each of its manners."""
    async with serve(**scheme.options) as server:
        command = [program("curl"), "-sS", "-m", "20", "--noproxy", "*", "--cacert", str(ca_file)]
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            url_of(server, scheme),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        written, _ = await process.communicate()
        assert process.returncode == 0
        seen = json.loads(written)
        assert {name: seen[name] for name in told} == told
        assert seen["scheme"] == scheme.name


@on_both_loops
async def test_pipelined_requests_are_answered_in_order(scheme: Scheme) -> None:
    """Two hundred requests in one piece, some answered later than others, keep their order."""

    async def app(request):
        if request.uri.endswith("3"):
            await asyncio.sleep(0)
        answer(request, request.uri)

    head = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with (
        serve(app, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        await client.send(b"".join(head % number for number in range(200)))
        for number in range(200):
            assert (await client.answer()).body == b"/%d" % number


@on_both_loops
async def test_keep_alive_and_close(scheme: Scheme) -> None:
    """A connection serves request after request, until one says close."""
    async with (
        serve(**scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        for _ in range(5):
            assert "connection" not in (await client.ask()).fields
        last = await client.ask(b"Connection: close\r\n")
        assert last.fields["connection"] == "close"
        assert await client.ended()


@on_both_loops
@pytest.mark.parametrize("way", ["length", "chunked"])
async def test_streamed_answers(scheme: Scheme, way: str) -> None:
    """Ten MiB written piece by piece arrive whole, at the speed of the reader."""

    async def app(request):
        fields = {"Content-Length": str(10 * MIB)} if way == "length" else {}
        start_line = ResponseStartLine("HTTP/1.1", 200, "OK")
        await request.connection.write_headers(start_line, HTTPHeaders(fields))
        for number in range(160):
            await request.connection.write(bytes([number]) * 65536)
        request.connection.finish()

    async with serve(app, **scheme.options) as server, browser(scheme) as client:
        got = await client.get(url_of(server, scheme))
        assert got.content == b"".join(bytes([number]) * 65536 for number in range(160))


REFUSED = {
    "bad-request-line": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "bare-lf": (b"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two-lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "both-framings": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "bad-chunk": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n",
        400,
    ),
    "long-head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
    "many-fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
    "long-body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n", 413),
    "long-chunked-body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"10000\r\n%s\r\n" % bytes(65536) * 20,
        413,
    ),
    "unknown-coding": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br, chunked\r\n\r\n",
        501,
    ),
    "version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
}


@on_both_loops
@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_arrives_while_the_client_sends(
    scheme: Scheme, data: bytes, status: int, caplog
) -> None:
    """Who is in the middle of sending reads status and reason, not a reset; one line says why."""
    caplog.set_level(logging.INFO, "edgeserver")
    async with (
        serve(tell, max_body_size=MIB, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        client.writer.write(data + bytes(150_000))  # more than is read before the refusal
        got = await client.answer()
        assert got.status == status
        assert got.fields["connection"] == "close"
        assert got.body.endswith(b"\n")
        assert len(got.body) > 5
        assert await client.ended()
    (line,) = [text for text in caplog.messages if "Malformed HTTP message" in text]
    assert line.startswith("Malformed HTTP message from 127.0.0.1: ")
    assert line.endswith(")"), "the rule"
    assert line.isprintable()


@on_both_loops
async def test_a_large_upload_hears_413(scheme: Scheme) -> None:
    """An upload over the limit is told so in its middle, though the client goes on sending."""
    async with (
        serve(echo, max_body_size=1000, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
        reading = asyncio.ensure_future(client.answer())
        with contextlib.suppress(ConnectionError):
            for _ in range(9000):
                await client.send(b"x" * 1000)
                if reading.done():
                    break
        got = await reading
        assert got.status == 413
        assert b"max_body_size" in got.body


@on_both_loops
async def test_an_eager_sender_is_not_reset() -> None:
    """Who sends far more than is drained is stopped, not cut off before it has read the answer."""
    async with (
        serve(echo, max_body_size=1000) as server,
        connected(address_of(server)) as client,
    ):
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n")
        client.writer.write(bytes(33554432))
        transport, unchanged, before = client.writer.transport, 0, 0
        while unchanged < 200 and not transport.is_closing():
            await asyncio.sleep(0)
            now = transport.get_write_buffer_size()
            unchanged, before = unchanged + 1 if now == before else 0, now
        assert not transport.is_closing()
        assert (await client.answer()).status == 413
        assert before > 0


@on_both_loops
async def test_requests_before_a_refused_one_are_answered(scheme: Scheme) -> None:
    """In a pipeline what came before the mistake is answered, what follows is not."""
    good = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    seen = []

    async def app(request):
        seen.append(request.uri)
        await asyncio.sleep(0)
        answer(request, request.uri)

    async with (
        serve(app, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        await client.send(good % 1 + good % 2 + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + good % 3)
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await client.ended()
        assert seen == ["/1", "/2"]


@on_both_loops
@pytest.mark.parametrize(
    ("started", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: loc", b"the head did not come in time"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
            b"the body did not come in time",
        ),
    ],
    ids=["head", "body"],
)
async def test_a_slow_sender_is_told_408(scheme: Scheme, started: bytes, reason: bytes) -> None:
    """A head or body that stops coming is answered 408, and the connection ends."""
    async with (
        serve(header_timeout=0.05, body_timeout=0.05, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        await client.send(started)
        got = await client.answer()
        assert got.status == 408
        assert reason in got.body
        assert await client.ended()


@on_both_loops
async def test_an_idle_connection_is_closed(scheme: Scheme) -> None:
    """A connection that asks nothing more is closed without a word."""
    async with (
        serve(idle_connection_timeout=0.05, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        assert (await client.ask()).status == 200
        assert await client.ended()


@on_both_loops
async def test_a_client_that_does_not_read(scheme: Scheme, caplog) -> None:
    """Writing waits for a client that takes nothing, and ends with the write timeout."""
    caplog.set_level(logging.INFO, "edgeserver")
    written = 0
    over = asyncio.Event()

    async def app(request):
        nonlocal written
        try:
            start_line = ResponseStartLine("HTTP/1.1", 200, "OK")
            await request.connection.write_headers(start_line, HTTPHeaders())
            while True:
                await request.connection.write(bytes(65536))
                written += 65536
        except OSError:
            over.set()

    async with (
        serve(app, write_timeout=0.1, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls, receive_buffer=4096) as client,
    ):
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await over.wait()
        assert written < 64 * MIB
        assert "Timeout writing to 127.0.0.1" in caplog.text


class Counting(HTTPMessageDelegate):
    """Takes a body piece by piece, each only when it is let."""

    def __init__(self, connection: Any, gate: asyncio.Event) -> None:
        self.connection, self.gate, self.size = connection, gate, 0

    async def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        await self.gate.wait()

    def finish(self) -> None:
        body = str(self.size).encode()
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 200, "OK"),
            HTTPHeaders({"Content-Length": str(len(body))}),
            body,
        )
        self.connection.finish()


class Uploads:
    """A delegate that keeps its requests."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.requests: list[Counting] = []

    def start_request(self, server_conn: object, request_conn: Any) -> Counting:
        self.requests.append(Counting(request_conn, self.gate))
        return self.requests[-1]


@on_both_loops
async def test_an_application_that_does_not_consume(scheme: Scheme) -> None:
    """An upload stops while the application keeps it back, and goes on when it wants more."""
    uploads = Uploads()
    sent = 0

    async def upload(client: Client) -> None:
        nonlocal sent
        await client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(1024):
            await client.send(bytes(65536))
            sent += 65536

    async with (
        serve(uploads, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        sending = asyncio.ensure_future(upload(client))
        unchanged, before = 0, -1
        while unchanged < 200:  # many turns of the loop in which nothing is taken
            await asyncio.sleep(0)
            unchanged = unchanged + 1 if sent == before > 0 else 0
            before = sent
        assert not sending.done()
        assert uploads.requests[0].size <= 65536
        uploads.gate.set()
        await sending
        assert (await client.answer()).body == b"%d" % (64 * MIB)


@on_both_loops
async def test_gzip_bodies(scheme: Scheme) -> None:
    """A compressed upload reaches the application plain; a bomb is cut at the limit."""
    options = {"decompress_request": True, "max_body_size": MIB}
    fields = {"Content-Encoding": "gzip"}
    async with serve(echo, **options, **scheme.options) as server, browser(scheme) as client:
        url = url_of(server, scheme)
        good = await client.post(url, content=gzip.compress(b"a" * 100_000), headers=fields)
        assert good.content == b"a" * 100_000
        bomb = await client.post(url, content=gzip.compress(bytes(50 * MIB)), headers=fields)
        assert bomb.status_code == 413
        torn = await client.post(url, content=gzip.compress(b"abc")[:-5], headers=fields)
        assert torn.status_code == 400


@on_both_loops
async def test_expect_is_answered_before_the_body(scheme: Scheme) -> None:
    """100 Continue comes before the body is sent, and a refusal in its place saves the upload."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with (
        serve(echo, max_body_size=100, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        await client.send(head % 5)
        assert (await client.answer()).status == 100
        await client.send(b"hello")
        assert (await client.answer()).body == b"hello"
        await client.send(head % 101)
        assert (await client.answer()).status == 413


@on_both_loops
async def test_an_exception_is_500_and_logged(scheme: Scheme, caplog) -> None:
    """What the application raises is told as 500, logged with its traceback, and is not the end."""

    def app(request):
        raise LookupError("the application's own")

    async with (
        serve(app, **scheme.options) as server,
        connected(address_of(server), tls=scheme.tls) as client,
    ):
        for _ in range(2):
            assert (await client.ask()).status == 500
    assert caplog.text.count("LookupError: the application's own") == 2


@on_both_loops
async def test_half_a_request_is_no_request(scheme: Scheme) -> None:
    """A body that ends early never reaches the application, over TLS with close_notify or not."""
    calls = []
    async with serve(calls.append, **scheme.options) as server:
        async with connected(address_of(server), tls=scheme.tls) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            if client.writer.can_write_eof():
                client.writer.write_eof()
                assert await client.ended()
        while server.open_connections:
            await asyncio.sleep(0)
        assert calls == []


@on_both_loops
async def test_a_client_that_has_said_all_still_reads() -> None:
    """A client may close its half behind its requests: each is answered, then the end follows."""

    async def app(request):
        await asyncio.sleep(0)
        answer(request, request.uri)

    async with serve(app) as server, connected(address_of(server)) as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)))
        client.writer.write_eof()
        assert [(await client.answer()).body for _ in range(3)] == [b"/0", b"/1", b"/2"]
        assert await client.ended()


@on_both_loops
async def test_one_connection_does_not_disturb_another(scheme: Scheme) -> None:
    """While some clients misbehave in many ways, the others are served."""
    async with serve(**scheme.options) as server, contextlib.AsyncExitStack() as stack:
        address = address_of(server)
        for data in (b"", b"GET", b"\x16\x03\x01", b"\0" * 100, b"GET / HTTP/1.1\r\nHost: a\r\n"):
            plain = await stack.enter_async_context(connected(address))
            await plain.send(data)
        async with connected(address, tls=scheme.tls) as client:
            for _ in range(3):
                assert (await client.ask()).status == 200


def test_ssl_options_must_be_a_servers() -> None:
    """A client's context is refused when the server is made, in words."""
    from edgeserver.httpserver import HTTPServer

    with pytest.raises(ValueError, match=r"a client's SSLContext"):
        HTTPServer(tell, ssl_options=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
