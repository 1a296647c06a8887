"""The server without a network: its protocol object, fed by hand over a transport that only counts.

Decides how a protocol comes into being outside of a listening socket. Only asyncio's own surface is
used on it: `connection_made`, `data_received`, `connection_lost`.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.load import vary
from benchmarks.model import SERVERS, Workload

sys.path.insert(0, str(SERVERS))  # the scripts there find each other so, and so do we

import common

PEER = ("127.0.0.1", 40000)


class CountingTransport(asyncio.Transport):
    """Takes everything at once, as a client that reads fast; remembers how much, and the last."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        sock = socket.socket()
        super().__init__({"peername": PEER, "sockname": ("127.0.0.1", 80), "socket": sock})
        self._sock = sock
        self.protocol = protocol
        self._closing = False
        self.written = 0
        self.last = b""

    def write(self, data: Any) -> None:
        self.written += len(data)
        self.last = data

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (16 * 1024, 64 * 1024)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore them: the buffer is always empty."""

    def pause_reading(self) -> None:
        raise RuntimeError("the server wants to read less: feed it by turns")

    def resume_reading(self) -> None:
        """Do nothing: reading was never paused."""

    def is_reading(self) -> bool:
        return not self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Do nothing: there is nobody to tell."""

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._sock.close()

    abort = close

    def lose(self) -> None:
        """Close, and tell the protocol."""
        self.close()
        self.protocol.connection_lost(None)


async def protocol_factory(
    *options: str, script: str = "serve_edgeserver"
) -> tuple[Callable[[], asyncio.Protocol], Callable[[], None]]:
    """Return what makes the protocols of a server, and what stops that server.

    Args:
        options: Those of `servers/common.py`, without the port.
        script: Which of `servers/` makes the server, by its `build_server`.
    """
    seen: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    build_server = importlib.import_module(script).build_server
    server = build_server(common.parser().parse_args(["0", *options]))
    build: Callable[[Any], asyncio.Protocol] = server.build_protocol

    def spy(listener: Any) -> asyncio.Protocol:
        if not seen.done():
            seen.set_result(listener)
        return build(listener)

    # What a listener is remains the server's own affair: one real connection shows us one.
    server.build_protocol = spy
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server.add_sockets([listening])
        with socket.create_connection(listening.getsockname()):
            listener = await seen
    return (lambda: build(listener)), server.stop


def connect(make_protocol: Callable[[], asyncio.Protocol]) -> CountingTransport:
    """Return a transport whose protocol believes itself connected."""
    protocol = make_protocol()
    transport = CountingTransport(protocol)
    protocol.connection_made(transport)
    return transport


def requests_of(workload: Workload, count: int, start: int) -> list[bytes]:
    """Return `count` requests; those of a varied workload all differ."""
    template = workload.template()
    if workload.varied:
        return [vary(template, start + n) for n in range(count)]
    # Each a copy of its own, as a socket would give it: the hash of bytes is kept with the object.
    return [bytes(bytearray(template)) for _ in range(count)]
