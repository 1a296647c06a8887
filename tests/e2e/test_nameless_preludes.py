"""PROXY preludes that name nobody, over real sockets: whose bytes follow is not known."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, PreludeSSL, render_prelude
from tests.e2e.site import address_of, answer, connected, serve
from tests.loops import on_both_loops

PEER = "127.0.0.1"
TLS = PreludeSSL(client_ssl=True, version="TLSv1.3")
PRELUDES = {
    "v1-unknown": b"PROXY UNKNOWN\r\n",
    "v1-unknown-with-addresses": b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n",
    "v2-local": render_prelude(Prelude(version=2, command="LOCAL")),
    "v2-unspec": render_prelude(Prelude(version=2, command="UNKNOWN", ssl=TLS)),
    "v2-unix": render_prelude(
        Prelude(version=2, command="PROXY", source="unix:/a", destination="unix:/b", ssl=TLS)
    ),
}
FORGED = (
    b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    b"Forwarded: for=203.0.113.9;proto=https\r\nX-Real-Ip: 203.0.113.9\r\nX-Other: kept\r\n"
)
POLICIES = {
    "listed": TrustPolicy([PEER]),
    "unix-listed": TrustPolicy([PEER, "unix:"]),
    "declaring": TrustPolicy(
        [TrustedProxy(PEER, sets={"x-forwarded-host", "x-forwarded-proto", "x-real-ip"})]
    ),
    "forwarded": TrustPolicy([PEER], source="forwarded"),
}


@on_both_loops
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("prelude", PRELUDES.values(), ids=PRELUDES)
async def test_the_client_is_the_peer_unverified(prelude: bytes, policy: TrustPolicy) -> None:
    """On each request of the connection: no claim counts, and the application sees none."""
    async with (
        serve(trust=policy, proxy_protocol="any") as server,
        connected(address_of(server)) as client,
    ):
        await client.send(prelude)
        for head in (FORGED, b"", FORGED, FORGED):
            seen = (await client.ask(head)).seen
            assert (seen["ip"], seen["scheme"]) == (PEER, "http")
            assert (seen["verified"], seen["reason"]) == (False, "prelude-names-nobody")
            assert seen["port"] == seen["peer_port"]
            names = [name for name, _ in seen["fields"]]
            assert names == (["host", "x-other"] if head else ["host"])


@on_both_loops
@pytest.mark.parametrize("prelude", PRELUDES.values(), ids=PRELUDES)
async def test_under_tls_the_scheme_is_the_connections(
    prelude: bytes, pair: dict[str, str], trusting: ssl.SSLContext
) -> None:
    """A handshake behind the prelude makes it https, whatever a field says."""
    async with serve(trust=POLICIES["listed"], proxy_protocol="any", ssl_options=pair) as server:
        seen = await asyncio.to_thread(
            _ask_over_tls, prelude, address_of(server), trusting, b"X-Forwarded-Proto: http\r\n"
        )
    assert seen["ip"] == PEER
    assert (seen["scheme"], seen["reason"]) == ("https", "prelude-names-nobody")


@on_both_loops
async def test_the_proof_shows_the_prelude() -> None:
    """The request's own explanation has the prelude as a hop that names nobody."""
    async with (
        serve(
            lambda request: answer(request, json.dumps(request.explain().as_dict())),
            trust=POLICIES["listed"],
            proxy_protocol="v2",
        ) as server,
        connected(address_of(server)) as client,
    ):
        await client.send(PRELUDES["v2-local"])
        proof: dict[str, Any] = json.loads((await client.ask(FORGED)).body)
    assert [(hop["claimed"], hop["verdict"]) for hop in proof["hops"]] == [
        (PEER, "client"),
        ("LOCAL", "unusable"),
    ]
    found = [finding["code"] for finding in proof["findings"]]
    assert found == ["prelude-names-nobody", "untrusted-peer-claims"]


def _ask_over_tls(
    prelude: bytes, address: tuple[str, int], context: ssl.SSLContext, head: bytes
) -> dict[str, Any]:
    """Return what the application saw of one request behind a prelude and a handshake."""
    with socket.create_connection(address, 20) as plain:
        plain.sendall(prelude)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + head + b"\r\n"
            )
            received = b""
            while piece := sock.recv(65536):
                received += piece
    seen: dict[str, Any] = json.loads(received.partition(b"\r\n\r\n")[2])
    return seen
