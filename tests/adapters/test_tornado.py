"""Tornado applications on our server, over real sockets: nothing in them is changed for it."""

import asyncio
import contextlib
import gzip
import json
import logging
import subprocess
import sys

import httpx
import pytest
import tornado
import tornado.httputil
import tornado.iostream
import tornado.routing
import tornado.web
import tornado.websocket
import tornado.wsgi
from tornado.httpclient import HTTPRequest

from edgeserver.adapters.detect import detect_interface, make_delegate
from edgeserver.adapters.tornado import TornadoAdapter
from edgeserver.errors import StreamClosedError
from edgeserver.httpserver import HTTPServer
from edgeserver.iostream import IOStream, closed_error
from edgeserver.proxyheaders import TrustPolicy
from tests import inside
from tests.http2.bridge import bridging
from tests.loops import on_both_loops
from tests.tls import pki

LOGGERS = ("edgeserver", "tornado.general", "tornado.application", "asyncio")


@pytest.fixture(scope="module")
def authority():
    """Return an authority for the certificates of servers and clients."""
    return pki.make_ca()


@pytest.fixture(scope="module")
def ssl_options(authority, tmp_path_factory):
    """Return the server's `ssl_options`."""
    directory = tmp_path_factory.mktemp("tls")
    pair = pki.write_pair(directory, pki.make_leaf(authority))
    (directory / "ca.pem").write_bytes(authority.pem)
    return {**pair, "ca_certs": str(directory / "ca.pem"), "cert_reqs": "optional"}


class Site:
    """One application served over one scheme, and its clients; over TLS they speak HTTP/2.

    With `http2`, its WebSockets are streams of HTTP/2.
    """

    def __init__(self, scheme, ssl_options, authority, *, http2=False):
        self.scheme = scheme
        self.http2 = http2
        self.ssl_options = ssl_options if scheme == "https" else None
        self.client_context = pki.client_context(authority) if scheme == "https" else None
        self.server = None
        self.clients = []

    def serve(self, handlers, settings=None, **options):
        """Serve `handlers`, or anything else that `HTTPServer` takes."""
        app = handlers
        if isinstance(handlers, list):
            app = tornado.web.Application(handlers, **(settings or {}))
        self.server = HTTPServer(app, ssl_options=self.ssl_options, **options)
        self.server.listen(0, "127.0.0.1")

    @property
    def port(self):
        return self.server.listeners[0].socket.getsockname()[1]

    def url(self, path, scheme=None):
        return f"{scheme or self.scheme}://127.0.0.1:{self.port}{path}"

    @property
    def client(self):
        if not self.clients:
            verify = self.client_context or False
            self.clients.append(httpx.AsyncClient(verify=verify, http2=True, base_url=self.url("")))
        return self.clients[0]

    async def connect(self):
        if self.client_context is not None:
            self.client_context.set_alpn_protocols(["http/1.1"])  # httpx asks for HTTP/2
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.client_context)

    @contextlib.asynccontextmanager
    async def websocket(self, path="/", **options):
        scheme = "wss" if self.scheme == "https" else "ws"
        request = HTTPRequest(self.url(path, scheme), ssl_options=self.client_context)
        async with contextlib.AsyncExitStack() as stack:
            if self.client_context is not None:
                self.client_context.set_alpn_protocols(["h2" if self.http2 else "http/1.1"])
            if self.http2:
                bridge = await stack.enter_async_context(bridging())
                bridge.target, bridge.context = self.port, self.client_context
                request = HTTPRequest(f"ws://127.0.0.1:{bridge.port}{path}")
            socket = await tornado.websocket.websocket_connect(request, **options)
            yield socket
            open_still = socket.close_code is None
            socket.close()
            while open_still and await socket.read_message() is not None:
                pass

    async def aclose(self):
        for client in self.clients:
            await client.aclose()
        if self.server is not None:
            self.server.stop()
            await self.server.close_all_connections()
            # Detached ones are the application's: nobody else waits for their last turn.
            async with asyncio.timeout(10):
                for stream in inside.detached_streams(self.server):
                    while inside.lower_transport(stream) is not None:
                        await asyncio.sleep(0)


