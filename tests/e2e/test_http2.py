"""HTTP/2 with real parts: curl, nghttp, h2load, httpx, HAProxy, nginx, nghttpx."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h2.events
import pytest
import tornado.web
from websockets.asyncio.client import connect

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.asker import Asker
from tests.e2e.proxies import haproxy_http, nghttpx, nginx_grpc, nginx_http
from tests.e2e.site import address_of, answer, fetch, program, serve
from tests.http2.bridge import H2Client
from tests.loops import on_both_loops

BODY = bytes(range(256)) * 4096
"""1 MiB: more than any window at first."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body that came, and a trailer where the client takes one."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    version = scope["http_version"].encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"x-version", version)],
            "trailers": True,
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with the body that came."""
    version = environ["SERVER_PROTOCOL"].partition("/")[2]
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Version", version), ("Content-Length", str(len(body)))])
    return [body]


def callback(request: Any) -> None:
    """Answer with the body that came."""
    fields = [(b"x-version", request.version.partition("/")[2].encode())]
    request.connection.write_headers(("", 200, "OK"), fields, request.body, whole=True)
    request.connection.finish()


class Echo(tornado.web.RequestHandler):
    """Answers with the body that came."""

    def post(self) -> None:
        """Answer."""
        self.set_header("X-Version", self.request.version.partition("/")[2])
        self.write(self.request.body)

    get = post


KINDS: dict[str, Callable[[], Any]] = {
    "asgi": lambda: ASGIAdapter(asgi, lifespan="off"),
    "wsgi": lambda: WSGIAdapter(wsgi),
    "callback": lambda: callback,
    "tornado": lambda: tornado.web.Application([("/.*", Echo)]),
}


async def run(*command: str, given: bytes = b"") -> bytes:
    """Run a client; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(given)
    assert process.returncode == 0, output[-2000:]
    return output


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_curl_uploads_and_downloads(
    kind: str, secure: bool, pair: Any, ca_file: Path
) -> None:
    """1 MiB each way, whatever application answers."""
    options = {"ssl_options": pair} if secure else {}
    async with serve(KINDS[kind](), http2=True, **options) as server:
        host, port = address_of(server)
        how = ["--http2-prior-knowledge", f"http://{host}:{port}/"]
        if secure:
            how = ["--http2", "--cacert", str(ca_file), f"https://localhost:{port}/"]
        curl = [
            program("curl"),
            "-s",
            "--data-binary",
            "@-",
            "-D",
            "-",
            "-H",
            "content-type: text/x",
            *how,
        ]
        printed = await run(*curl, given=BODY)
    head, _, body = printed.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 200")
    assert b"x-version: 2" in head
    assert body.removesuffix(b"x-sum: 7\r\n\r\n") == BODY


async def test_nghttp_asks_for_several_things_at_once() -> None:
    """With the old priorities, trailers, and a GOAWAY at the end."""
    async with serve(KINDS["asgi"](), http2=True) as server:
        host, port = address_of(server)
        urls = [f"http://{host}:{port}/{number}" for number in range(20)]
        shown = (await run(program("nghttp"), "-nv", "-H", "te: trailers", *urls)).decode()
    assert len(re.findall(r":status: .*200", shown)) == 20
    assert len(re.findall(r"x-sum: .*7", shown)) == 20
    assert "RST_STREAM" not in shown


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_h2load_loses_nothing(secure: bool, pair: Any) -> None:
    """Many streams on several connections, all answered."""
    options = {"ssl_options": pair} if secure else {}
    async with serve(KINDS["callback"](), http2=True, **options) as server:
        host, port = address_of(server)
        url = f"http{'s' if secure else ''}://{host}:{port}/"
        shown = await run(program("h2load"), "-n", "400", "-c", "4", "-m", "32", url)
    assert b"400 succeeded, 0 failed, 0 errored, 0 timeout" in shown


@on_both_loops
async def test_a_drain_loses_nothing() -> None:
    """All that a client asks for while a server stops is answered, or said not to have been."""

    async def app(request: Any) -> None:
        await asyncio.sleep(0)
        callback(request)

    async with serve(app, http2=True) as server:
        askers = [Asker(*await asyncio.open_connection(*address_of(server))) for _ in range(3)]
        asking = [asyncio.ensure_future(each.keep_asking()) for each in askers]
        while min(each.answered for each in askers) < 40:
            await asyncio.sleep(0)
        assert await server.drain(30)
        await asyncio.gather(*asking)
        for each in askers:
            assert not each.open
            assert each.last < 2**31
            each.writer.close()


def whose(request: Any) -> None:
    """Answer with the client, after a while: requests of several are in flight together."""
    asyncio.get_running_loop().call_later(
        0.05, answer, request, json.dumps([request.remote_ip, request.version])
    )


async def test_behind_haproxy(tmp_path: Path) -> None:
    """It speaks HTTP/2 to us, with several clients on one connection; each is itself."""
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(whose, http2="only", trust=trust) as server:
        with haproxy_http(
            tmp_path, backend=address_of(server), keepalive=True, http2=True
        ) as proxy:
            clients = [f"127.0.0.{number}" for number in range(2, 12)] * 2
            told = await asyncio.gather(*(fetch(proxy.address, source=ip) for ip in clients))
            assert [json.loads(each.body) for each in told] == [[ip, "HTTP/2"] for ip in clients]
            assert server.open_connections < len(clients)


