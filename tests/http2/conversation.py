"""A connection to talk to in frames: the real `HTTP2Connection`, over a transport that keeps bytes.

What is received is made with the `hpack` library and by hand, so that any rule can be broken; what
was sent is read back by hand and with that library.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import hpack

from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http2 import HTTP2Connection, HTTP2Shared
from tests.http1.conversation import App, FakeTransport, Recorder, turns_of_units

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "Answer",
    "App",
    "Frame",
    "Recorder",
    "Talk",
    "frame",
    "number",
    "settings",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING = range(7)
GOAWAY, WINDOW_UPDATE, CONTINUATION = range(7, 10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


class Frame(NamedTuple):
    """A frame that was sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Answer(NamedTuple):
    """What was sent on a stream."""

    status: int
    fields: dict[str, str]
    body: bytes
    ended: bool
    reset: int | None


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + number(stream) + payload


def number(value: int) -> bytes:
    """Return four bytes."""
    return struct.pack(">I", value)


def settings(**values: int) -> bytes:
    """Return SETTINGS; `_3=100` sets the one of number 3."""
    entries = [struct.pack(">HI", int(name[1:]), value) for name, value in values.items()]
    return frame(SETTINGS, 0, 0, b"".join(entries))


def read_frames(data: bytes) -> list[Frame]:
    """Return the frames in `data`."""
    frames = []
    while data:
        size = int.from_bytes(data[:3], "big")
        stream = int.from_bytes(data[5:9], "big")
        frames.append(Frame(data[3], data[4], stream, data[9 : 9 + size]))
        assert len(data) >= 9 + size
        data = data[9 + size :]
    return frames


class Talk:
    """A conversation with one connection.

    Args:
        app: Who answers.
        greet: Whether the preface and empty SETTINGS have come already.
        shared: Arguments of the service; its turns have no end unless `turns` says so.
        tls: What TLS says of itself; None for a plain connection.
        peer: The address of the peer.
        misdirected: As the connection takes it.
        limits: Limits of the service.
    """

    def __init__(
        self,
        *,
        app: App | None = None,
        greet: bool = True,
        shared: dict[str, Any] | None = None,
        tls: Any = None,
        peer: str = "192.0.2.7",
        misdirected: Any = None,
        http2: HTTP2Shared | None = None,
        **limits: Any,
    ) -> None:
        # Time stands still unless a test says otherwise: what comes back with it must not depend
        # on how fast the machine is.
        loop: Any = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now
        self.app = App() if app is None else app
        if http2 is None:
            shared = {"turns": turns_of_units(10**9), **(shared or {})}
            http2 = HTTP2Shared(HTTPService(HTTPLimits(**limits), self.app, **shared))
        self.http2 = http2
        self.service = http2.service
        self.transport = FakeTransport((peer, 4711))
        if tls is not None:
            self.transport.tell(sslcontext=object(), tls_info=tls)
        self.connection = HTTP2Connection(http2, None, misdirected)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)
        self.encoder = hpack.Encoder()
        self.next_id = 1
        if greet:
            self.receive(PREFACE + settings())

    # The client's side.

    def receive(self, *segments: bytes) -> None:
        """Let the connection receive each of `segments`."""
        self.transport.inbox += segments
        self.transport.deliver()

    def receive_eof(self) -> None:
        """Let the connection receive the end of input, as a transport does."""
        if not self.transport.closed and not self.transport.protocol.eof_received():
            self.transport.close()

    def block(
        self,
        path: str = "/",
        method: str = "GET",
        fields: Iterable[tuple[str, str]] = (),
        **pseudo: str,
    ) -> bytes:
        """Return the header block of a request."""
        listed = {
            ":method": method,
            ":scheme": "http",
            ":path": path,
            ":authority": "a.example",
            **{f":{name}": value for name, value in pseudo.items()},
        }
        return self.encoder.encode([*listed.items(), *fields])

    def request(
        self, path: str = "/", *, ends: bool = True, method: str = "GET", **more: Any
    ) -> bytes:
        """Return the HEADERS of the next request."""
        stream, self.next_id = self.next_id, self.next_id + 2
        flags = END_HEADERS | (END_STREAM if ends else 0)
        return frame(HEADERS, flags, stream, self.block(path, method, **more))

    def ask(self, path: str = "/", **more: Any) -> int:
        """Send a request; return its stream."""
        self.receive(self.request(path, **more))
        return self.next_id - 2

    def post(self, path: str = "/", **more: Any) -> int:
        """Begin a request that has a body; return its stream."""
        return self.ask(path, method="POST", ends=False, **more)

    def data(self, stream: int, body: bytes, *, ends: bool = False) -> None:
        """Send a piece of a body."""
        self.receive(frame(DATA, END_STREAM if ends else 0, stream, body))

    def raw_request(self, listed: list[tuple[str, str]], *, ends: bool = True) -> int:
        """Send a request whose list is given whole; return its stream."""
        stream, self.next_id = self.next_id, self.next_id + 2
        flags = END_HEADERS | (END_STREAM if ends else 0)
        self.receive(frame(HEADERS, flags, stream, self.encoder.encode(listed)))
        return stream

    # What was sent.

    @property
    def sent(self) -> list[Frame]:
        """All that was sent so far, as if the event loop's turn ended here."""
        self.service.batch.flush_all()
        return read_frames(bytes(self.transport.sent))

    def frames(self, kind: int, stream: int | None = None) -> list[Frame]:
        """Return the sent frames of a type, of one stream or of all."""
        return [
            each
            for each in self.sent
            if each.kind == kind and (stream is None or each.stream == stream)
        ]

    @property
    def answers(self) -> dict[int, Answer]:
        """What was sent on each stream; informational answers are left out."""
        decoder = hpack.Decoder()
        found: dict[int, Answer] = {}
        for kind, flags, stream, payload in self.sent:
            known = found.get(stream, Answer(0, {}, b"", ended=False, reset=None))
            ended = known.ended or (kind in (DATA, HEADERS) and flags & END_STREAM != 0)
            if kind == HEADERS:
                assert flags & END_HEADERS
                listed = dict(decoder.decode(payload))
                status = int(listed.pop(":status", known.status))
                if status >= 200:
                    found[stream] = known._replace(
                        status=status, fields={**known.fields, **listed}, ended=ended
                    )
            elif kind == DATA:
                assert not known.ended
                found[stream] = known._replace(body=known.body + payload, ended=ended)
            elif kind == RST_STREAM:
                found[stream] = known._replace(reset=int.from_bytes(payload, "big"))
        return found

    def answer(self, stream: int) -> Answer:
        """Return what was sent on a stream."""
        return self.answers[stream]

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The last stream and the code of each GOAWAY."""
        return [
            (int.from_bytes(each.payload[:4], "big"), int.from_bytes(each.payload[4:8], "big"))
            for each in self.frames(GOAWAY)
        ]

    @property
    def ending(self) -> bool:
        """Whether nothing more is read."""
        return self.transport.closed or self.transport.eof_written

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
