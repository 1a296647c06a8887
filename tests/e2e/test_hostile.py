"""What hostile peers do to a real server on loopback: none of it may reach the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import address_of, answer, connected, fetch, serve
from tests.loops import on_both_loops


def reset(sock: socket.socket) -> None:
    """Close `sock` with a reset, as a peer does that wants to leave no trace."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@on_both_loops
async def test_reset_before_accept_is_no_unix_socket() -> None:
    """A peer that is gone before the loop asks who it is does not pass for a Unix socket."""
    seen: list[str] = []

    def note(request: Any) -> None:
        seen.append(request.remote_ip)
        answer(request, "ok")

    async with serve(note, trust=TrustPolicy(["unix:"])) as server:
        for _ in range(10):
            # The loop does not run meanwhile: all of them are reset before they are accepted.
            sock = socket.create_connection(address_of(server))
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n"
                b"Content-Length: 2\r\n\r\nhi"
            )
            reset(sock)
        async with connected(address_of(server)) as client:
            await client.ask(b"X-Forwarded-For: 192.0.2.1\r\n")
        while server.open_connections:
            await asyncio.sleep(0)
    assert set(seen) == {"127.0.0.1"}


@on_both_loops
async def test_silent_tls_connections_are_bounded(pair: dict[str, str]) -> None:
    """Connections that never send a hello count: they cannot take every file descriptor."""
    async with (
        serve(ssl_options=pair, max_connections=4) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        (listener,) = server.listeners
        while not listener.paused:
            await stack.enter_async_context(connected(address_of(server)))
        assert server.open_connections >= 4
        await stack.aclose()
        while listener.paused:
            await asyncio.sleep(0)
        assert server.open_connections < 4


async def test_a_full_server_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever keeps a server at its limit does not fill its log: one line in a minute."""
    async with serve(max_connections=1) as server:
        for _ in range(5):
            assert (await fetch(address_of(server))).status == 200
    assert caplog.text.count("max_connections") == 1


async def test_detached_connections_are_counted_without_a_look_at_each() -> None:
    """New connections cost the same beside many detached ones, and closed ones are forgotten."""
    looked = 0

    class Held:
        def closed(self) -> bool:
            nonlocal looked
            looked += 1
            return looked > 100

        def close(self) -> None:
            """Do nothing."""

    async with serve(max_connections=1000) as server:
        held = [Held() for _ in range(100)]
        for stream in held:
            server._endpoint.detached(stream)
        for _ in range(3):
            assert (await fetch(address_of(server))).status == 200
        assert looked == 0
        assert server.open_connections >= 100
        assert server.open_connections < 100


async def test_half_a_head_is_not_laid_to_the_client_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What comes over a proxy's connection between requests is logged as the proxy's."""
    caplog.set_level(logging.INFO)
    options = {"trust": TrustPolicy(["127.0.0.1"]), "header_timeout": 0.05}
    async with serve(**options) as server, connected(address_of(server)) as client:
        assert (await client.ask(b"X-Forwarded-For: 192.0.2.1\r\n")).seen["ip"] == "192.0.2.1"
        await client.send(b"GET / HT")
        assert (await client.answer()).status == 408
    assert "Timeout reading head from 127.0.0.1" in caplog.text
    assert "192.0.2.1" not in caplog.text
