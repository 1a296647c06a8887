"""What tests of all adapters share: a server on a free port of loopback, and clients that end.

Decides how long a step may take, and how a test waits. It must not know what runs in the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets

__all__ = ["STEP_S", "hang_up", "listening", "reset", "until"]

STEP_S = 20
"""Longer than any step of a test takes; nothing waits for it."""


@contextlib.asynccontextmanager
async def listening(server: HTTPServer) -> AsyncIterator[int]:
    """Have `server` listen, and give the port; in the end every connection is closed."""
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.stop()
        await server.close_all_connections()


async def until(condition: Callable[[], object]) -> None:
    """Let everything else run until `condition()` is true."""
    async with asyncio.timeout(STEP_S):
        while not condition():
            await asyncio.sleep(0)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until that has happened."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset, as a crash of the client would."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
