"""Behind a real nginx that passes X-Real-Ip, X-Forwarded-For and X-Forwarded-Proto."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.proxies import haproxy_http, nginx_http
from tests.e2e.site import address_of, connected, fetch, serve
from tests.loops import on_both_loops
from tests.tls import pki

# Who comes from where: nginx sees clients of loopback addresses that are no proxies.
NGINX = "127.0.0.1"

MODES: dict[str, dict[str, Any]] = {
    "xheaders": {"xheaders": True},
    "xheaders-downstream": {"xheaders": True, "trusted_downstream": [NGINX]},
    "policy": {"trust": TrustPolicy([NGINX])},
    "policy-x-real-ip": {"trust": TrustPolicy([NGINX], source="x-real-ip")},
}
"""Ways to believe nginx."""

FORGED = {
    "none": b"",
    "list": b"X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\n",
    "lines": b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 127.0.0.1\r\n",
    "real-ip": b"X-Real-Ip: 6.6.6.6\r\n",
    "scheme": b"X-Forwarded-Proto: https\r\n",
    "garbage": b'X-Forwarded-For: "6.6.6.6, \x80\xff,,,\t\r\n',
    "alias": b"X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\n",
    "nominated": b"Connection: x-forwarded-for, x-real-ip\r\n",
    "forwarded": b"Forwarded: for=6.6.6.6;proto=https\r\n",
    "long": b"X-Forwarded-For: " + b"6.6.6.6, " * 400 + b"6.6.6.6\r\n",
}
"""What a client may write to be taken for another."""


@on_both_loops
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
async def test_forged_fields_never_move_the_client(
    tmp_path: Path, options: dict[str, Any], pair, trusting
) -> None:
    """Whatever a client claims, it is the address that nginx saw, over http and https."""
    certificate = (Path(pair["certfile"]), Path(pair["keyfile"]))
    async with serve(**options) as server:
        for tls in (None, trusting):
            with nginx_http(
                tmp_path,
                backend=address_of(server),
                certificate=None if tls is None else certificate,
            ) as nginx:
                for name, claim in FORGED.items():
                    seen = (await _from("127.0.0.2", nginx.address, claim, tls=tls)).seen
                    scheme = "http" if tls is None else "https"
                    assert (seen["ip"], seen["scheme"]) == ("127.0.0.2", scheme), name
                    assert seen["peer"] == NGINX


async def _from(source: str, address: tuple[str, int], claim: bytes = b"", **settings: Any) -> Any:
    """Ask from a given loopback address, once."""
    async with connected(address, source=source, **settings) as client:
        extra = b"" if claim.startswith(b"Connection:") else b"Connection: close\r\n"
        return await client.ask(claim + extra)


@on_both_loops
async def test_the_scheme_may_be_forged_where_it_is_not_overwritten(tmp_path: Path) -> None:
    """X-Scheme is not nginx's: Tornado's contract believes the client's, a policy does not."""
    claim = b"X-Scheme: https\r\n"
    async with serve(xheaders=True) as server:
        with nginx_http(tmp_path, backend=address_of(server)) as nginx:
            assert (await fetch(nginx.address, claim)).seen["scheme"] == "https"
            server.set_trust(TrustPolicy([NGINX]))
            assert (await fetch(nginx.address, claim)).seen["scheme"] == "http"


@on_both_loops
async def test_headers_are_off_unless_wanted(tmp_path: Path) -> None:
    """Without xheaders and trust the peer is the client, and the fields stay."""
    async with serve() as server:
        with nginx_http(tmp_path, backend=address_of(server)) as nginx:
            seen = (await _from("127.0.0.2", nginx.address)).seen
            assert (seen["ip"], seen["verified"]) == (NGINX, True)
            assert ["x-real-ip", "127.0.0.2"] in seen["fields"]


@on_both_loops
async def test_an_unlisted_peer_says_nothing(tmp_path: Path) -> None:
    """Who reaches the server past nginx is itself, and its forwarding fields are taken away."""
    async with serve(trust=TrustPolicy(["10.0.0.0/8"])) as server:
        with nginx_http(tmp_path, backend=address_of(server)) as nginx:
            seen = (await _from("127.0.0.2", nginx.address, b"X-Thing: a\r\n")).seen
            assert (seen["ip"], seen["reason"]) == (NGINX, "untrusted-peer")
            names = {name for name, _ in seen["fields"]}
            assert "x-thing" in names
            assert not {name for name in names if "forwarded" in name or "real" in name}