@pytest.fixture(params=["http", "https"])
def site(request, ssl_options, authority):
    """Return a `Site`, to be closed by the loop's own end."""
    return Site(request.param, ssl_options, authority)


@pytest.fixture(params=["http", "https", "h2"])
def web_site(request, ssl_options, authority):
    """Return a `Site` for WebSockets, over each version of HTTP."""
    http2 = request.param == "h2"
    return Site("https" if http2 else request.param, ssl_options, authority, http2=http2)


@pytest.fixture
def plain_site(ssl_options, authority):
    """Return a `Site` over plain HTTP, for what TLS has no part in."""
    return Site("http", ssl_options, authority)


@pytest.fixture
def ssl_site(ssl_options, authority):
    """Return a `Site` over HTTPS, for what only TLS has."""
    return Site("https", ssl_options, authority)


@pytest.fixture
def quiet(caplog):
    """Fail if anything but access lines is logged from INFO on."""
    caplog.set_level(logging.INFO)
    yield
    records = [r for r in caplog.records if r.name.startswith(LOGGERS)]
    told = [r.getMessage() for r in records if not r.getMessage().startswith("TLS: ")]
    assert told == []


class Echo(tornado.web.RequestHandler):
    """Tells what came."""

    def get(self):
        self.write({name: self.get_arguments(name) for name in self.request.arguments})

    post = get


@on_both_loops
async def test_handlers_sync_and_async(site, quiet):
    """A handler answers at once, or as a coroutine, on one connection."""

    class Sync(tornado.web.RequestHandler):
        def get(self):
            self.write("sync")

    class Async(tornado.web.RequestHandler):
        async def get(self):
            await asyncio.sleep(0)
            self.write("async")

    site.serve([("/sync", Sync), ("/async", Async)])
    for path in ("sync", "async", "sync"):
        answer = await site.client.get(f"/{path}")
        assert (answer.status_code, answer.text) == (200, path)
        assert answer.headers["content-length"] == str(len(path))
        assert answer.headers.get_list("date")[1:] == []


@on_both_loops
async def test_arguments(site, quiet):
    """Arguments come from the query and from a form."""
    site.serve([("/", Echo)])
    answer = await site.client.get("/", params=[("a", "1"), ("a", "ü"), ("b", "&")])
    assert answer.json() == {"a": ["1", "ü"], "b": ["&"]}
    answer = await site.client.post("/?a=1", data={"a": "2", "c": "x y"})
    assert answer.json() == {"a": ["1", "2"], "c": ["x y"]}


@on_both_loops
async def test_multipart_upload(site, quiet):
    """Uploaded files and fields come as they were sent, a chunk's limit or not."""

    class Upload(tornado.web.RequestHandler):
        def post(self):
            (file,) = self.request.files["file"]
            self.write({"name": file.filename, "size": len(file.body), "type": file.content_type})
            assert file["body"] == content
            assert self.get_body_argument("note") == "ü"

    content = bytes(range(256)) * 1000
    site.serve([("/", Upload)])
    files = {"file": ("data.bin", content, "application/x-data")}
    answer = await site.client.post("/", files=files, data={"note": "ü"})
    assert answer.json() == {"name": "data.bin", "size": 256000, "type": "application/x-data"}


@on_both_loops
async def test_stream_request_body(site, quiet):
    """A streaming handler hears pieces before the body is complete, and may hold back more."""
    heard = asyncio.Queue()

    @tornado.web.stream_request_body
    class Stream(tornado.web.RequestHandler):
        async def prepare(self):
            self.request.connection.set_max_body_size(10**6)
            self.request.connection.set_body_timeout(30)
            self.size = 0

        async def data_received(self, chunk):
            await asyncio.sleep(0)
            self.size += len(chunk)
            heard.put_nowait(len(chunk))

        def put(self):
            self.write(str(self.size))

    async def body():
        yield b"x" * 10
        assert await heard.get() == 10
        yield b"x" * 300_000

    site.serve([("/", Stream)], max_body_size=20, chunk_size=65536)
    answer = await site.client.put("/", content=body())
    assert answer.text == "300010"
    pieces = [heard.get_nowait() for _ in range(heard.qsize())]
    assert sum(pieces) == 300_000
    assert max(pieces) <= 65536