async def test_behind_nginx(tmp_path: Path) -> None:
    """It speaks HTTP/2 to servers behind it since 1.29.4; each client is itself."""
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(whose, http2="only", trust=trust) as server:
        with nginx_http(tmp_path, backend=address_of(server), keepalive=True, http2=True) as proxy:
            clients = [f"127.0.0.{number}" for number in range(2, 12)] * 2
            told = await asyncio.gather(*(fetch(proxy.address, source=ip) for ip in clients))
            assert [json.loads(each.body) for each in told] == [[ip, "HTTP/2"] for ip in clients]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upload_through_nginx(kind: str, tmp_path: Path) -> None:
    """1 MiB each way, in HTTP/2 from nginx to us."""
    async with serve(KINDS[kind](), http2="only") as server:
        with nginx_http(
            tmp_path, backend=address_of(server), http2=True, extra="client_max_body_size 2m;"
        ) as proxy:
            url = f"http://127.0.0.1:{proxy.port}/"
            given = ["--data-binary", "@-", "-H", "content-type: text/x", "-D", "-"]
            printed = await run(program("curl"), "-s", *given, url, given=BODY)
    head, _, body = printed.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"x-version: 2" in head.lower()
    assert body == BODY


async def test_behind_nghttpx(tmp_path: Path) -> None:
    """Another proxy that has many clients on one connection; each is itself."""
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(whose, http2="only", trust=trust) as server:
        with nghttpx(tmp_path, address_of(server)) as proxy:
            clients = [f"127.0.0.{number}" for number in range(2, 12)]
            told = await asyncio.gather(*(fetch(proxy.address, source=ip) for ip in clients))
            assert [json.loads(each.body) for each in told] == [[ip, "HTTP/2"] for ip in clients]


async def test_a_prelude_before_http2(tmp_path: Path) -> None:
    """The client that a PROXY prelude names is that of each request of its connection."""
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(whose, http2="only", trust=trust, proxy_protocol="v2") as server:
        with haproxy_http(
            tmp_path, backend=address_of(server), http2=True, send_proxy=True
        ) as proxy:
            told = [await fetch(proxy.address, source=f"127.0.0.{last}") for last in (5, 6, 5)]
    assert [json.loads(each.body)[0] for each in told] == ["127.0.0.5", "127.0.0.6", "127.0.0.5"]


async def test_a_websocket_through_haproxy(tmp_path: Path) -> None:
    """It asks us in HTTP/2 for what its client has asked it in HTTP/1.1."""
    versions = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        versions.append(scope["http_version"])
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async with serve(ASGIAdapter(echo, lifespan="off"), http2="only") as server:
        with haproxy_http(tmp_path, backend=address_of(server), http2=True) as proxy:
            async with connect(f"ws://127.0.0.1:{proxy.port}/ws") as client:
                for message in ("hello", "x" * 200_000):
                    await client.send(message)
                    assert await client.recv() == message
            assert client.close_code == 1000
    assert versions == ["2"]


async def grpc(scope: Any, receive: Any, send: Any) -> None:
    """Answer each message of a stream at once, and say how it went in trailers."""
    fields = [(b"content-type", b"application/grpc")]
    start = {"type": "http.response.start", "status": 200, "headers": fields, "trailers": True}
    await send(start)
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        if message["body"]:
            piece = message["body"].upper()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    trailers = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
    await send({"type": "http.response.trailers", "headers": trailers})


@pytest.mark.parametrize("ending", ["trailers", "data"])
async def test_a_call_that_streams_both_ways(ending: str) -> None:
    """As gRPC does: an answer to each message before the next, trailers from both sides."""
    async with serve(ASGIAdapter(grpc, lifespan="off"), http2=True) as server:
        answers, trailers = await call(address_of(server)[1], ending)
    assert answers == [b"ONE", b"TWO"]
    assert trailers == {"grpc-status": "0", "grpc-message": ""}


async def test_a_call_through_nginx(tmp_path: Path) -> None:
    """Its `grpc_pass` passes on what streams, and the trailers."""
    async with serve(ASGIAdapter(grpc, lifespan="off"), http2="only") as server:
        with nginx_grpc(tmp_path, address_of(server)) as proxy:
            answers, trailers = await call(proxy.port, "data")
    assert answers == [b"ONE", b"TWO"]
    assert trailers == {"grpc-status": "0", "grpc-message": ""}


async def call(port: int, ending: str) -> tuple[list[bytes], dict[str, str]]:
    """Call a method of gRPC's with two messages; return the answers to both, and the trailers."""
    client = await H2Client.connect(port)
    await client.settle()
    pseudo = {":method": "POST", ":scheme": "http", ":path": "/a.B/Call", ":authority": "a"}
    fields = [("te", "trailers"), ("content-type", "application/grpc")]
    client.h2.send_headers(1, [*pseudo.items(), *fields])
    answers = []
    for message in (b"one", b"two"):
        await client.send(1, message)
        answers.append((await next_of(client, h2.events.DataReceived)).data)
    if ending == "trailers":
        client.h2.send_headers(1, [("x-checksum", "7")], end_stream=True)
    else:
        client.h2.end_stream(1)
    client.flush()
    trailers = (await next_of(client, h2.events.TrailersReceived)).headers
    await client.close()
    return answers, dict(trailers)


async def next_of(client: H2Client, kind: type[Any]) -> Any:
    """Return the next event of a kind."""
    while not isinstance(event := await client.events.get(), kind):
        assert event is not None
    return event
