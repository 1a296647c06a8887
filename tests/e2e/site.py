"""A server of ours on loopback, an application that tells what it sees, and a client of bytes.

Decides how an end-to-end test starts `HTTPServer` and talks to it. Every wait ends with the event
that is waited for, or after a limit that only a failing test reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from edgeserver.netutil import bind_sockets, bind_unix_socket

__all__ = [
    "LIMIT_S",
    "Answer",
    "Client",
    "address_of",
    "answer",
    "ask_blocking",
    "connected",
    "fetch",
    "program",
    "serve",
    "tell",
]

LIMIT_S = 30.0
"""How long a test may take before it fails: much longer than it ever does."""

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


def program(name: str) -> str:
    """Return the path of a program that Debian has under its own name.

    Without it the test is skipped, or fails where `REQUIRE_E2E=1`.
    """
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed: apt-get install {name}"
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path


def answer(request: HTTPServerRequest, text: str | bytes, code: int = 200) -> None:
    """Answer `request` with a text."""
    body = text.encode() if isinstance(text, str) else text
    request.connection.write_headers(
        ResponseStartLine("HTTP/1.1", code, "OK"),
        HTTPHeaders({"Content-Length": str(len(body)), "Content-Type": "text/plain"}),
        body,
    )
    request.connection.finish()


def tell(request: HTTPServerRequest) -> None:
    """Answer with what the application sees of client, peer and head, as JSON."""
    client = request.client
    seen = {
        "ip": request.remote_ip,
        "scheme": request.protocol,
        "peer": request.peer_ip,
        "peer_port": request.connection.context.peer_port,
        "verified": None if client is None else client.verified,
        "reason": None if client is None else client.reason,
        "port": None if client is None else client.port,
        "fields": [[name.lower(), value] for name, value in request.headers.get_all()],
        "body": len(request.body),
        "tls": None if request.tls is None else request.tls.version,
    }
    answer(request, json.dumps(seen))


@contextlib.asynccontextmanager
async def serve(app: Any = tell, *, path: str | None = None, **options: Any) -> AsyncIterator[Any]:
    """Run an `HTTPServer` on a free port of 127.0.0.1, or on a Unix socket.

    Args:
        app: The application.
        path: The path of the Unix socket.
        options: What the server is made with.
    """
    server = HTTPServer(app, **options)
    sockets = bind_sockets(0, "127.0.0.1") if path is None else [bind_unix_socket(path)]
    server.add_sockets(sockets)
    async with asyncio.timeout(LIMIT_S):
        try:
            yield server
        finally:
            server.stop()
            await server.close_all_connections()


def address_of(server: HTTPServer, number: int = 0) -> Any:
    """Return where a listener of `server` listens: host and port, or a path."""
    name = server.listeners[number].socket.getsockname()
    return name[:2] if isinstance(name, tuple) else name


@dataclass
class Answer:
    """One response.

    Args:
        status: The status code.
        fields: Names in lower case, and values; of a repeated name the last.
        body: The body, unchunked.
    """

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """What `tell` told."""
        assert self.status == 200, self
        told: dict[str, Any] = json.loads(self.body)
        return told


class Client:
    """A connection that sends exactly what a test says, and reads response after response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait until the system has taken most of them."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read one response, which may end with the connection."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        status = int(status_line.split(" ")[1])
        body = b"" if bodiless or status < 200 else await self._body(fields)
        return Answer(status, fields, body)

    async def _body(self, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def ask(self, head: bytes = b"", *, host: str = "localhost") -> Answer:
        """Send a GET with these further lines, and read its response."""
        await self.send(b"GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (host.encode(), head))
        return await self.answer()

    async def ended(self) -> bool:
        """Wait for the end; return whether nothing came before it."""
        return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def connected(
    address: Address,
    *,
    tls: ssl.SSLContext | None = None,
    name: str = "localhost",
    source: str | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[Client]:
    """Connect, and give the connection as a `Client`.

    Args:
        address: Where to.
        tls: The client's context, to speak TLS.
        name: The server name to ask for.
        source: The loopback address to come from, such as 127.0.0.2.
        receive_buffer: The size of the socket's receive buffer, for a client that does not read.
    """
    given: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": name}
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address, **given)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            if source is not None:
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        # A small limit stops the reader soon, and so the socket fills.
        limit = 2**16 if receive_buffer is None else 1024
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit, **given)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def fetch(address: Address, head: bytes = b"", **settings: Any) -> Answer:
    """Send one GET on a connection of its own; `settings` are those of `connected`."""
    async with connected(address, **settings) as client:
        return await client.ask(head + b"Connection: close\r\n")


def ask_blocking(
    address: tuple[str, int],
    context: ssl.SSLContext,
    *,
    name: str = "localhost",
    host: str | None = None,
    session: ssl.SSLSession | None = None,
) -> tuple[Answer, ssl.SSLSession | None, bool]:
    """Ask over TLS with a blocking socket, as a client does that keeps its session.

    Args:
        address: Where to.
        context: The client's context.
        name: The server name to ask for.
        host: The `Host` of the request; the server name if not given.
        session: A session to resume.

    Returns:
        The answer, the session to resume next, and whether `session` was.

    Raises:
        ssl.SSLError: The server refuses; its `reason` names the alert.
    """
    with (
        socket.create_connection(address, LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=name, session=session) as sock,
    ):
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (host or name).encode()
        )
        received = b""
        while piece := sock.recv(65536):
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        return Answer(status, {}, body), sock.session, bool(sock.session_reused)