@on_both_loops
async def test_flush_and_chunked_answers(site, quiet):
    """What is flushed arrives before the handler goes on, in chunks where no length is known."""
    arrived = asyncio.Event()

    class Slow(tornado.web.RequestHandler):
        async def get(self):
            self.write("first")
            await self.flush()
            await arrived.wait()
            self.write("second")

    site.serve([("/", Slow)])
    async with site.client.stream("GET", "/") as answer:
        chunked = answer.headers.get("transfer-encoding") == "chunked"
        assert chunked == (site.scheme == "http")  # HTTP/2 has frames
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"first"
        arrived.set()
        assert [piece async for piece in pieces] == [b"second"]


@on_both_loops
async def test_large_answer_waits_for_a_slow_client(site, quiet):
    """`flush` holds the handler back while the client does not read."""
    held_back = asyncio.get_running_loop().create_future()

    class Large(tornado.web.RequestHandler):
        async def get(self):
            self.set_header("Content-Length", 512 * 65536)
            for _ in range(512):
                self.write(b"x" * 65536)
                flushed = self.flush()
                if not flushed.done() and not held_back.done():
                    held_back.set_result(True)
                await flushed
            if not held_back.done():
                held_back.set_result(False)

    site.serve([("/", Large)])
    reader, writer = await site.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await held_back
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(512):
        assert await reader.readexactly(65536) == b"x" * 65536
    writer.close()


@on_both_loops
async def test_cookies(site, quiet):
    """Cookies, plain and signed, come back as they were set."""

    class Cookies(tornado.web.RequestHandler):
        def get(self):
            signed = self.get_signed_cookie("user")
            self.write(f"{self.get_cookie('theme')} {signed}")
            self.set_cookie("theme", "dark")
            self.set_signed_cookie("user", "ada")

    site.serve([("/", Cookies)], {"cookie_secret": "s" * 32})
    first = await site.client.get("/")
    assert first.text == "None None"
    assert len(first.headers.get_list("set-cookie")) == 2
    assert (await site.client.get("/")).text == "dark b'ada'"


@on_both_loops
async def test_static_files(site, quiet, tmp_path):
    """Static files answer ranges with 206, known ETags with 304 and HEAD without a body."""
    content = bytes(range(256)) * 2000
    (tmp_path / "file.bin").write_bytes(content)
    site.serve([("/(.*)", tornado.web.StaticFileHandler, {"path": str(tmp_path)})])
    whole = await site.client.get("/file.bin")
    assert whole.content == content
    part = await site.client.get("/file.bin", headers={"Range": "bytes=100-300099"})
    assert (part.status_code, part.content) == (206, content[100:300100])
    assert part.headers["content-range"] == f"bytes 100-300099/{len(content)}"
    known = await site.client.get("/file.bin", headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = await site.client.head("/file.bin")
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
    assert (await site.client.get("/absent")).status_code == 404


@on_both_loops
async def test_compressed_answers(site, quiet):
    """`compress_response` works, and so do gzip bodies with `decompress_request`."""
    site.serve([("/", Echo)], {"compress_response": True}, decompress_request=True)
    answer = await site.client.post(
        "/",
        content=gzip.compress(b"a=" + b"x" * 2000),
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Encoding": "gzip",
            "Accept-Encoding": "gzip",
        },
    )
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"a": ["x" * 2000]}