@on_both_loops
async def test_a_unix_socket_upstream(tmp_path: Path) -> None:
    """Over a Unix socket nginx is believed where `unix:` is listed, and under xheaders."""
    path = str(tmp_path / "up.sock")
    async with serve(path=path, trust=TrustPolicy(["unix:"])) as server:
        with nginx_http(tmp_path, backend=path) as nginx:
            seen = (await _from("127.0.0.2", nginx.address, b"X-Forwarded-For: 6.6.6.6\r\n")).seen
            assert (seen["ip"], seen["peer"]) == ("127.0.0.2", "0.0.0.0")
            server.set_trust(TrustPolicy([NGINX]))
            seen = (await _from("127.0.0.2", nginx.address)).seen
            assert (seen["ip"], seen["reason"]) == ("0.0.0.0", "untrusted-peer")
            server.set_trust(TrustPolicy.tornado())
            seen = (await _from("127.0.0.2", nginx.address)).seen
            assert (seen["ip"], seen["scheme"]) == ("127.0.0.2", "http")


@on_both_loops
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
async def test_one_connection_carries_several_clients(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """Nginx keeps its connection and sends other clients over it: each is told apart."""
    async with serve(**options) as server:
        with nginx_http(tmp_path, backend=address_of(server), keepalive=True) as nginx:
            connections = set()
            for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4") * 3:
                seen = (await _from(source, nginx.address)).seen
                assert seen["ip"] == source
                connections.add(seen["peer_port"])
            assert len(connections) == 1


@on_both_loops
async def test_nginx_behind_haproxy(tmp_path: Path) -> None:
    """Two proxies in a chain: the client is whom the outer one saw, if both are listed."""
    async with serve(trust=TrustPolicy([NGINX])) as server:
        with (
            nginx_http(tmp_path, backend=address_of(server)) as nginx,
            haproxy_http(tmp_path, backend=nginx.address) as haproxy,
        ):
            for claim in FORGED.values():
                seen = (await _from("127.0.0.2", haproxy.address, claim)).seen
                assert (seen["ip"], seen["reason"]) == ("127.0.0.2", "first-untrusted")


@on_both_loops
async def test_haproxy_behind_nginx(tmp_path: Path) -> None:
    """The other order: nginx outside, HAProxy next to us."""
    async with serve(trust=TrustPolicy([NGINX])) as server:
        with (
            haproxy_http(tmp_path, backend=address_of(server)) as haproxy,
            nginx_http(tmp_path, backend=haproxy.address) as nginx,
        ):
            for claim in FORGED.values():
                seen = (await _from("127.0.0.2", nginx.address, claim)).seen
                assert (seen["ip"], seen["reason"]) == ("127.0.0.2", "first-untrusted")


@on_both_loops
async def test_the_policy_is_exchanged_under_live_connections(tmp_path: Path) -> None:
    """Another policy decides the next request, on a connection that nginx keeps, too."""
    async with serve(trust=TrustPolicy([NGINX])) as server:
        with nginx_http(tmp_path, backend=address_of(server), keepalive=True) as nginx:
            assert (await _from("127.0.0.2", nginx.address)).seen["ip"] == "127.0.0.2"
            server.set_trust(TrustPolicy(["10.0.0.0/8"]))
            assert (await _from("127.0.0.2", nginx.address)).seen["ip"] == NGINX
            server.set_trust(TrustPolicy([NGINX]))
            assert (await _from("127.0.0.2", nginx.address)).seen["ip"] == "127.0.0.2"
            assert server.open_connections == 1


@on_both_loops
async def test_a_large_upload_through_nginx_hears_413(tmp_path: Path) -> None:
    """Nginx passes the refusal on rather than 502, so it has really received it."""
    async with serve(xheaders=True, max_body_size=1000) as server:
        with (
            nginx_http(
                tmp_path,
                backend=address_of(server),
                extra="client_max_body_size 0; proxy_request_buffering off;",
            ) as nginx,
        ):
            async with connected(nginx.address) as client:
                size = 4_000_000
                head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
                client.writer.write(head + bytes(size))
                assert (await asyncio.wait_for(client.answer(), 20)).status == 413


@on_both_loops
async def test_tls_upstream(tmp_path: Path, pair, authority: pki.Issued) -> None:
    """Nginx may speak TLS to us: the scheme is the client's all the same."""
    async with serve(trust=TrustPolicy([NGINX]), ssl_options=pair) as server:
        with nginx_http(tmp_path, backend=address_of(server), backend_tls=True) as nginx:
            seen = (await _from("127.0.0.2", nginx.address)).seen
            assert (seen["ip"], seen["scheme"]) == ("127.0.0.2", "http")
            assert seen["tls"] in ("TLSv1.2", "TLSv1.3")
