"""A connection to talk to: the real `HTTP1Connection`, over a transport that keeps what is written.

The transport is a fake so that a test can say at which byte a segment ends, and when the peer
stops reading; tests over real sockets stand in `tests/e2e/`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Connection, HTTP1Shared
from edgeserver.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine
from edgeserver.support.turns import TurnBudget

HIGH_WATER = 64 * 1024
"""Where a transport tells its protocol to stop writing, and at a quarter of it to go on."""


class FakeTransport(asyncio.Transport):
    """Keeps what is written; says when it was closed, and how."""

    def __init__(self, peername: Any = ("192.0.2.7", 4711)) -> None:
        super().__init__({"peername": peername})
        self.sent = bytearray()
        self.writes = 0
        self.eof_written = False
        self.closed = False
        self.aborted = False
        self.reading = True
        self.buffered = 0
        self.stalled = False
        self.protocol: Any = None
        self.inbox: list[bytes] = []

    def tell(self, **facts: Any) -> None:
        """Answer `get_extra_info` with these from now on."""
        self._extra.update(facts)

    def write(self, data: Any) -> None:
        """Keep `data`, unless the write side is closed."""
        assert not self.eof_written
        if not self.closed:
            self.writes += 1
            self.sent += data
            if self.stalled:
                below = self.buffered <= HIGH_WATER
                self.buffered += len(data)
                if below and self.buffered > HIGH_WATER:
                    self.protocol.pause_writing()

    def take(self, size: int | None = None) -> None:
        """Let a stalled peer take `size` bytes of what is buffered, or all."""
        above = self.buffered > HIGH_WATER
        self.buffered -= self.buffered if size is None else size
        if above and self.buffered <= HIGH_WATER // 4:
            self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        """Say that this transport can be half-closed."""
        return True

    def write_eof(self) -> None:
        """Close the write side."""
        self.eof_written = True

    def close(self) -> None:
        """Close, and tell the protocol in the loop's next turn."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        """Close without delivering what is buffered."""
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        """Say whether the transport was closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Stop giving data."""
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        """Give data again."""
        assert not self.reading
        self.reading = True
        if self.inbox:
            asyncio.get_running_loop().call_soon(self.deliver)

    def is_reading(self) -> bool:
        """Say whether data is given."""
        return self.reading and not self.closed

    def deliver(self) -> None:
        """Give the protocol what has come, as an event loop does, unless it is paused."""
        while self.inbox and self.reading and not self.closed:
            data = self.inbox.pop(0)
            protocol = self.protocol
            if not isinstance(protocol, asyncio.BufferedProtocol):
                protocol.data_received(data)
                continue
            room = memoryview(protocol.get_buffer(-1))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            if data[size:]:
                self.inbox.insert(0, data[size:])
            protocol.buffer_updated(size)

    def get_write_buffer_size(self) -> int:
        """Say how many bytes the peer has not taken, as the test has set it."""
        return self.buffered

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change who is told."""
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Say who is told."""
        return self.protocol


class Recorder(HTTPMessageDelegate):
    """Notes what it hears, and answers when the request is complete."""

    def __init__(self, app: App, connection: Any) -> None:
        self.app = app
        self.connection = connection
        self.head: Any = None
        self.headers: HTTPHeaders | None = None
        self.body = b""
        self.pieces: list[bytes] = []
        self.ended: list[str] = []

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        """Note the head."""
        self.head = start_line
        self.headers = headers
        return self.app.on_head(self) if self.app.on_head else None

    def data_received(self, chunk: bytes) -> Any:
        """Note a piece."""
        self.pieces.append(chunk)
        self.body += chunk
        return self.app.on_data(self) if self.app.on_data else None

    def finish(self) -> None:
        """Answer."""
        self.ended.append("finish")
        if self.app.on_finish:
            self.app.on_finish(self)
        else:
            self.answer(b"ok")

    def on_connection_close(self) -> None:
        """Note that the connection went."""
        self.ended.append("close")

    def answer(self, body: bytes, code: int = 200) -> None:
        """Write a whole answer."""
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", code, "OK"),
            HTTPHeaders({"Content-Length": str(len(body)), "Date": "x"}),
            body,
        )
        self.connection.finish()


class App:
    """The server's delegate: one `Recorder` for each request, all kept."""

    def __init__(self) -> None:
        self.requests: list[Recorder] = []
        self.closed = 0
        self.on_head: Callable[[Recorder], Any] | None = None
        self.on_data: Callable[[Recorder], Any] | None = None
        self.on_finish: Callable[[Recorder], Any] | None = None

    def start_request(self, server_conn: object, request_conn: Any) -> Recorder:
        """Make the delegate of one request."""
        request = Recorder(self, request_conn)
        self.requests.append(request)
        return request

    def on_close(self, server_conn: object) -> None:
        """Count."""
        self.closed += 1


