"""HTTP/2 as a client speaks it: frames, and header blocks as a browser's encoder makes them.

Decides which bytes the requests of a workload are on a connection, and where an answer ends. It
reads no header block: whether an answer is right is held by others (`checks.py`).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

from benchmarks.model import BenchmarkError, Workload

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
PRIORITY_UPDATE = 16
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
LARGE_WINDOW = (1 << 31) - 1
_HEADER = struct.Struct(">HBBBI")

# RFC 7541 appendix A: what stands in the table that is never sent.
_STATIC_NAMES = {b":authority": 1, b":method": 2, b":path": 4, b":scheme": 6}
_STATIC_FIELDS = {(b":method", b"GET"): 2, (b":method", b"POST"): 3, (b":scheme", b"http"): 6}
_STATIC_SIZE = 61

Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 255, kind, flags, stream_id) + payload


def opening() -> bytes:
    """Return what a client sends first: it takes as much as there is."""
    settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGE_WINDOW)
    step = struct.pack(">I", LARGE_WINDOW - 65535)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, step)


def fields_of(request: bytes) -> Fields:
    """Return what the head of an HTTP/1 request says, as HTTP/2 says it: the path first."""
    line, *lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = line.split(b" ")
    pairs = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    fields = [(name, value) for name, value in pairs if name not in (b"host", b"connection")]
    head = [(b":path", target), (b":scheme", b"http"), (b":authority", dict(pairs)[b"host"])]
    return [*head, (b":method", method), *fields]


class Encoder:
    """The client's half of HPACK, as nghttp2 and browsers do it: all enters the table but paths.

    Args:
        huffman: Encodes a string, or None to send it as it is.
    """

    def __init__(self, huffman: Callable[[bytes], bytes] | None = None) -> None:
        self._huffman = huffman
        self._entries: dict[tuple[bytes, bytes], int] = {}

    def encode(self, fields: Fields) -> bytes:
        """Return the header block of `fields`."""
        return b"".join([self._encode(field) for field in fields])

    def _encode(self, field: tuple[bytes, bytes]) -> bytes:
        index = _STATIC_FIELDS.get(field)
        if index is None and field in self._entries:
            index = _STATIC_SIZE + len(self._entries) - self._entries[field]
        if index is not None:
            return bytes((0x80 | index,))
        name, value = field
        known = _STATIC_NAMES.get(name, 0)
        if name == b":path":
            return bytes((known,)) + self._string(value)
        self._entries[field] = len(self._entries)
        return bytes((0x40 | known,)) + (b"" if known else self._string(name)) + self._string(value)

    def _string(self, text: bytes) -> bytes:
        coded = b"" if self._huffman is None else self._huffman(text)
        if coded and len(coded) < len(text):
            return _length(len(coded), 0x80) + coded
        return _length(len(text), 0) + text


def _length(size: int, first: int) -> bytes:
    if size < 127:
        return bytes((first | size,))
    return bytes((first | 127, (size - 127) & 127 | 128, (size - 127) >> 7))


class Requests:
    """The requests of one connection: the next one is on the next stream."""

    def __init__(self, huffman: Callable[[bytes], bytes] | None = None) -> None:
        self._encoder = Encoder(huffman)
        self.stream_id = -1

    def next(self, fields: Fields, body: bytes | None = None) -> bytes:
        """Return a request; `body` of at most a frame."""
        self.stream_id += 2
        flags = END_HEADERS if body is not None else END_HEADERS | END_STREAM
        head = frame(HEADERS, flags, self.stream_id, self._encoder.encode(fields))
        return head if body is None else head + frame(DATA, END_STREAM, self.stream_id, body)


class Frames:
    """What a server has sent, frame by frame."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield type, flags, stream and payload of each frame that is there."""
        data = self._buffer + data
        position = 0
        while len(data) - position >= _HEADER.size:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, position)
            end = position + _HEADER.size + (high << 8 | low)
            if end > len(data):
                break
            yield kind, flags, stream_id, data[position + _HEADER.size : end]
            position = end
        self._buffer = data[position:]


class Connection:
    """A client that asks and waits: a request is sent when the answer before has come."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._frames = Frames()
        self._requests = Requests()
        # Else each small write waits until the server has acknowledged the one before, which takes
        # it 40 ms where it has nothing to say.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(opening())

    def ask(self, workload: Workload, request: bytes) -> None:
        """Send a request, and wait for the end of its answer.

        Raises:
            BenchmarkError: The server gives none.
        """
        self._socket.sendall(self._requests.next(fields_of(request)))
        size = 0
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                raise BenchmarkError("the server closed instead of answering")
            for kind, flags, stream_id, payload in self._frames.feed(data):
                if kind in (RST_STREAM, GOAWAY):
                    raise BenchmarkError(f"the server ended it: {kind}, {payload!r}")
                if kind == SETTINGS and not flags:
                    self._socket.sendall(frame(SETTINGS, 1, 0))
                elif stream_id == self._requests.stream_id:
                    size += len(payload) if kind == DATA else 0
                    if flags & END_STREAM:
                        if size != workload.answer_bytes:
                            raise BenchmarkError(f"an answer of {size} bytes")
                        return
