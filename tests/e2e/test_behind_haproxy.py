"""Behind a real HAProxy: http mode with a header, tcp mode with a PROXY prelude, TLS behind it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from edgeserver.netutil import bind_sockets
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.proxies import haproxy_http, haproxy_tcp, nginx_http
from tests.e2e.site import address_of, answer, connected, fetch, serve
from tests.loops import on_both_loops
from tests.tls import pki

HAPROXY = "127.0.0.1"
CLIENT = "127.0.0.2"
"""The loopback address that clients come from, so that they differ from the proxy."""

FORGED = {
    "none": b"",
    "x-forwarded-for": b"X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n",
    "x-forwarded-for-lines": b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 127.0.0.1\r\n",
    "forwarded": b"Forwarded: for=6.6.6.6;proto=https, for=127.0.0.1\r\n",
    "dangling-quote": b'Forwarded: for="6.6.6.6\r\n',
    "dangling-escape": b'Forwarded: for="6.6.6.6\\\r\n',
    "x-real-ip": b"X-Real-Ip: 6.6.6.6\r\n",
    "proto": b"X-Forwarded-Proto: https\r\n",
}
"""What a client may write to be taken for another."""


@pytest.fixture
def bundle(authority: pki.Issued, tmp_path: Path) -> Path:
    """Return one file with chain and key, as HAProxy wants it."""
    leaf = pki.make_leaf(authority)
    path = tmp_path / "haproxy.pem"
    path.write_bytes(leaf.pem + leaf.key_pem)
    return path


@on_both_loops
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
async def test_http_mode(tmp_path: Path, header: Any, bundle: Path, trusting) -> None:
    """The header that HAProxy adds names the client and the scheme; a client's own never do."""
    async with serve(trust=TrustPolicy([HAPROXY], source=header)) as server:
        for tls in (None, trusting):
            scheme = "http" if tls is None else "https"
            with haproxy_http(
                tmp_path,
                backend=address_of(server),
                header=header,
                certificate=None if tls is None else bundle,
            ) as proxy:
                for name, claim in FORGED.items():
                    seen = (await fetch(proxy.address, claim, source=CLIENT, tls=tls)).seen
                    assert (seen["ip"], seen["scheme"]) == (CLIENT, scheme), name
                    assert (seen["peer"], seen["verified"]) == (HAPROXY, True)
                    assert seen["reason"] == "first-untrusted"


@on_both_loops
async def test_http_mode_under_xheaders(tmp_path: Path) -> None:
    """Tornado's contract finds the client, too; only X-Real-Ip, which HAProxy passes, forges."""
    async with serve(xheaders=True) as server:
        with haproxy_http(tmp_path, backend=address_of(server)) as proxy:
            for name, claim in FORGED.items():
                seen = (await fetch(proxy.address, claim, source=CLIENT)).seen
                assert seen["ip"] == ("6.6.6.6" if name == "x-real-ip" else CLIENT), name
                assert seen["scheme"] == "http"


@on_both_loops
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
async def test_kept_connections_carry_several_clients(tmp_path: Path, header: Any) -> None:
    """HAProxy sends whoever asks next over the connection it has: each is told apart."""
    async with serve(trust=TrustPolicy([HAPROXY], source=header)) as server:
        with haproxy_http(
            tmp_path, backend=address_of(server), header=header, keepalive=True
        ) as proxy:
            connections = set()
            for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4") * 9:
                seen = (await fetch(proxy.address, source=source)).seen
                assert seen["ip"] == source
                connections.add(seen["peer_port"])
            assert len(connections) < 9  # one for each of its threads, or a few


@on_both_loops
async def test_a_unix_socket_behind_haproxy(tmp_path: Path) -> None:
    """HAProxy reaches a Unix socket; it is believed where `unix:` is listed."""
    path = str(tmp_path / "up.sock")
    async with serve(path=path, trust=TrustPolicy(["unix:"])):
        with haproxy_http(tmp_path, backend=path) as proxy:
            seen = (await fetch(proxy.address, FORGED["x-forwarded-for"], source=CLIENT)).seen
            assert (seen["ip"], seen["peer"], seen["verified"]) == (CLIENT, "0.0.0.0", True)


PRELUDES = [
    pytest.param("v1", "v1", id="v1"),
    pytest.param("v2", "v2", id="v2"),
    pytest.param("v1", "any", id="v1-any"),
    pytest.param("v2", "any", id="v2-any"),
]


@on_both_loops
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("sent", "expected"), PRELUDES)
async def test_tcp_mode(
    tmp_path: Path, sent: Any, expected: str, tls: bool, pair, trusting
) -> None:
    """A prelude names the client for every request of a connection, with TLS behind it or not."""
    options: dict[str, Any] = {"ssl_options": pair} if tls else {}
    async with serve(trust=TrustPolicy([HAPROXY]), proxy_protocol=expected, **options) as server:
        with haproxy_tcp(tmp_path, backend=address_of(server), send_proxy=sent) as proxy:
            async with connected(
                proxy.address, source=CLIENT, tls=trusting if tls else None
            ) as client:
                port = client.writer.get_extra_info("sockname")[1]
                for claim in FORGED.values():
                    seen = (await client.ask(claim)).seen
                    assert (seen["ip"], seen["port"]) == (CLIENT, port)
                    assert (seen["peer"], seen["scheme"]) == (HAPROXY, "https" if tls else "http")
                    names = {name for name, _ in seen["fields"]}
                    assert not names & {"x-forwarded-for", "forwarded", "x-real-ip"}


