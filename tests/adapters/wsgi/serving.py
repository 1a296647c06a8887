"""A real server around a WSGI application, and raw talk with it.

Decides how a test starts one: in its own loop, on a free port of loopback, and gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets

__all__ = ["Dumping", "Talk", "ask", "serving", "talking"]

WAIT_S = 20


class Serving(NamedTuple):
    """A server that serves."""

    port: int
    server: HTTPServer
    adapter: WSGIAdapter


@contextlib.asynccontextmanager
async def running(
    app: Any,
    *,
    threads: int = 2,
    root_path: str = "",
    multiprocess: bool = False,
    **options: Any,
) -> AsyncIterator[Serving]:
    """Serve `app`, and give the server."""
    adapter = WSGIAdapter(app, threads=threads, root_path=root_path, multiprocess=multiprocess)
    server = HTTPServer(adapter, **options)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield Serving(sockets[0].getsockname()[1], server, adapter)
    finally:
        server.stop()
        await server.close_all_connections()
        assert await adapter.shutdown(WAIT_S), "a thread of the application never ended"


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve `app`, and give the port."""
    async with running(app, **options) as served:
        yield served.port


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0)


class Talk:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S)

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), WAIT_S)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), WAIT_S)


@contextlib.asynccontextmanager
async def talking(port: int, limit: int = 65536) -> AsyncIterator[Talk]:
    """Connect to `port`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(port: int, request: bytes) -> bytes:
    """Send `request`, which ends the connection, and return all that is answered."""
    async with talking(port) as talk:
        talk.send(request)
        return await talk.rest()


class Dumping:
    """An application that keeps the environs it was called with, and answers 200."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]
