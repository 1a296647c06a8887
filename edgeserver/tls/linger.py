"""How a connection is ended after something was said that the peer should still read.

Decides how long and how much is drained before the socket closes. It must know neither TLS nor
HTTP: a socket closed with unread input sends a reset, and the reset may overtake the last words.

Source: RFC 9112 section 9.6, which describes this for HTTP; for an alert it is the same.
"""

from __future__ import annotations

import asyncio
from typing import cast

__all__ = ["Linger"]

LINGER_S = 1.0
LINGER_BYTES = 256 * 1024


class Linger(asyncio.Protocol):
    """Half-closes a transport and throws away what still comes, for 1 s and 256 KiB at most."""

    __slots__ = ("_left", "_timer", "_transport")

    def __init__(self) -> None:
        self._left = LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    def take_over(cls, transport: asyncio.Transport) -> None:
        """Become the last protocol of `transport`, after everything to say was written."""
        linger = cls()
        transport.set_protocol(linger)
        linger.connection_made(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Half-close, keep reading, and start the clock."""
        transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport = transport
        if transport.is_closing():
            return
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
        try:
            transport.resume_reading()
            transport.write_eof()
        except (OSError, RuntimeError):  # the peer has gone, or the transport cannot half-close
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Throw the bytes away; a peer that sends without end is listened to no more.

        It is not cut off before its time: a reset would reach it before it has read what was said.
        """
        self._left -= len(data)
        if self._left < 0 and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Close: the peer has read to our end, or does not want to."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = None
