"""A PROXY header on a listener that takes none is told as what it is."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, render_v1, render_v2
from tests.e2e.site import address_of, connected, serve
from tests.tls import pki

NAMED = Prelude(1, "PROXY", "203.0.113.9", 4711, "198.51.100.2", 443)
HEADERS = {
    "v1": render_v1(NAMED),
    "v1-unknown": b"PROXY UNKNOWN\r\n",
    "v2": render_v2(NAMED),
    "v2-local": render_v2(Prelude(2, "LOCAL")),
}
HEADER = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
REST = {"http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "tls": b"\x16\x03\x01\x02\x00", "alone": b""}


def version_of(header: bytes) -> str:
    """Return which version a header is of."""
    return "v1" if header[:1] == b"P" else "v2"


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    """Return the `ssl_options` of a certificate."""
    return pki.write_pair(tmp_path, pki.make_leaf(pki.make_ca("Root")))


async def sent(server: Any, data: bytes) -> None:
    """Send bytes, end, and wait until the server has ended too."""
    async with connected(address_of(server)) as client:
        await client.send(data)
        try:
            client.writer.write_eof()
            await client.reader.read()
        except ConnectionError:
            pass


@HEADER
@pytest.mark.parametrize("rest", REST.values(), ids=REST)
async def test_on_a_plain_port(
    header: bytes, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no malformed request line, and no control character: the sender is set up wrong."""
    version = version_of(header)
    async with serve() as server:
        await sent(server, header + rest)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert line == (
        f"connection from 127.0.0.1 refused: this is a PROXY {version} header; this listener takes "
        f"none: give it --bind ...,proxy={version} and --trust 127.0.0.1 "
        f"(proxy_protocol='{version}' and trust=), or turn it off there"
    )
    assert not any("Malformed" in record.getMessage() for record in caplog.records)


@HEADER
@pytest.mark.parametrize("rest", REST.values(), ids=REST)
async def test_on_a_tls_port(
    header: bytes, rest: bytes, pair: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is not "neither TLS nor HTTP", and counts as what it is."""
    async with serve(ssl_options=pair) as server:
        await sent(server, header + rest)
        assert dict(server.tls.limiter.log.counts) == {"proxy-prelude": 1}
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert f"this is a PROXY {version_of(header)} header; this listener takes none: " in line
    assert "--trust 127.0.0.1" in line


@HEADER
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_second_one(
    header: bytes, secure: bool, pair: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Where one was taken, another one is told as that."""
    options: dict[str, Any] = {"ssl_options": pair} if secure else {}
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(trust=trust, proxy_protocol="any", **options) as server:
        await sent(server, render_v2(NAMED) + header + REST["http"])
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert f"this is a second PROXY {version_of(header)} header; the listener takes one" in line


async def test_lines_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that is set up wrong sends one for each request: five lines a minute are enough."""
    async with serve() as server:
        for _ in range(9):
            await sent(server, HEADERS["v1"])
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 5


async def test_a_method_of_that_name(caplog: pytest.LogCaptureFixture) -> None:
    """`PROXY /` is a request as good as any, and a malformed one is told as that."""
    caplog.set_level("INFO")
    async with serve() as server:
        async with connected(address_of(server)) as client:
            await client.send(b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer()).status == 200
        await sent(server, b"PROXY /a b HTTP/1.1\r\n\r\n")
    assert "Malformed HTTP message" in caplog.records[-1].getMessage()


# Checks of load balancers.


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("prelude", [b"", render_v2(Prelude(2, "LOCAL"))], ids=["silent", "local"])
async def test_a_check_leaves_no_line(
    how: str,
    secure: bool,
    prelude: bytes,
    pair: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer that leaves without a byte, or with a LOCAL header alone, is routine."""
    caplog.set_level("INFO")
    options: dict[str, Any] = {"ssl_options": pair} if secure else {}
    trust = TrustPolicy(["127.0.0.1"])
    async with serve(trust=trust, proxy_protocol="v2", **options) as server:
        for _ in range(3):
            async with connected(address_of(server)) as client:
                await client.send(prelude)
                if how == "reset":
                    sock = client.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    client.writer.transport.abort()
                else:
                    client.writer.write_eof()
                    await client.reader.read()
        # once this is answered, those before it are over
        async with connected(address_of(server)) as client:
            await client.send(b"X")
            assert await client.ended()
        counted = server.trust.finding_counts
        assert counted["proxy-prelude-missing"] == 1
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "the connection starts with X" in lines[0]
