"""The body stream: `wsgi.input` of a body that is still coming.

Decides when the thread that reads waits for bytes, and when the connection that delivers them
waits for the thread. It must not know what a request is.

Source: PEP 3333, section "Input and Error Streams".
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from edgeserver.adapters.wsgi.pool import Mailbox

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CLOSED_EARLY", "BodyStream", "ClientDisconnectedError"]

_HIGH = 256 * 1024
"""Bytes kept for the reader; beyond that the connection is asked to wait."""

_LOW = 64 * 1024
"""Bytes left over at which the connection may go on."""

_MOST_PIECES = 1024
"""Pieces kept for the reader at most: one of a single byte takes two hundred."""

_FEW_PIECES = 256
"""Pieces left over at which the connection may go on."""


CLOSED_EARLY = "the connection was closed before the answer was complete"
"""What an application is told that still answers, whoever notices first that nobody hears it."""


class ClientDisconnectedError(ConnectionResetError):
    """The connection is gone: the body will never be complete, or the answer never arrive."""


class BodyStream(io.RawIOBase):
    """The body of one request: fed by the event loop, read by one thread.

    Args:
        mailbox: The way to the event loop.
        on_demand: Whether nothing is sent before somebody reads: the client waits for a
            `100 Continue`.

    Attributes:
        wanted: A future that is done when somebody reads, where `on_demand`; else None.
    """

    def __init__(self, mailbox: Mailbox, *, on_demand: bool = False) -> None:
        super().__init__()
        self.wanted: asyncio.Future[None] | None = None
        if on_demand:
            self.wanted = mailbox.loop.create_future()
        self._asked = not on_demand
        self._mailbox = mailbox
        # What the thread waits for, and the guard of all that follows.
        self._changed = threading.Condition()
        self._chunks: deque[memoryview] = deque()
        self._size = 0
        self._complete = False
        # Why the rest will never come; empty while it may.
        self._cut = ""
        # Whether nobody is going to read.
        self._abandoned = False
        # Done when the connection may go on.
        self._room: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole body has come."""
        return self._complete

    @property
    def size(self) -> int:
        """How many bytes wait to be read."""
        return self._size

    # The event loop's side.

    def feed(self, chunk: bytes) -> asyncio.Future[None] | None:
        """Add a piece; return a future where no more should come until it is done."""
        with self._changed:
            if self._abandoned:
                return None
            self._chunks.append(memoryview(chunk))
            self._size += len(chunk)
            self._changed.notify()
            if self._size <= _HIGH and len(self._chunks) < _MOST_PIECES:
                return None
            if self._room is None:
                self._room = self._mailbox.loop.create_future()
            return self._room

    def end(self) -> None:
        """Say that the body is complete."""
        with self._changed:
            self._complete = True
            self._changed.notify()

    def cut(self, why: str) -> None:
        """Say that the rest will never come, and why."""
        with self._changed:
            if not self._complete:
                self._cut = why
            self._changed.notify()

    # The thread's side.

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what is there into `buffer`, waiting for at least a byte; 0 at the end.

        Raises:
            ClientDisconnectedError: The rest will never come; the message says why.
            ValueError: The stream has been closed.
        """
        target = memoryview(buffer).cast("B")
        if not target:
            return 0
        if not self._asked:
            self._asked = True
            self._mailbox.post(self._say_wanted)
        with self._changed:
            while not self._chunks:
                if self.closed:
                    raise ValueError("wsgi.input is closed")
                if self._complete:
                    return 0
                if self._cut:
                    raise ClientDisconnectedError(
                        f"the body will never be complete, since {self._cut}"
                    )
                self._changed.wait()
            count = self._take(target)
            if self._room is not None and self._size <= _LOW and len(self._chunks) < _FEW_PIECES:
                self._mailbox.post(self._say_room)
        return count

    def _take(self, target: memoryview) -> int:
        chunk = self._chunks[0]
        count = min(len(chunk), len(target))
        target[:count] = chunk[:count]
        if count == len(chunk):
            self._chunks.popleft()
        else:
            self._chunks[0] = chunk[count:]
        self._size -= count
        return count

    def abandon(self) -> None:
        """Drop what has come and what will come: nobody is going to read it."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
            self._size = 0
            if self._room is not None:
                self._mailbox.post(self._say_room)

    def _say_wanted(self) -> None:
        _settle(self.wanted)

    def _say_room(self) -> None:
        with self._changed:
            room, self._room = self._room, None
        _settle(room)


def _settle(future: asyncio.Future[Any] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
