"""The output buffer: what leaves when, and how a peer that takes nothing is noticed.

Decides when output is joined and written, and what back-pressure an application sees. It must not
know what the bytes say, nor that anything is read.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

from edgeserver.http.batching import Flushed, WriteBatch
from edgeserver.iostream import closed_error
from edgeserver.support.addresses import peer_of
from edgeserver.transport.lingering import Closing

__all__ = ["JOIN_BELOW", "JOIN_LIMIT", "NEVER", "OutputBuffer", "failed_future"]

NEVER: Final = math.inf

JOIN_BELOW: Final = 16 * 1024
"""Output up to this many bytes waits for what may stand beside it in the same turn."""

JOIN_LIMIT: Final = 64 * 1024
"""Output up to this many bytes is joined to one write; more is handed over piece by piece."""


class OutputBuffer(Flushed):
    """The outgoing bytes of one connection.

    Args:
        transport: Where they go.
        loop: Its event loop.
        batch: What flushes the outputs of one turn.
        ready: A future of that loop that is done.

    Attributes:
        loop: The event loop.
        transport: The transport; None once it is lost or handed on.
        corked: Whether output is only collected for now.
        planned: Whether it is flushed before the event loop's next turn.
        paused: Whether the transport wants no more for now.
        deadline: When the peer has taken nothing for too long, in loop seconds.
    """

    __slots__ = (
        "_batch",
        "_pieces",
        "_ready",
        "_size",
        "_stalled_size",
        "_waiters",
        "corked",
        "deadline",
        "loop",
        "paused",
        "planned",
        "transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        batch: WriteBatch,
        ready: asyncio.Future[None],
    ) -> None:
        self.transport: asyncio.Transport | None = transport
        self.loop = loop
        self._batch = batch
        self._ready = ready
        self.corked = False
        self.planned = False
        self.paused = False
        self.deadline = NEVER
        self._pieces: list[bytes] | None = None  # what has not been given to the transport
        self._size = 0  # the bytes of them, while there are any
        self._waiters: list[asyncio.Future[None]] | None = None  # who waits until it goes on
        self._stalled_size = 0  # what the transport held when it was last looked at

    def send(self, data: bytes) -> asyncio.Future[None]:
        """Have `data` written before the event loop's next turn, joined with what follows.

        Args:
            data: What goes out, as it is.

        Returns:
            A future that is done when the application may write more.
        """
        if self.transport is not None:
            pieces = self._pieces
            size = len(data)
            if pieces is None:
                self._pieces = [data]
            else:
                pieces.append(data)
                size += self._size
            self._size = size
            if size > JOIN_BELOW:
                if size > JOIN_LIMIT or not self.corked:
                    self.flush()
            elif not (self.planned or (self.corked and self._batch.direct)):
                self.planned = True
                self._batch.flush_soon(self, self.loop)
        return self._waiter() if self.paused else self._ready

    def collect(self, data: bytes) -> None:
        """Keep `data` until `flush`, or until it is much: the caller says when it leaves."""
        if self.transport is not None:
            pieces = self._pieces
            size = len(data)
            if pieces is None:
                self._pieces = [data]
            else:
                pieces.append(data)
                size += self._size
            self._size = size
            if size > JOIN_LIMIT:
                self.flush()

    def uncork(self) -> None:
        """End a stretch in which output was only collected."""
        self.corked = False
        if self._pieces is not None and not self.planned:
            self.planned = True
            self._batch.flush_soon(self, self.loop)

    def flush(self) -> None:
        """Give the transport all that is held."""
        self.planned = False
        pieces, transport = self._pieces, self.transport
        if pieces is None or transport is None:
            return
        self._pieces = None  # and not a list of its own for each idle connection
        if len(pieces) == 1:
            transport.write(pieces[0])
        elif self._size <= JOIN_LIMIT:
            transport.write(b"".join(pieces))
        else:
            # Not writelines: asyncio's own, up to 3.13, never says when its buffer is full.
            for data in pieces:
                transport.write(data)

    def close(self) -> None:
        """Close once the peer has taken all that was written, for which it has its time."""
        transport = self.transport
        if transport is not None:
            self.flush()
            self.watch()
            transport.close()

    def linger(self, above: asyncio.Protocol) -> None:
        """Close so that the peer receives all that was written, even if it is still sending.

        A socket closed with unread input makes the kernel send a reset, which destroys what the
        peer has not read yet. `Closing` only closes our half, and drains the peer's for a while.

        Args:
            above: Who is told of the end.
        """
        if self.transport is not None:
            self.flush()
            self.deadline = NEVER  # what is left to write is watched there
            last = Closing(above, self.loop, patience_s=self._batch.write_timeout_s)
            last.take_over(self.transport, unread=True, always=True)

    def abort(self) -> None:
        """Close at once; output that the peer has not taken is lost."""
        if self.transport is not None:
            self.flush()
            self.transport.abort()

    def local_address(self) -> Any:
        """Return the address that the connection came in on; None once it is gone."""
        return None if self.transport is None else self.transport.get_extra_info("sockname")

    def peer_socket(self) -> Any:
        """Return what has `getpeercert` where the connection is TLS, else the socket; or None."""
        if self.transport is None:
            return None
        return self.transport.get_extra_info("ssl_object") or self.transport.get_extra_info(
            "socket"
        )

    def render_peer(self) -> str:
        """Return the peer's address, for the log."""
        return "" if self.transport is None else peer_of(self.transport)

    # Back-pressure.

    def ready_future(self) -> asyncio.Future[None]:
        """Return a future that is done when the application may write more."""
        return self._waiter() if self.paused else self._ready

    def _waiter(self) -> asyncio.Future[None]:
        waiter = self.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def pause(self) -> None:
        """Called when the transport's buffer is full."""
        self.paused = True
        self.watch()

    def resume(self, *, closing: bool) -> None:
        """Called when the transport's buffer has emptied.

        Args:
            closing: Whether the rest is still to be taken in time, since the connection ends.
        """
        self.paused = False
        if not closing:
            self.deadline = NEVER
        self._release_waiters()

    def _release_waiters(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def watch(self) -> None:
        """See that the peer takes something in time of what is in the transport."""
        if self.transport is not None:
            self._stalled_size = self.transport.get_write_buffer_size()
            self.deadline = self.loop.time() + self._batch.write_timeout_s

    def is_stalled(self, now_s: float) -> bool:
        """Tell, once `deadline` is over, whether the peer has taken nothing; else watch on."""
        if self.deadline > now_s or self.transport is None:
            return False
        size = self.transport.get_write_buffer_size()
        if size and size >= self._stalled_size:
            return True
        self._stalled_size = size
        self.deadline = now_s + self._batch.write_timeout_s if size else NEVER
        return False

    def release(self) -> None:
        """Let the transport go: it is lost, or somebody else's from now on."""
        self.transport = None
        self.deadline = NEVER
        self.paused = False
        self._pieces = None
        if self._waiters is not None:
            self._release_waiters()


def failed_future() -> asyncio.Future[None]:
    """Return a future that has failed because the connection is closed."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(closed_error())
    # Retrieved beforehand: most of these are dropped unawaited.
    future.exception()
    return future