class TakingApp(App):
    """A server's delegate that takes requests without a body in one call."""

    def take_request(self, server_conn: object, request_conn: Any) -> None:
        """Note the request, and answer."""
        request = self.start_request(server_conn, request_conn)
        request.head = (request_conn.method, request_conn.target, request_conn.version)
        request.headers = request_conn.headers
        request.finish()


def turns_of_units(units: int, waiting: int | None = None) -> TurnBudget:
    """Return a budget for a test: time is how often somebody has asked, so nothing else counts.

    Args:
        units: How many units one connection may do in a row: so many before it waits, and one
            less at a time while it does, since being called is a look at the clock, too.
        waiting: How many looks at the clock those that wait may cause together in a turn; any
            number unless given.
    """
    asked = itertools.count(1)
    return TurnBudget(
        asyncio.get_running_loop(),
        turn_s=math.inf if waiting is None else waiting,
        slice_s=units - 1,
        clock=lambda: float(next(asked)),
    )


class Talk:
    """A conversation with one connection: `>> received`, `<< sent`.

    Args:
        app: Who answers.
        shared: Arguments of the service; its turns have no end unless `turns` says so.
        http1: What HTTP/1 connections share, where several conversations are with one server.
        limits: Limits of the service.
    """

    def __init__(
        self,
        *,
        app: App | None = None,
        shared: dict[str, Any] | None = None,
        http1: HTTP1Shared | None = None,
        **limits: Any,
    ) -> None:
        self.app = App() if app is None else app
        if http1 is None:
            shared = {"turns": turns_of_units(10**9), **(shared or {})}
            http1 = HTTP1Shared(HTTPService(HTTPLimits(**limits), self.app, **shared))
        self.http1 = http1
        self.service = http1.service
        self.transport = FakeTransport()
        self.connection = HTTP1Connection(http1)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def receive(self, *segments: bytes) -> None:
        """Let the connection receive each of `segments`."""
        self.transport.inbox += segments
        self.transport.deliver()

    def receive_bytewise(self, data: bytes) -> None:
        """Let the connection receive `data` in one-byte segments."""
        self.receive(*(data[i : i + 1] for i in range(len(data))))

    def receive_eof(self) -> None:
        """Let the connection receive the end of input, as a transport does."""
        if not self.transport.closed and not self.transport.protocol.eof_received():
            self.transport.close()

    @property
    def sent(self) -> bytes:
        """All that was sent so far, as if the event loop's turn ended here."""
        self.service.batch.flush_all()
        return bytes(self.transport.sent)

    @property
    def statuses(self) -> list[int]:
        """The status codes sent so far, in order."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]", self.sent)]

    @property
    def ending(self) -> bool:
        """Whether the connection reads no further request."""
        return self.transport.closed or self.transport.eof_written

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the answers sent so far, all of a declared length."""
        bodies = []
        rest = self.sent
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            size = int(re.search(rb"\r\nContent-Length: ([0-9]+)", head)[1])
            bodies.append(rest[:size])
            rest = rest[size:]
        return bodies

    async def turn(self, times: int = 3) -> None:
        """Give the event loop a few turns."""
        for _ in range(times):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        """Put the clock of the event loop forward; its timers then fire as they would have."""
        loop: Any = asyncio.get_running_loop()
        now = loop.time
        loop.time = lambda: now() + seconds
        await self.turn()


def request_of(
    method: str = "GET", version: str = "1.1", lines: str = "", **limits: Any
) -> tuple[Talk, Recorder]:
    """Return a conversation in which a request waits for its answer."""
    talk = Talk(**limits)
    talk.app.on_finish = lambda request: None
    talk.receive(f"{method} / HTTP/{version}\r\nHost: a\r\n{lines}\r\n".encode())
    return talk, talk.app.requests[0]


def requests_of_one_server(count: int) -> list[tuple[Talk, Recorder]]:
    """Return conversations with one server, in each of which a request waits for its answer."""
    first = request_of()
    found = [first]
    for _ in range(count - 1):
        talk = Talk(app=first[0].app, http1=first[0].http1)
        talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        found.append((talk, talk.app.requests[-1]))
    return found


def fields(**lines: str) -> HTTPHeaders:
    """Return fields with a Date that does not change, names with `_` for `-`."""
    return HTTPHeaders({"Date": "x", **{name.replace("_", "-"): v for name, v in lines.items()}})


@asynccontextmanager
async def served(app: App, **limits: Any) -> AsyncIterator[socket.socket]:
    """Serve `app` on a real socket; give a client connected to it."""
    loop = asyncio.get_running_loop()
    http1 = HTTP1Shared(HTTPService(HTTPLimits(**limits), app))
    server = await loop.create_server(lambda: HTTP1Connection(http1), "127.0.0.1", 0)
    client = socket.socket()
    client.setblocking(False)
    try:
        await loop.sock_connect(client, server.sockets[0].getsockname())
        yield client
    finally:
        client.close()
        http1.service.connections.close()
        await http1.service.connections.wait_empty()
        server.close()
        await server.wait_closed()
