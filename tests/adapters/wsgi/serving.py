"""A real server around a WSGI application, and raw talk with it.

Decides how a test starts one: in its own loop, on a free port of loopback, and gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.httpserver import HTTPServer
from tests.adapters.serving import STEP_S, hang_up, listening

__all__ = ["Dumping", "Talk", "ask", "serving", "talking"]


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
    wsgi_buffering: bool = True,
    **options: Any,
) -> AsyncIterator[Serving]:
    """Serve `app`, and give the server."""
    adapter = WSGIAdapter(
        app,
        threads=threads,
        root_path=root_path,
        multiprocess=multiprocess,
        wsgi_buffering=wsgi_buffering,
    )
    server = HTTPServer(adapter, **options)
    try:
        async with listening(server) as port:
            yield Serving(port, server, adapter)
    finally:
        assert await adapter.shutdown(STEP_S), "a thread of the application never ended"


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve `app`, and give the port."""
    async with running(app, **options) as served:
        yield served.port


class Talk:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), STEP_S)

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), STEP_S)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), STEP_S)


@contextlib.asynccontextmanager
async def talking(port: int, limit: int = 65536) -> AsyncIterator[Talk]:
    """Connect to `port`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Talk(reader, writer)
    finally:
        await hang_up(writer)


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
