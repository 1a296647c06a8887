"""How a connection ends after something was written that the peer should still get.

Decides how long a peer may take for it, and how much of its own bytes is thrown away meanwhile.
It must not know what was said: a socket closed with unread input sends a reset, and the reset
may overtake the last words; a socket whose peer takes nothing would stay open for good.

Source: RFC 9112 section 9.6, which describes this for HTTP; for other protocols it is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgeserver.errors import StreamClosedError

__all__ = ["Closing", "closed_error", "linger", "set_closed_error_factory"]

DRAIN_BYTES = 256 * 1024
CHECK_S = 1.0
PATIENCE_S = 60.0


_make_closed_error: Callable[[BaseException | None], StreamClosedError] = StreamClosedError


def closed_error(real_error: BaseException | None = None) -> StreamClosedError:
    """Return the error for a closed connection; every one of them is made here.

    Args:
        real_error: What closed the connection, where that is known.
    """
    return _make_closed_error(real_error)


def set_closed_error_factory(factory: Callable[[BaseException | None], StreamClosedError]) -> None:
    """Have `closed_error` return what `factory(real_error)` makes.

    So that a guest whose applications catch an error class of their own gets one that is both.
    """
    global _make_closed_error
    _make_closed_error = factory


def linger(transport: asyncio.Transport) -> None:
    """End `transport` so that its peer can read what it was told, which must take a second at most.

    For last words of a few bytes to whom nothing is owed, such as an alert.
    """
    last = Closing(asyncio.Protocol(), asyncio.get_running_loop(), patience_s=CHECK_S)
    last.take_over(transport, unread=True)


class Closing(asyncio.Protocol):
    """The last protocol of a transport: it flushes what was written, then closes.

    Once everything is written, the peer has a second to close its side, and 256 KiB to throw
    away. While something is left to write, it has a minute to take at least a part of it.

    A peer that sends more is listened to no more, but not cut off before its time: a reset would
    reach it, in the middle of sending, before it has read what was said.

    Args:
        above: The protocol before this one; it still hears `resume_writing` and the end.
        loop: The loop of the transport, which need not run at the moment.
        patience_s: How long the peer may take nothing of what is left to write.
    """

    __slots__ = (
        "_above",
        "_checked_s",
        "_drain_left",
        "_full_patience_s",
        "_left_bytes",
        "_loop",
        "_patience_s",
        "_timer",
        "_transport",
    )

    def __init__(
        self,
        above: asyncio.Protocol,
        loop: asyncio.AbstractEventLoop,
        *,
        patience_s: float | None = None,
    ) -> None:
        self._above = above
        self._loop = loop
        self._drain_left = DRAIN_BYTES
        self._full_patience_s = PATIENCE_S if patience_s is None else patience_s
        self._patience_s = self._full_patience_s
        self._left_bytes = 0
        self._checked_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def take_over(
        self, transport: asyncio.Transport, *, unread: bool, always: bool = False
    ) -> None:
        """End `transport`.

        Args:
            transport: The live transport; everything to say was written to it.
            unread: Whether the peer may have sent what nobody has read.
            always: Whether to drain that also where the transport cannot be half-closed: the peer
                knows the end from what was said.
        """
        can_say_eof = transport.can_write_eof()
        linger = unread and (can_say_eof or always) and not transport.is_closing()
        self._left_bytes = transport.get_write_buffer_size()
        if not linger and not self._left_bytes:
            transport.close()
            return
        self._transport = transport
        transport.set_protocol(self)
        try:
            if linger:
                if can_say_eof:
                    transport.write_eof()
                if not transport.is_reading():
                    transport.resume_reading()
            else:
                transport.close()
        except (OSError, RuntimeError):  # the peer has gone, or the transport cannot half-close
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Throw `data` away; a peer that sends without end is heard no more."""
        self._drain_left -= len(data)
        transport = self._transport
        if self._drain_left <= 0 and transport is not None and transport.is_reading():
            transport.pause_reading()

    def eof_received(self) -> bool:
        """Let the transport close: the peer has read to our end, or does not want to."""
        return False

    def resume_writing(self) -> None:
        """Pass it on."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = None
        self._above.connection_lost(exc)

    def _wait(self) -> None:
        self._checked_s = self._loop.time()
        self._timer = self._loop.call_later(CHECK_S, self._check)

    def _check(self) -> None:
        """Abort if the peer has had its time, else wait on."""
        if self._transport is None:
            return
        left_bytes = self._transport.get_write_buffer_size()
        if left_bytes < self._left_bytes:
            self._left_bytes, self._patience_s = left_bytes, self._full_patience_s
        else:
            # By the clock: a loop that was busy may call this late.
            self._patience_s -= self._loop.time() - self._checked_s
            if not left_bytes or self._patience_s <= 0:
                error = None if not left_bytes else TimeoutError("the peer takes nothing more")
                self._above.connection_lost(error)
                self._transport.abort()
                return
        self._wait()