@on_both_loops
async def test_redirects(site, quiet):
    """Handlers redirect, and so does `RedirectHandler`."""

    class Away(tornado.web.RequestHandler):
        def get(self):
            self.redirect("/target?x=1", permanent=True)

    redirect = (r"/(\w+)/old", tornado.web.RedirectHandler, {"url": "/{0}/new"})
    site.serve([("/away", Away), redirect, ("/.*", Echo)])
    answer = await site.client.get("/away")
    assert (answer.status_code, answer.headers["location"]) == (301, "/target?x=1")
    answer = await site.client.get("/a/old?b=2", follow_redirects=True)
    assert answer.json() == {"b": ["2"]}


@on_both_loops
async def test_error_pages(site, caplog):
    """Errors of handlers become Tornado's pages, and the connection goes on."""

    class Wrong(tornado.web.RequestHandler):
        def get(self, code):
            if code == "500":
                raise ZeroDivisionError("wrong on purpose")
            raise tornado.web.HTTPError(int(code), reason="Because")

        def write_error(self, status_code, **kwargs):
            self.write(f"page of {status_code}")

    site.serve([(r"/(\d+)", Wrong)])
    with caplog.at_level(logging.CRITICAL, "tornado.application"):
        for path, status in (("/500", 500), ("/403", 403), ("/404", 404)):
            answer = await site.client.get(path)
            assert (answer.status_code, answer.text) == (status, f"page of {status}")
    answer = await site.client.get("/403")
    # HTTP/2 has no reasons.
    assert answer.reason_phrase == ("Because" if site.scheme == "http" else "Forbidden")
    assert (await site.client.get("/none")).status_code == 404
    assert (await site.client.post("/403")).status_code == 405
    assert not [r for r in caplog.records if r.name.startswith("edgeserver")]


@on_both_loops
async def test_prepare(site, quiet):
    """`prepare` may be a coroutine, and may finish the request itself."""

    class Guarded(tornado.web.RequestHandler):
        async def prepare(self):
            await asyncio.sleep(0)
            if self.request.headers.get("X-Key") != "right":
                self.set_status(401)
                self.finish("no")

        def get(self):
            self.write("yes")

    site.serve([("/", Guarded)])
    answer = await site.client.get("/")
    assert (answer.status_code, answer.text) == (401, "no")
    assert (await site.client.get("/", headers={"x-key": "right"})).text == "yes"


@on_both_loops
async def test_pipelined_requests_are_answered_in_order(site, quiet):
    """Requests sent ahead wait for the answers before them, however long these take."""

    class Wait(tornado.web.RequestHandler):
        async def get(self, turns):
            for _ in range(int(turns)):
                await asyncio.sleep(0)
            self.write(turns)

    site.serve([(r"/(\d+)", Wait)])
    reader, writer = await site.connect()
    for turns in (20, 0, 10):
        writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % turns)
    for turns in (b"20", b"0", b"10"):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(len(turns)) == turns
    writer.close()


