"""The wire half of a connection: how bytes leave, how a slow peer is noticed, how it ends.

Decides when output is joined and written, what back-pressure an application sees, and that every
early close lingers so that the peer receives what was said. It must not know of requests.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from edgeserver.iostream import closed_error
from edgeserver.support.loggers import gen_log

if TYPE_CHECKING:
    from edgeserver.http1.endpoint import HTTP1Endpoint
    from edgeserver.httputil.context import ConnectionContext

__all__ = ["NEVER", "Wire"]

NEVER: Final = math.inf

JOIN_BELOW: Final = 16 * 1024
"""Output up to this many bytes waits for what may stand beside it in the same turn."""

JOIN_LIMIT: Final = 64 * 1024
"""Output up to this many bytes is joined to one write; more is handed over piece by piece."""

LINGER_S: Final = 1.0
LINGER_BYTES: Final = 256 * 1024


class Wire(asyncio.Protocol):
    """Output, flow control, deadlines and the end of one connection.

    Attributes:
        transport: The transport; None once the connection is lost or handed on.
        context: Who is at the other end.
        deadline: When waiting for the peer's bytes ends, in loop seconds.
        write_deadline: When waiting for the peer to take bytes ends, in loop seconds.
    """

    __slots__ = (
        "_closing",
        "_corked",
        "_eof",
        "_flush_scheduled",
        "_linger_left",
        "_out",
        "_out_size",
        "_paused",
        "_reading_paused",
        "_ready",
        "_stalled_size",
        "_waiters",
        "context",
        "deadline",
        "endpoint",
        "loop",
        "transport",
        "write_deadline",
    )

    context: ConnectionContext
    loop: asyncio.AbstractEventLoop
    _ready: asyncio.Future[None]

    def __init__(self, endpoint: HTTP1Endpoint) -> None:
        self.endpoint = endpoint
        self.transport: asyncio.Transport | None = None
        self.deadline = NEVER
        self.write_deadline = NEVER
        self._out: list[bytes] = []
        self._out_size = 0
        self._corked = False
        self._flush_scheduled = False
        self._paused = False
        self._reading_paused = False
        self._waiters: list[asyncio.Future[None]] | None = None
        self._stalled_size = 0
        self._closing = False
        self._eof = False
        self._linger_left = 0

    # Output.

    def send(self, data: bytes) -> asyncio.Future[None]:
        """Have `data` written before the event loop's next turn, joined with what follows.

        Args:
            data: What goes out, as it is.

        Returns:
            A future that is done when the application may write more.
        """
        if self.transport is not None:
            self._out.append(data)
            self._out_size = size = self._out_size + len(data)
            if size > JOIN_BELOW:
                self._consider_flush(size)
            elif not (self._corked or self._flush_scheduled):
                self._flush_scheduled = True
                self.endpoint.flush_soon(self)
        return self._waiter() if self._paused else self._ready

    def _consider_flush(self, size: int) -> None:
        """Flush now where what is held is long; `size` is more than is joined to a neighbour."""
        if size > JOIN_LIMIT or not self._corked:
            self.flush()

    def _uncork(self) -> None:
        """End a stretch in which output was only collected."""
        self._corked = False
        if self._out and not self._flush_scheduled:
            self._flush_scheduled = True
            self.endpoint.flush_soon(self)

    def flush(self) -> None:
        """Give the transport all that is held."""
        self._flush_scheduled = False
        out = self._out
        if not out:
            return
        self._out = []
        size, self._out_size = self._out_size, 0
        transport = self.transport
        if transport is None:
            return
        if len(out) == 1:
            transport.write(out[0])
        elif size <= JOIN_LIMIT:
            transport.write(b"".join(out))
        else:
            # Not writelines: asyncio's own, up to 3.13, never says when its buffer is full.
            for data in out:
                transport.write(data)

    def ready_future(self) -> asyncio.Future[None]:
        """Return a future that is done when the application may write more."""
        return self._waiter() if self._paused else self._ready

    def failed_future(self) -> asyncio.Future[None]:
        """Return a future that has failed because the connection is closed."""
        future = asyncio.get_running_loop().create_future()
        future.set_exception(closed_error())
        # Retrieved beforehand: most of these are dropped unawaited.
        future.exception()
        return future

    def _waiter(self) -> asyncio.Future[None]:
        waiter = self.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def _release_waiters(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def pause_writing(self) -> None:
        """Hear from the transport that its buffer is full."""
        self._paused = True
        self._watch_output()

    def resume_writing(self) -> None:
        """Hear from the transport that its buffer has emptied."""
        self._paused = False
        if not self._closing:
            self.write_deadline = NEVER
        self._release_waiters()

    def _watch_output(self) -> None:
        if self.transport is not None:
            self._stalled_size = self.transport.get_write_buffer_size()
            self.write_deadline = self.loop.time() + self.endpoint.settings.write_timeout

    # Input.

    def _pause_reading(self) -> None:
        if not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()

    # The end.

    @property
    def closing(self) -> bool:
        """Whether nothing more will be read as a request."""
        return self._closing or self.transport is None

    def shut(self) -> None:
        """Close once all output has been delivered."""
        if self.transport is None:
            return
        self._closing = True
        self.deadline = NEVER
        self.flush()
        self._watch_output()
        self.transport.close()

    def linger(self) -> None:
        """Close so that the peer receives the output, even if it is still sending.

        A socket closed with unread input makes the kernel send a reset, which destroys what the
        peer has not read yet: so only our half is closed, and its input is drained for a while.
        """
        if self.transport is None or self._linger_left:
            return
        if self._eof:
            self.shut()
            return
        self._closing = True
        self.flush()
        self._watch_output()
        self._linger_left = LINGER_BYTES
        self.deadline = self.loop.time() + LINGER_S
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
        except OSError:
            pass  # the peer was faster; connection_lost follows
        self._resume_reading()

    def abort(self) -> None:
        """Close at once; output that the peer has not taken is lost."""
        if self.transport is not None:
            self._closing = True
            self.flush()
            self.transport.abort()

    def _drain_input(self, size: int) -> None:
        self._linger_left -= size
        if self._linger_left > 0:
            return
        self._linger_left = 1
        # Not cut off: a reset reaches a peer in the middle of sending before it has read our
        # answer (nginx says 502 then). It is listened to no more, and has its time to look.
        self._pause_reading()

    # Deadlines.

    def check_deadlines(self, now_s: float) -> None:
        """Act on what is overdue; the endpoint calls this about once a second."""
        transport = self.transport
        if transport is None:
            return
        if self.write_deadline <= now_s:
            size = transport.get_write_buffer_size()
            if size and size >= self._stalled_size:
                gen_log.info("Timeout writing to %s: it takes no bytes", self.context)
                self.abort()
                return
            self._stalled_size = size
            self.write_deadline = now_s + self.endpoint.settings.write_timeout if size else NEVER
        if self.deadline > now_s:
            return
        if not self._linger_left:
            self.deadline = NEVER
            self._waited_too_long()
        elif transport.get_write_buffer_size():
            self.deadline = now_s + LINGER_S
        else:
            transport.abort()

    def _waited_too_long(self) -> None:
        """Act on a peer that has not sent in time what it should have."""
        self.abort()

    def _forget_transport(self) -> None:
        self.transport = None
        self.deadline = self.write_deadline = NEVER
        self._paused = False
        self._out = []
        self._release_waiters()
