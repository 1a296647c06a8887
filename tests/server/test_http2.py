"""Where HTTP/2 is spoken: by ALPN over TLS, by prior knowledge without, and where it is not."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx
import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import Client, address_of, serve, tell
from tests.http1.conversation import App
from tests.tls import pki

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
GET = b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01a"
GET_OLD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def authority() -> pki.Issued:
    """Return an authority."""
    return pki.make_ca("Root")


@pytest.fixture
def options(authority: pki.Issued, tmp_path: Any) -> dict[str, Any]:
    """Return the `ssl_options` of a server."""
    return dict(pki.write_pair(tmp_path, pki.make_leaf(authority)))


async def ask(server: Any, *, tls: ssl.SSLContext | None = None, **client: Any) -> httpx.Response:
    """Ask with httpx."""
    host, port = address_of(server)
    scheme = "http" if tls is None else "https"
    name = host if tls is None else "localhost"
    async with httpx.AsyncClient(verify=tls or True, trust_env=False, **client) as asking:
        return await asking.get(f"{scheme}://{name}:{port}/")


async def first_bytes(server: Any, data: bytes, *pieces: bytes) -> bytes:
    """Return the first bytes that the server sends, nine of them."""
    host, port = address_of(server)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for piece in (data, *pieces):
            writer.write(piece)
            await writer.drain()
        return await reader.readexactly(9)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("http2", "versions", "got"),
    [
        pytest.param(True, (True, True), "HTTP/2", id="on"),
        pytest.param(True, (True, False), "HTTP/1.1", id="on, for an old client"),
        pytest.param(False, (True, True), "HTTP/1.1", id="off"),
        pytest.param("only", (True, True), "HTTP/2", id="only"),
    ],
)
async def test_alpn_chooses(
    authority: pki.Issued,
    options: dict[str, Any],
    http2: Any,
    versions: tuple[bool, bool],
    got: str,
) -> None:
    """The best that both speak."""
    async with serve(tell, ssl_options=options, http2=http2) as server:
        tls = pki.client_context(authority)
        answer = await ask(server, tls=tls, http1=versions[0], http2=versions[1])
    assert answer.http_version == got
    assert answer.json()["tls"] == "TLSv1.3"


async def test_a_forbidden_suite_is_not_offered_with_it(
    authority: pki.Issued, options: dict[str, Any]
) -> None:
    """Where one of RFC 9113's Appendix A may be negotiated, HTTP/2 is not."""
    tls = pki.client_context(authority)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ALL:@SECLEVEL=0")
    options |= {"ciphers": "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA", "min_version": "TLSv1.2"}
    async with serve(tell, ssl_options=options, http2=True) as server:
        assert (await ask(server, tls=tls, http2=True)).http_version == "HTTP/1.1"


@pytest.mark.parametrize("cut", [0, 1, 10, 16, 18, 20, 24, 30])
async def test_prior_knowledge_without_tls(cut: int) -> None:
    """A client that begins with the preface is answered in kind, however that is cut."""
    async with serve(tell, http2=True) as server:
        data = PREFACE + GET
        assert await first_bytes(server, data[:cut], data[cut:]) == b"\0\0\x18\x04\0\0\0\0\0"
        assert (await ask(server)).http_version == "HTTP/1.1"
        assert (await ask(server, http1=False, http2=True)).http_version == "HTTP/2"


@pytest.mark.parametrize("http2", [True, False])
async def test_the_preface_after_a_request_is_no_preface(http2: bool) -> None:
    """Nor is it where HTTP/2 is not spoken; an Upgrade to it is ignored."""
    async with serve(tell, http2=http2) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        client = Client(reader, writer)
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
        await client.send(GET_OLD[:-2] + upgrade + b"\r\n")
        assert (await client.answer()).status == 200
        await client.send(PREFACE)
        assert (await client.answer()).status == 505
        writer.close()
        if not http2:
            assert await first_bytes(server, PREFACE) == b"HTTP/1.1 "


async def test_nothing_else_than_http2(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that does not know is told by GOAWAY, and the log says what it has sent."""
    caplog.set_level("INFO")
    async with serve(tell, http2="only") as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(GET_OLD)
        told = await reader.read()
        assert b"\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01" in told
        writer.close()
        assert (await ask(server, http1=False, http2=True)).http_version == "HTTP/2"
    assert "GET / HTTP/1.1" in caplog.text


async def test_a_prelude_before_the_preface() -> None:
    """What a PROXY header says is true of every stream."""
    prelude = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 80\r\n"
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(tell, http2=True, trust=trust, proxy_protocol="v1") as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(prelude + PREFACE + GET)
        seen = b""
        while b'"198.51.100.7"' not in seen:
            piece = await reader.read(4096)
            assert piece
            seen += piece
        writer.close()


@pytest.mark.parametrize("http2", ["yes", 1, None])
def test_what_http2_may_be(http2: Any) -> None:
    """A wrong value is refused, with what may stand there."""
    with pytest.raises(ConfigurationError, match="give True, False or 'only'"):
        HTTPServer(tell, http2=http2)


async def test_a_connection_that_is_handed_over_is_counted_once() -> None:
    """It is one connection for all limits, and one that has closed in the end."""
    app = App()
    server = HTTPServer(app, http2=True, max_connections_per_client=1)
    server.add_sockets(bind_sockets(0, "127.0.0.1"))
    reader, writer = await asyncio.open_connection(*address_of(server))
    writer.write(PREFACE + GET)
    assert await reader.readexactly(9)
    assert server.open_connections == 1
    other = await asyncio.open_connection(*address_of(server))
    assert await other[0].read() == b""
    other[1].close()
    writer.close()
    server.stop()
    await server.close_all_connections()
    assert app.closed == 1
    assert server.open_connections == 0