@pytest.mark.parametrize(
    ("request_line", "uri", "host"),
    [
        pytest.param(b"GET http://a.example:81/x?y=1 HTTP/1.1", "/x?y=1", "a.example:81", id="get"),
        pytest.param(b"GET http://a.example HTTP/1.1", "/", "a.example", id="empty-path"),
        pytest.param(b"GET /http://a.example/ HTTP/1.1", "/http://a.example/", "x", id="origin"),
        pytest.param(b"OPTIONS * HTTP/1.1", "*", "x", id="asterisk"),
    ],
)
@on_both_loops
async def test_forms_of_targets(plain_site, quiet, request_line, uri, host):
    """An absolute-form target is routed by its path, and its authority replaces `Host`."""

    class Where(tornado.web.RequestHandler):
        def get(self):
            self.finish(f"{self.request.uri} {self.request.host} {self.request.headers['Host']}")

        options = get

    plain_site.serve([(r"/.*|\*", Where)])
    reader, writer = await plain_site.connect()
    writer.write(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    assert answer.partition(b"\r\n\r\n")[2].decode() == f"{uri} {host} {host}"
    writer.close()


# Clients that vanish.


@on_both_loops
async def test_on_connection_close(site, quiet):
    """A handler hears once that its client has gone, and what it writes then is lost quietly."""
    begun, gone, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    told = []

    class Waiting(tornado.web.RequestHandler):
        async def get(self):
            begun.set()
            await gone.wait()
            self.write("nobody reads this")

        def on_connection_close(self):
            told.append(self.request.path)
            gone.set()

        def on_finish(self):
            done.set()

    site.serve([("/wait", Waiting)])
    _, writer = await site.connect()
    writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    writer.transport.abort()
    await done.wait()
    assert told == ["/wait"]


@on_both_loops
async def test_client_vanishes_during_upload(site, quiet):
    """A streaming handler hears that the rest of its body will not come."""
    gone = asyncio.Event()
    heard = asyncio.Event()

    @tornado.web.stream_request_body
    class Upload(tornado.web.RequestHandler):
        def data_received(self, chunk):
            heard.set()

        def on_connection_close(self):
            super().on_connection_close()
            gone.set()

        def post(self):
            raise AssertionError("the body is never complete")

    site.serve([("/", Upload)])
    _, writer = await site.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\npiece")
    await heard.wait()
    writer.transport.abort()
    await gone.wait()


@on_both_loops
async def test_client_vanishes_during_download(site, quiet, tmp_path):
    """A static file whose reader goes away ends without a word in the log."""
    done = asyncio.Event()

    class Static(tornado.web.StaticFileHandler):
        def on_finish(self):
            done.set()

    (tmp_path / "large.bin").write_bytes(b"x" * 20_000_000)
    site.serve([("/(.*)", Static, {"path": str(tmp_path)})])
    reader, writer = await site.connect()
    writer.write(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await done.wait()


# WebSockets.


class WebEcho(tornado.websocket.WebSocketHandler):
    """Sends back what comes."""

    async def on_message(self, message):
        await self.write_message(message, binary=isinstance(message, bytes))


@on_both_loops
async def test_websocket_echo(web_site, quiet):
    """Messages go both ways, text and binary, from none to a mebibyte."""
    web_site.serve([("/", WebEcho)])
    async with web_site.websocket() as socket:
        for message in ("", "text ü", b"\x00\xff", "x" * 2**20, b"y" * 2**20):
            await socket.write_message(message, binary=isinstance(message, bytes))
            assert await socket.read_message() == message


@on_both_loops
async def test_websocket_closed_by_the_server(web_site, quiet):
    """Code and reason of the handler's close reach the client, after what was sent before."""

    class Closing(tornado.websocket.WebSocketHandler):
        def on_message(self, message):
            self.write_message(b"x" * 100_000, binary=True)
            self.close(4001, "server says")

    web_site.serve([("/", Closing)])
    async with web_site.websocket() as socket:
        await socket.write_message("close")
        assert len(await socket.read_message()) == 100_000
        assert await socket.read_message() is None
        assert (socket.close_code, socket.close_reason) == (4001, "server says")


@on_both_loops
async def test_websocket_closed_by_the_client(web_site, quiet):
    """Code and reason of the client's close reach the handler."""
    ended = asyncio.get_running_loop().create_future()

    class Closed(tornado.websocket.WebSocketHandler):
        def on_close(self):
            ended.set_result((self.close_code, self.close_reason))

    web_site.serve([("/", Closed)])
    async with web_site.websocket() as socket:
        socket.close(4002, "client says")
        assert await ended == (4002, "client says")


@on_both_loops
async def test_websocket_compression_and_pings(web_site, quiet):
    """Compressed messages and pings pass, however small and many."""
    pongs = asyncio.Event()

    class Compressed(WebEcho):
        def open(self):
            self.ping(b"are you there")

        def on_pong(self, data):
            assert data == b"are you there"
            pongs.set()

        def get_compression_options(self):
            return {}

    web_site.serve([("/", Compressed)], {"websocket_ping_interval": 30})
    async with web_site.websocket(compression_options={}) as socket:
        for number in range(200):
            socket.write_message(f"{number}" * 100)
        for number in range(200):
            assert await socket.read_message() == f"{number}" * 100
        await pongs.wait()


@on_both_loops
async def test_websocket_after_a_coroutine_prepare(web_site, quiet):
    """The connection may be detached after the request's end was reported."""

    class Late(WebEcho):
        async def prepare(self):
            for _ in range(5):
                await asyncio.sleep(0)

        def select_subprotocol(self, subprotocols):
            return subprotocols[-1]

    web_site.serve([("/", Late)])
    async with web_site.websocket(subprotocols=["a", "b"]) as socket:
        assert socket.selected_subprotocol == "b"
        await socket.write_message("late")
        assert await socket.read_message() == "late"


@on_both_loops
async def test_websocket_bytes_sent_with_the_handshake(site, quiet):
    """A frame in the same segment as the handshake belongs to the WebSocket."""
    site.serve([("/", WebEcho)])
    reader, writer = await site.connect()
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        b"\x81\x82\x00\x00\x00\x00hi"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.transport.abort()


@on_both_loops
async def test_websocket_client_vanishes(web_site, quiet):
    """A WebSocket whose client goes away hears of it, and writing to it raises Tornado's error."""
    opened = asyncio.Event()
    wrote = asyncio.get_running_loop().create_future()

    class Lost(tornado.websocket.WebSocketHandler):
        def open(self):
            opened.set()

        def on_close(self):
            with pytest.raises(tornado.websocket.WebSocketClosedError):
                self.write_message("too late")
            wrote.set_result(None)

    web_site.serve([("/", Lost)])
    async with web_site.websocket() as socket:
        await opened.wait()
        socket.protocol.stream.close()
        await wrote


@on_both_loops
async def test_websockets_survive_the_servers_end(web_site, quiet):
    """`close_all_connections` leaves WebSockets to the application."""
    web_site.serve([("/", WebEcho)])
    async with web_site.websocket() as socket:
        web_site.server.stop()
        await web_site.server.close_all_connections()
        await socket.write_message("still there")
        assert await socket.read_message() == "still there"


@on_both_loops
async def test_detached_stream(site, quiet):
    """A handler that detaches has the connection as a stream of bytes."""

    class Detach(tornado.web.RequestHandler):
        async def get(self):
            stream = self.detach()
            assert isinstance(stream, IOStream)
            await stream.write(b"raw ")
            await stream.write(await stream.read_until(b"\n"))
            with pytest.raises(tornado.iostream.StreamClosedError):
                await stream.read_bytes(1)
            stream.close()

    site.serve([("/", Detach)])
    reader, writer = await site.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nhello\n")
    assert await reader.readexactly(10) == b"raw hello\n"
    writer.close()


# Who the client is.


class Whoami(tornado.web.RequestHandler):
    """Tells who the client is taken for."""

    def get(self):
        request = self.request
        assert str(request.connection.context) == request.remote_ip
        self.write(
            {"ip": request.remote_ip, "protocol": request.protocol, "url": request.full_url()}
        )


XHEADERS = {"xheaders": True, "trusted_downstream": ["10.0.0.2"]}


@pytest.mark.parametrize(
    ("options", "headers", "ip", "protocol"),
    [
        pytest.param({}, {"X-Forwarded-For": "203.0.113.9"}, "127.0.0.1", None, id="peer"),
        pytest.param({}, {"X-Scheme": "https"}, "127.0.0.1", None, id="peer-scheme"),
        pytest.param(
            {"xheaders": True},
            {"X-Real-Ip": "203.0.113.9", "X-Scheme": "https"},
            "203.0.113.9",
            "https",
            id="xheaders-real-ip",
        ),
        pytest.param(
            XHEADERS,
            {"X-Forwarded-For": "203.0.113.9, 10.0.0.2", "X-Forwarded-Proto": "http,https"},
            "203.0.113.9",
            "https",
            id="xheaders-forwarded",
        ),
        pytest.param(
            {"trust": TrustPolicy(["127.0.0.0/8", "10.0.0.0/8"])},
            {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.2", "X-Forwarded-Proto": "https"},
            "203.0.113.9",
            "https",
            id="trust",
        ),
        pytest.param(
            {"trust": TrustPolicy(["10.0.0.0/8"])},
            {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"},
            "127.0.0.1",
            None,
            id="trust-not-this-peer",
        ),
        pytest.param({"protocol": "https"}, {}, "127.0.0.1", "https", id="protocol"),
    ],
)
@on_both_loops
async def test_remote_ip_and_protocol(site, quiet, options, headers, ip, protocol):
    """Handlers see the resolved client; the next request on the connection is judged anew."""
    site.serve([("/.*", Whoami)], **options)
    protocol = protocol or site.scheme
    answer = await site.client.get("/x?y", headers=headers)
    url = f"{protocol}://127.0.0.1:{site.port}/x?y"
    assert answer.json() == {"ip": ip, "protocol": protocol, "url": url}
    again = (await site.client.get("/")).json()
    assert (again["ip"], again["protocol"]) == ("127.0.0.1", options.get("protocol") or site.scheme)


@on_both_loops
async def test_client_certificate(ssl_site, quiet, authority, tmp_path):
    """`get_ssl_certificate` gives the client's certificate, and None where it sent none."""

    class Certificate(tornado.web.RequestHandler):
        def get(self):
            certificate = self.request.get_ssl_certificate()
            binary = self.request.get_ssl_certificate(binary_form=True)
            self.write(json.dumps([certificate, binary and binary.hex()]))

    ssl_site.serve([("/", Certificate)])
    assert (await ssl_site.client.get("/")).json() == [None, None]
    alice = pki.make_client(authority, "alice")
    context = pki.client_context(authority, alice, directory=tmp_path)
    async with httpx.AsyncClient(verify=context) as client:
        certificate, binary = (await client.get(ssl_site.url("/"))).json()
    assert certificate["subject"] == [[["commonName", "alice"]]]
    assert binary == alice.der.hex()


# What is refused, and other delegates than an Application.


@pytest.mark.skipif(tornado.version_info < (6, 6), reason="Tornado bounds arguments since 6.5.9")
@on_both_loops
async def test_tornados_input_errors_are_answered_400(plain_site, caplog):
    """What Tornado refuses while it makes its request is the client's mistake, not a failure."""
    caplog.set_level(logging.INFO)
    plain_site.serve([("/", Echo)])
    query = "&".join(["a=1"] * 1001)
    answer = await plain_site.client.get(f"/?{query}")
    assert answer.status_code == 400
    assert answer.headers["connection"] == "close"
    (record,) = [r for r in caplog.records if r.name.startswith(LOGGERS)]
    assert (record.name, record.levelname) == ("edgeserver.general", "INFO")
    assert record.getMessage().startswith("Malformed HTTP message from 127.0.0.1: Invalid query")
    assert record.exc_info is None


@on_both_loops
async def test_delegates_written_against_tornado(plain_site, quiet):
    """A delegate that derives from Tornado's interfaces gets Tornado's start line."""

    class Message(tornado.httputil.HTTPMessageDelegate):
        def __init__(self, connection):
            self.connection = connection

        def headers_received(self, start_line, headers):
            assert type(start_line) is tornado.httputil.RequestStartLine
            self.text = f"{start_line.method} {start_line.path} {headers['X-Key']}".encode()

        def finish(self):
            start_line = tornado.httputil.ResponseStartLine("", 200, "OK")
            headers = tornado.httputil.HTTPHeaders({"Content-Length": str(len(self.text))})
            self.connection.write_headers(start_line, headers, self.text)
            self.connection.finish()

    class Delegate(tornado.httputil.HTTPServerConnectionDelegate):
        closed = 0

        def start_request(self, server_conn, request_conn):
            return Message(request_conn)

        def on_close(self, server_conn):
            self.closed += 1

    delegate = Delegate()
    plain_site.serve(delegate)
    answer = await plain_site.client.get("/a", headers={"X-Key": "v"})
    assert answer.text == "GET /a v"
    await plain_site.client.aclose()
    await plain_site.server.close_all_connections()
    assert delegate.closed == 1


@on_both_loops
async def test_router_and_wsgi_container(plain_site, quiet):
    """Routers of applications, functions and WSGI containers work as delegates."""

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    def function(request):
        request.connection.write_headers(
            tornado.httputil.ResponseStartLine("HTTP/1.1", 200, "OK"),
            tornado.httputil.HTTPHeaders({"Content-Length": "4"}),
            b"call",
        )
        request.connection.finish()

    paths = tornado.routing.PathMatches
    router = tornado.routing.RuleRouter(
        [
            tornado.routing.Rule(paths("/app.*"), tornado.web.Application([("/app", Echo)])),
            tornado.routing.Rule(paths("/wsgi.*"), tornado.wsgi.WSGIContainer(wsgi)),
            tornado.routing.Rule(paths("/call"), function),
        ]
    )
    plain_site.serve(router)
    assert (await plain_site.client.get("/app?a=1")).json() == {"a": ["1"]}
    assert (await plain_site.client.get("/wsgi/x")).text == "/wsgi/x"
    assert (await plain_site.client.get("/call")).text == "call"
    assert (await plain_site.client.get("/none")).status_code == 404


@on_both_loops
async def test_subclass_that_overrides_start_request(plain_site, quiet):
    """`HTTPServer.start_request` may be overridden in front of an application."""
    seen = []

    class Server(HTTPServer):
        def start_request(self, server_conn, request_conn):
            seen.append(request_conn.context.remote_ip)
            return super().start_request(server_conn, request_conn)

    plain_site.server = Server(tornado.web.Application([("/", Echo)]))
    plain_site.server.listen(0, "127.0.0.1")
    assert (await plain_site.client.get("/?a=1")).json() == {"a": ["1"]}
    assert seen == ["127.0.0.1"]


# The shim itself.


def test_applications_are_recognised():
    """`detect_interface` and `make_delegate` lead to the adapter, which is a plain delegate."""
    app = tornado.web.Application()
    assert detect_interface(app) == "tornado"
    adapter = make_delegate("tornado", app)
    assert isinstance(adapter, TornadoAdapter)
    assert detect_interface(adapter) == "delegate"


def test_errors_for_closed_connections_are_both():
    """A closed connection's error is ours and Tornado's, and says what closed it."""
    HTTPServer(tornado.web.Application())
    cause = ConnectionResetError("gone")
    error = closed_error(cause)
    assert isinstance(error, StreamClosedError)
    assert isinstance(error, tornado.iostream.StreamClosedError)
    assert error.real_error is cause
    assert type(error) is type(closed_error())


def test_tornado_is_never_imported_by_us():
    """Without Tornado nothing changes, and imported later its `except` clauses still work."""
    program = """
import sys
from edgeserver.adapters.tornado import TornadoAdapter
from edgeserver.errors import ConfigurationError, StreamClosedError
from edgeserver.httpserver import HTTPServer
from edgeserver.iostream import closed_error
HTTPServer(lambda request: None)
assert type(closed_error()) is StreamClosedError
try:
    TornadoAdapter(object())
except ConfigurationError as error:
    assert "tornado.httputil was never imported" in str(error)
else:
    raise AssertionError("an object is no application")
assert not [name for name in sys.modules if name.partition(".")[0] == "tornado"]
import tornado.iostream
assert isinstance(closed_error(), tornado.iostream.StreamClosedError)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_program_moves_by_one_import():
    """Tornado's `IOLoop` runs our server as it ran Tornado's, and so do its other services."""
    program = """
import tornado.httpclient
import tornado.ioloop
import tornado.web
from edgeserver.httpserver import HTTPServer

class Main(tornado.web.RequestHandler):
    def get(self):
        self.write("moved")

server = HTTPServer(tornado.web.Application([("/", Main)]))
server.listen(0, "127.0.0.1")

async def fetch():
    port = server.listeners[0].socket.getsockname()[1]
    answer = await tornado.httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
    assert answer.body == b"moved"
    server.stop()
    await server.close_all_connections()

tornado.ioloop.IOLoop.current().run_sync(fetch)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
