"""What hostile peers do to a real server on loopback: none of it may reach the event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from edgeserver.proxyheaders import TrustPolicy
from tests.e2e.site import address_of, answer, connected, serve
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