@on_both_loops
async def test_tcp_mode_over_a_unix_socket(tmp_path: Path) -> None:
    """The prelude comes over a Unix socket as well."""
    path = str(tmp_path / "up.sock")
    async with serve(path=path, trust=TrustPolicy(["unix:"]), proxy_protocol="v2"):
        with haproxy_tcp(tmp_path, backend=path, send_proxy="v2") as proxy:
            assert (await fetch(proxy.address, source=CLIENT)).seen["ip"] == CLIENT


@on_both_loops
async def test_tls_ended_at_haproxy(tmp_path: Path, bundle: Path, trusting) -> None:
    """A prelude that says the client spoke TLS makes the scheme https, and has its details."""
    preludes = []

    def app(request):
        preludes.append(request.client.prelude)
        answer(request, f"{request.remote_ip} {request.protocol}")

    trusting.set_alpn_protocols(["http/1.1"])
    async with serve(app, trust=TrustPolicy([HAPROXY]), proxy_protocol="v2") as server:
        with haproxy_tcp(
            tmp_path,
            backend=address_of(server),
            send_proxy="v2",
            certificate=bundle,
            v2_options="ssl,ssl-cipher,authority,crc32c,unique-id",
        ) as proxy:
            got = await fetch(proxy.address, source=CLIENT, tls=trusting)
    assert got.body == f"{CLIENT} https".encode()
    (prelude,) = preludes
    assert prelude.ssl.version.startswith("TLSv1.")
    assert prelude.authority == "localhost"
    assert prelude.alpn == "http/1.1"
    assert prelude.unique_id


@on_both_loops
async def test_a_prelude_in_front_of_a_chain(tmp_path: Path) -> None:
    """HAProxy passes on nginx's connection: the prelude names nginx, its field the client."""
    async with serve(trust=TrustPolicy([HAPROXY]), proxy_protocol="v2") as server:
        with (
            haproxy_tcp(tmp_path, backend=address_of(server), send_proxy="v2") as haproxy,
            nginx_http(tmp_path, backend=haproxy.address) as nginx,
        ):
            for claim in FORGED.values():
                seen = (await fetch(nginx.address, claim, source=CLIENT)).seen
                assert (seen["ip"], seen["reason"]) == (CLIENT, "first-untrusted")


@on_both_loops
async def test_listeners_with_and_without_a_prelude(tmp_path: Path) -> None:
    """The prelude is asked for by listener: the other one serves who speaks none."""
    async with serve(trust=TrustPolicy([HAPROXY])) as server:
        server.add_sockets(bind_sockets(0, "127.0.0.1"), proxy_protocol="any")
        with haproxy_tcp(tmp_path, backend=address_of(server, 1), send_proxy="v1") as proxy:
            assert (await fetch(proxy.address, source=CLIENT)).seen["ip"] == CLIENT
        assert (await fetch(address_of(server), source=CLIENT)).seen["ip"] == CLIENT


@on_both_loops
@pytest.mark.parametrize(
    ("options", "sent", "code"),
    [
        ({"proxy_protocol": "v2"}, None, "proxy-prelude-missing"),
        ({"proxy_protocol": "v2"}, "v1", "proxy-prelude-invalid"),
        ({"proxy_protocol": "v1"}, "v2", "proxy-prelude-invalid"),
        (
            {"proxy_protocol": "any", "trust": TrustPolicy(["10.0.0.0/8"])},
            "v1",
            "proxy-peer-not-allowed",
        ),
    ],
    ids=["none", "v1-for-v2", "v2-for-v1", "unlisted"],
)
async def test_refused_preludes(
    tmp_path: Path, options: dict[str, Any], sent: Any, code: str, caplog
) -> None:
    """No prelude, the wrong one, or one from an unlisted peer: closed, and one line says why.

    HAProxy may connect once more where it was refused before it had sent anything.
    """
    async with serve(**{"trust": TrustPolicy([HAPROXY]), **options}) as server:
        with (
            haproxy_tcp(tmp_path, backend=address_of(server), send_proxy=sent) as proxy,
            pytest.raises((asyncio.IncompleteReadError, ConnectionError)),
        ):
            await fetch(proxy.address)
    (line,) = {each.getMessage() for each in caplog.records if code in each.getMessage()}
    assert HAPROXY in line


@on_both_loops
async def test_a_prelude_does_not_help_a_client(caplog) -> None:
    """Where no prelude is asked for, one is a malformed request, whoever sends it."""
    async with (
        serve(trust=TrustPolicy([HAPROXY])) as server,
        connected(address_of(server)) as client,
    ):
        await client.send(b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).status == 400


@on_both_loops
async def test_a_prelude_cut_into_bytes(pair, trusting) -> None:
    """One byte in a segment, and request or hello right behind: exactly the prelude is taken."""
    prelude = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"
    async with serve(trust=TrustPolicy([HAPROXY]), proxy_protocol="v1") as server:
        server.add_sockets(bind_sockets(0, "127.0.0.1"), ssl_options=pair)
        async with connected(address_of(server)) as client:
            for byte in prelude + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n":
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).seen["ip"] == "192.0.2.7"
            assert (await client.ask()).seen["port"] == 4711
        seen = await asyncio.to_thread(_tls_after, prelude, address_of(server, 1), trusting)
        assert b'"ip": "192.0.2.7", "scheme": "https"' in seen


def _tls_after(prelude: bytes, address: tuple[str, int], context: Any) -> bytes:
    """Send a prelude, then ask over TLS on the same connection."""
    with socket.create_connection(address, 20) as plain:
        plain.sendall(prelude)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b""
            while piece := sock.recv(65536):
                received += piece
    return received
