"""The way out of an open TLS connection: what is written, what waits, and how it ends.

Decides when plain text is encrypted, with backpressure, and in which order close_notify, FIN and
close are sent. It must know nothing of what comes in, nor of what is spoken above it.

Rules that hold throughout:

- A `MemoryBIO` never shrinks and `SSLObject.write` takes everything at once: never more than
  16 KiB enters either of them at a time. What waits, waits as plain bytes in `_backlog`.
- Something waits in `_backlog` only while the transport below has told us to pause; the protocol
  above is then paused too.
- `_held` is true whenever a write may not go straight down, so that the road of an answer tests
  one flag.
- While the protocol above takes what has come, small records stay in the output BIO until it has
  returned (`_room` is not 0): what one segment causes, close_notify too, is one write below.

Source: RFC 8446 section 6.1 for close_notify and half-close; asyncio's documentation for
`WriteTransport`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any

from edgeserver.tls.connection.timeouts import Deadlines
from edgeserver.tls.handshake.limiter import Closing

__all__ = ["CHUNK", "OutgoingHalf"]

CHUNK = 16384
"""The most that enters a `MemoryBIO` at a time, and the most that one record carries."""

_BATCH = 4 * CHUNK  # what is handed down at a time: as much as a transport takes before it pauses
_Bytes = bytes | bytearray | memoryview


class OutgoingHalf(asyncio.Transport):
    """The writing half of `TLSTransport`, and its end.

    Args:
        lower: The transport that carries the records.
        closings: Ends connections that were closed when their time is over; without it they
            wait for their peer as long as it likes.
    """

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_closing",
        "_closings",
        "_deaf",
        "_eof_written",
        "_error",
        "_held",
        "_incoming",
        "_lower",
        "_lower_paused",
        "_outgoing",
        "_protocol",
        "_records",
        "_room",
        "_sslobject",
        "_told_to_pause",
    )

    _sslobject: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _records: Any  # what reads and writes records: `_sslobject`, without its Python methods

    def __init__(
        self, lower: asyncio.Transport, *, closings: Deadlines[Closing] | None = None
    ) -> None:
        self._lower = lower
        self._protocol: Any = None  # asyncio.Protocol; None before the start and after the end
        self._held = False
        self._room = 0  # how much more the output BIO may hold back; 0 where it holds nothing
        self._deaf = True  # nothing that comes may go up; not before the handshake is done either
        self._lower_paused = False
        self._told_to_pause = False  # the protocol above; the transport below changes more often
        self._backlog: deque[_Bytes] | None = None
        self._backlog_bytes = 0
        self._eof_written = False
        self._closing = False
        self._closings = closings
        self._error: Exception | None = None

    def write(self, data: _Bytes) -> None:
        """Encrypt and send `data`; what cannot go now waits, and the protocol is paused."""
        if self._held or type(data) is not bytes or not 0 < len(data) <= CHUNK:
            self._write_parts((data,))
            return
        room = self._room
        if room:
            if len(data) >= room:
                self._lower.write(self._outgoing.read())
                room = CHUNK + 1
            self._room = room - len(data)
        try:
            self._records.write(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        if not room:
            self._lower.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[_Bytes]) -> None:
        """Send several pieces, in as few records as they fit into."""
        self._write_parts(list_of_data)

    def _write_parts(self, parts: Iterable[_Bytes]) -> None:
        if self._eof_written:
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
            if kept and not self._closing:
                backlog.append(kept)
                self._backlog_bytes += len(kept)
        if backlog and not self._lower_paused:
            self._flush()

    def _flush(self) -> None:
        """Encrypt and hand down what waits until the transport below pauses."""
        backlog = self._backlog
        write, read = self._records.write, self._outgoing.read
        try:
            while backlog and not self._lower_paused:
                records = []
                size = 0
                while backlog and size < _BATCH:
                    piece = self._take(backlog)
                    write(piece)
                    records.append(read())
                    size += len(piece)
                self._backlog_bytes -= size
                self._hand_down(records)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        if backlog:
            return
        self._backlog = None
        if self._closing:
            self._finish_close()
        elif self._eof_written:
            self._finish_eof()

    def _hand_down(self, records: list[bytes]) -> None:
        lower: Any = self._lower  # uvloop's inherits nothing of asyncio's
        if isinstance(lower, asyncio.Transport):
            # not its writelines, which on Python 3.12 and 3.13 never pauses who writes
            lower.write(b"".join(records))
        else:  # uvloop's: it hands the pieces to the kernel without joining them
            lower.writelines(records)

    @staticmethod
    def _take(backlog: deque[_Bytes]) -> _Bytes:
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

    def _send_outgoing(self) -> None:
        if self._outgoing.pending and not self._eof_written:
            self._lower.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        """Tell that half-close works: TLS has it since RFC 8446 section 6.1."""
        return True

    def write_eof(self) -> None:
        """Send what waits, then close_notify and FIN; reading goes on."""
        if self._eof_written or self._closing:
            return
        self._eof_written = self._held = True
        if not self._backlog:
            self._finish_eof()

    def _finish_eof(self) -> None:
        self._send_close_notify()
        if self._lower.can_write_eof() and not self._lower.is_closing():
            self._lower.write_eof()

    def _send_close_notify(self) -> None:
        """Send close_notify without reading: OpenSSL would take records after it for an error."""
        unread = self._incoming.read() if self._incoming.pending else b""
        try:
            self._sslobject.unwrap()
        except ssl.SSLError:  # nearly always SSLWantReadError: the peer's is not here yet
            pass
        if unread:
            self._incoming.write(unread)
        if self._outgoing.pending:
            self._lower.write(self._outgoing.read())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when `pause_writing` and `resume_writing` are called; as for the transport below."""
        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return `(low, high)`."""
        return self._lower.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, plain ones here and records below."""
        held = self._outgoing.pending if self._room else 0
        return self._backlog_bytes + held + self._lower.get_write_buffer_size()

    # ---- what the transport below tells us ----

    def pause_writing(self) -> None:
        """Stop handing records down; the protocol above is paused too."""
        self._lower_paused = self._held = True
        if not self._told_to_pause and self._protocol is not None and not self._closing:
            self._told_to_pause = True
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Send what waits; when nothing waits any more, the protocol above may write again."""
        if not self._lower_paused:  # this layer took over from one that had been paused
            return
        self._lower_paused = False
        self._held = self._closing or self._eof_written
        if self._backlog:
            self._flush()
        if self._lower_paused or not self._told_to_pause or self._closing:
            return  # what was flushed has filled the transport below again, or nobody waits
        self._told_to_pause = False
        self._protocol.resume_writing()

    # ---- ends ----

    def close(self) -> None:
        """Send what waits and close_notify, then close; `connection_lost` follows."""
        if self._closing:
            return
        self._closing = self._held = self._deaf = True
        if not self._backlog:
            self._finish_close()
            return
        self._start_clock()

    def _fail(self, exc: ssl.SSLError) -> None:
        """End the connection after what OpenSSL refused, or an alert of the peer."""
        if self._closing:
            return
        self._error = exc
        self._forget()
        self._send_outgoing()  # the alert
        self._close_lower()

    def _forget(self) -> None:
        """Drop what waits, and take and give nothing more."""
        self._closing = self._held = self._deaf = True
        self._backlog = None
        self._backlog_bytes = 0

    def _finish_close(self) -> None:
        if not self._eof_written:
            self._send_close_notify()
        self._close_lower()

    def _close_lower(self) -> None:
        self._lower.close()
        if self._lower.get_write_buffer_size():
            self._start_clock()

    def _start_clock(self) -> None:
        """Do not wait without end for a peer that reads nothing any more."""
        if self._closings is not None:
            self._closings.add(self)

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        if self._closing and self._protocol is None:
            return  # it is lost already, and asyncio's transport would not bear it
        self._forget()
        self._lower.abort()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed or closing."""
        return self._closing or self._lower.is_closing()
