"""The TLS writer: plain text in, records out, with back-pressure and an orderly end.

Decides when plain text is encrypted, what waits, and in which order close_notify, FIN and close
are sent. It must know nothing of what comes in, nor of the protocol above.

Rules that hold throughout:

- A `MemoryBIO` never shrinks and `SSLObject.write` takes everything at once: never more than
  16 KiB enters either of them at a time. What waits, waits as plain bytes in `_backlog`.
- Something waits in `_backlog` only while the transport below has told us to pause; the protocol
  above is then paused too.
- `_blocked` is true whenever a write may not go straight down, so that the way of an answer tests
  one flag.
- While the writer is corked small records stay in the output BIO: what one segment causes,
  close_notify too, is one write below.

Source: RFC 8446 section 6.1 for close_notify and half-close; asyncio's documentation for
`WriteTransport`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from edgeserver.tls.connection.timeouts import Timeouts

__all__ = ["CHUNK", "CORKED", "Abortable", "Bytes", "TLSWriter", "WriterOwner"]

CHUNK = 16384
"""The most that enters a `MemoryBIO` at a time, and the most that one record carries."""

CORKED = CHUNK + 1
"""What `TLSWriter.room` is set to so that small records are held back."""

_BATCH = 4 * CHUNK  # what is handed down at a time: as much as a transport takes before it pauses
Bytes = bytes | bytearray | memoryview


class Abortable(Protocol):
    """A connection that was closed and has not ended yet."""

    def abort(self) -> None:
        """End the connection at once."""


class WriterOwner(Protocol):
    """What a writer asks of the connection that it belongs to."""

    def encrypt_close_notify(self) -> None:
        """Have OpenSSL put close_notify into the output BIO; nothing of the input is read."""

    def fail(self, exc: ssl.SSLError) -> None:
        """Called when OpenSSL has refused to write; it calls `end_with_alert`."""


class TLSWriter:
    """The write side of one TLS connection, and its end.

    Args:
        lower: The transport that carries the records.
        owner: The connection.
        closings: Ends connections that were closed when their time is over; without it they
            wait for their peer as long as it likes.

    Attributes:
        closing: Whether the connection is closed or closing.
        eof_written: Whether the write side was closed alone.
        paused: Whether the transport below takes no more at present.
        room: How much more the output BIO may hold back, plus one; 0 while the writer is not
            corked. The owner corks by setting it to `CORKED`, and ends that by setting it to 0
            and `send_held`.
    """

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_blocked",
        "_closings",
        "_lower",
        "_outgoing",
        "_owner",
        "_records",
        "closing",
        "eof_written",
        "paused",
        "room",
    )

    _outgoing: ssl.MemoryBIO  # what OpenSSL has written and the transport below has not got yet
    _records: Any  # what writes records: an `SSLObject`, or the one in it without Python methods

    def __init__(
        self,
        lower: asyncio.Transport,
        owner: WriterOwner,
        *,
        closings: Timeouts[Abortable] | None = None,
    ) -> None:
        self._lower = lower
        self._owner = owner
        self._closings = closings
        self._blocked = False  # whether a write has to wait, or is refused
        self._backlog: deque[Bytes] | None = None  # plain text that waits; None where nothing does
        self._backlog_bytes = 0  # how much that is
        self.room = 0
        self.paused = False
        self.eof_written = False
        self.closing = False

    def open(self, records: Any, outgoing: ssl.MemoryBIO) -> None:
        """Begin to encrypt, once the handshake is done.

        Args:
            records: Its `write` encrypts.
            outgoing: Where the records then are.
        """
        self._records = records
        self._outgoing = outgoing

    # ---- out ----

    def write(self, data: Bytes) -> None:
        """Encrypt and send `data`; what cannot go now waits."""
        if self._blocked or type(data) is not bytes or not 0 < len(data) <= CHUNK:
            self.writelines((data,))
            return
        room = self.room
        if room:
            size = len(data)
            if size >= room:
                self._lower.write(self._outgoing.read())
                room = CORKED
            self.room = room - size
        try:
            self._records.write(data)
        except ssl.SSLError as exc:
            self._owner.fail(exc)
            return
        if not room:
            self._lower.write(self._outgoing.read())

    def writelines(self, parts: Iterable[Bytes]) -> None:
        """Send several pieces, in as few records as they fit into."""
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        backlog = self._backlog
        if backlog is None:
            backlog = self._backlog = deque()
        for part in parts:
            if not isinstance(part, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"data argument must be a bytes-like object, not {type(part).__name__!r}"
                )
            # a copy of what its owner may change before it is sent
            kept = part if type(part) is bytes else bytes(part)
            if kept and not self.closing:
                backlog.append(kept)
                self._backlog_bytes += len(kept)
        if backlog and not self.paused:
            self._flush()

    def send_held(self) -> None:
        """Send what is in the output BIO, unless the write side is closed."""
        if not self.eof_written:
            self._lower.write(self._outgoing.read())

    def buffer_size(self) -> int:
        """Return how many bytes wait, plain ones here and records below."""
        held = self._outgoing.pending if self.room else 0
        return self._backlog_bytes + held + self._lower.get_write_buffer_size()

    def _flush(self) -> None:
        """Encrypt and hand down what waits until the transport below pauses."""
        backlog = self._backlog
        write, read = self._records.write, self._outgoing.read
        try:
            while backlog and not self.paused:
                records = []
                size = 0
                while backlog and size < _BATCH:
                    piece = _take(backlog)
                    write(piece)
                    records.append(read())
                    size += len(piece)
                self._backlog_bytes -= size
                self._hand_down(records)
        except ssl.SSLError as exc:
            self._owner.fail(exc)
            return
        if backlog:
            return
        self._backlog = None
        if self.closing:
            self._finish_close()
        elif self.eof_written:
            self._finish_eof()

    def _hand_down(self, records: list[bytes]) -> None:
        lower: Any = self._lower  # uvloop's inherits nothing of asyncio's
        if isinstance(lower, asyncio.Transport):
            # not its writelines, which on Python 3.12 and 3.13 never pauses who writes
            lower.write(b"".join(records))
        else:  # uvloop's: it hands the pieces to the kernel without joining them
            lower.writelines(records)

    # ---- back-pressure ----

    def pause(self) -> None:
        """Hand nothing more down, until `resume`."""
        self.paused = self._blocked = True

    def resume(self) -> bool:
        """Send what waits.

        Returns:
            Whether all of it has gone, so that the protocol above may write again.
        """
        self.paused = False
        self._blocked = self.closing or self.eof_written
        if self._backlog:
            self._flush()
        return not self.paused and not self.closing  # a flush may fill the transport below again

    # ---- ends ----

    def write_eof(self) -> None:
        """Send what waits, then close_notify and FIN."""
        if self.eof_written or self.closing:
            return
        self.eof_written = self._blocked = True
        if not self._backlog:
            self._finish_eof()

    def close(self) -> None:
        """Send what waits and close_notify, then close."""
        self.closing = self._blocked = True
        if self._backlog:
            self._start_clock()
        else:
            self._finish_close()

    def end_with_alert(self) -> None:
        """Drop what waits, send what OpenSSL has to say, and close."""
        self.forget()
        if self._outgoing.pending:
            self.send_held()
        self._close_lower()

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self.forget()
        self._lower.abort()

    def forget(self) -> None:
        """Drop what waits, and take nothing more."""
        if self.closing and self._closings is not None:
            self._closings.discard(self)  # which may not have it
        self.closing = self._blocked = True
        self._backlog = None
        self._backlog_bytes = 0

    def _finish_eof(self) -> None:
        self._send_close_notify()
        if self._lower.can_write_eof() and not self._lower.is_closing():
            self._lower.write_eof()

    def _finish_close(self) -> None:
        if not self.eof_written:
            self._send_close_notify()
        self._close_lower()

    def _send_close_notify(self) -> None:
        self._owner.encrypt_close_notify()
        if self._outgoing.pending:
            self._lower.write(self._outgoing.read())

    def _close_lower(self) -> None:
        self._lower.close()
        if self._lower.get_write_buffer_size():
            self._start_clock()

    def _start_clock(self) -> None:
        """Do not wait without end for a peer that reads nothing any more."""
        if self._closings is not None:
            self._closings.add(self)


def _take(backlog: deque[Bytes]) -> Bytes:
    """Take the next at most 16 KiB: a part of a long piece, or short ones joined."""
    piece = backlog.popleft()
    size = len(piece)
    if size > CHUNK:
        view = memoryview(piece)
        backlog.appendleft(view[CHUNK:])
        return view[:CHUNK]
    if size == CHUNK or not backlog or size + len(backlog[0]) > CHUNK:
        return piece
    parts = [piece]
    while backlog and size + len(backlog[0]) <= CHUNK:
        size += len(backlog[0])
        parts.append(backlog.popleft())
    return b"".join(parts)
