"""`IOStream`: reading and writing one connection with futures, over an asyncio transport.

Decides when a read is satisfied, how much is kept for later, and when the stream counts as
closed. It must not know what is spoken on it, nor how the connection was made.
"""

from __future__ import annotations

import asyncio
import socket as socket_module
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

from edgeserver.errors import StreamClosedError
from edgeserver.ioloop import IOLoop
from edgeserver.support.loggers import gen_log
from edgeserver.transport.lingering import Closing, closed_error, set_closed_error_factory
from edgeserver.transport.read_until import (
    Finder,
    StreamBufferFullError,
    UnsatisfiableReadError,
    find_bytes,
    find_delimiter,
    find_match,
)

__all__ = [
    "IOStream",
    "StreamBufferFullError",
    "StreamClosedError",
    "UnsatisfiableReadError",
    "closed_error",
    "set_closed_error_factory",
]

DEFAULT_MAX_BUFFER_SIZE = 100 * 1024 * 1024
DEFAULT_READ_CHUNK_SIZE = 64 * 1024
READS_PER_TURN = 64

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class IOStream(asyncio.Protocol):
    """One connection as a stream: a protocol below, reads and writes with futures above.

    One read at a time; on a closed stream its future raises `StreamClosedError`, unless what is
    held satisfies it. What arrives while nobody reads is kept up to `read_chunk_size`, then the
    transport is paused; while a read waits, up to `max_buffer_size`, then the stream is closed.
    Reads that the buffer satisfies are done at once; but the 65th in one turn of the loop waits
    for the next turn, so that a flood of small messages cannot starve other connections.

    Args:
        max_buffer_size: The most that is kept for a waiting read, in bytes; default 100 MiB.
        read_chunk_size: The most that is kept ahead of any read, in bytes; default 64 KiB.
        on_connect: Called with the stream once it has its transport.

    Source: `tornado.iostream.IOStream`, of which this is the part that servers use.
    """

    def __init__(
        self,
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
        *,
        on_connect: Callable[[IOStream], None] | None = None,
    ) -> None:
        self.max_buffer_size = max_buffer_size or DEFAULT_MAX_BUFFER_SIZE
        self.read_chunk_size = min(read_chunk_size or DEFAULT_READ_CHUNK_SIZE, self.max_buffer_size)
        self.error: BaseException | None = None
        self._on_connect = on_connect
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: Any = None
        self._buffer = bytearray()
        self._reading: asyncio.Future[Any] | None = None
        self._find: Finder | None = None
        self._filled: Callable[[], int] | None = None
        self._reads_this_turn = 0
        self._reads_paused = False
        self._eof = False
        self._closed = False
        self._writes_paused = False
        self._writing: list[asyncio.Future[None]] = []
        self._close_callback: Callable[[], Any] | None = None

    @property
    def io_loop(self) -> IOLoop:
        """The face of the loop that this stream lives in."""
        return IOLoop.current() if self._loop is None else IOLoop(asyncio_loop=self._loop)

    @property
    def socket(self) -> Any:
        """The socket, to look at; on TLS it has `getpeercert(binary_form=False)` too."""
        return self._socket

    @property
    def peer_address(self) -> Any:
        """The address of the peer as its socket has it; `""` for an unnamed Unix socket."""
        transport = self._transport
        return (transport.get_extra_info("peername") if transport is not None else None) or ""

    def reading(self) -> bool:
        """Return whether a read waits."""
        return self._reading is not None and not self._reading.done()

    def writing(self) -> bool:
        """Return whether something written has not reached the system yet."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def closed(self) -> bool:
        """Return whether the stream is closed; what was read before can still be had."""
        return self._closed

    def read_bytes(self, num_bytes: int, partial: bool = False) -> asyncio.Future[bytes]:
        """Read exactly `num_bytes`, or with `partial` between one and so many."""
        return self._read(find_bytes(num_bytes, partial=partial))

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> asyncio.Future[bytes]:
        """Read up to and with `delimiter`.

        Args:
            delimiter: The bytes to look for.
            max_bytes: If it does not end within so many bytes, the stream is closed.
        """
        return self._read(find_delimiter(delimiter, max_bytes=max_bytes))

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> asyncio.Future[bytes]:
        """Read up to the end of the first match of `regex`.

        All that is held is searched whenever more arrives: give `max_bytes` to bound that.

        Args:
            regex: The pattern to look for.
            max_bytes: If it does not match within so many bytes, the stream is closed.
        """
        return self._read(find_match(regex, max_bytes=max_bytes))

    def read_into(self, buf: bytearray, partial: bool = False) -> asyncio.Future[int]:
        """Fill `buf`, or with `partial` a part of it; the result is how many bytes."""
        filled = 0
        size = len(buf)

        def find(buffer: bytearray) -> int | None:
            nonlocal filled
            count = min(len(buffer), size - filled)
            buf[filled : filled + count] = buffer[:count]
            del buffer[:count]
            filled += count
            return 0 if filled == size or (partial and filled) else None

        return self._read(find, filled=lambda: filled)

    def read_until_close(self) -> asyncio.Future[bytes]:
        """Read all that comes until the peer closes, up to `max_buffer_size`."""
        return self._read(self._find_end)

    def write(self, data: bytes | bytearray | memoryview) -> asyncio.Future[None]:
        """Write `data`; the future is done when more may be written, and may be dropped.

        Raises:
            StreamClosedError: The stream is closed; or later, in the future.
        """
        transport = self._transport
        if self._closed or transport is None or transport.is_closing():
            raise closed_error(self.error)
        if data:
            # What can still change is copied, since the transport may send it later.
            transport.write(data if type(data) is bytes else bytes(data))
        future = self._new_future()
        if self._writes_paused:
            self._writing.append(future)
        else:
            future.set_result(None)
        return future

    def close(self, exc_info: bool | BaseException | ExcInfo | None = False) -> None:
        """Close the stream; what was written is still delivered.

        A read that what is held satisfies gets it, any other fails. A peer that takes nothing
        for a minute is cut off.

        Args:
            exc_info: Why: an exception, `sys.exc_info()`, or True for the one being handled; it
                becomes `error`.
        """
        if self._closed:
            return
        if exc_info is True:
            exc_info = sys.exc_info()
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info or None
        self._become_closed(error)
        if self._transport is not None and self._loop is not None:
            unread = not self._eof and (bool(self._buffer) or self._reads_paused)
            Closing(self, self._loop).take_over(self._transport, unread=unread)

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        """Have `callback` called once when the stream closes, by whichever end."""
        self._close_callback = callback
        if callback is None:
            return
        if self._closed:
            self._call_close_callback()
        elif self._eof and not self._buffer and not self.reading():
            self.close()

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (True, what event loops set), or let the system gather them."""
        if self._transport is None or self._closed:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is None or sock.family not in (socket_module.AF_INET, socket_module.AF_INET6):
            return
        try:
            sock.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, int(value))
        except OSError:
            pass  # the peer has gone, which will be noticed elsewhere

    # The protocol's side: what the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, new or from another layer."""
        transport = cast(asyncio.Transport, transport)  # uvloop's do not derive from it
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        sock, ssl_object = (transport.get_extra_info(name) for name in ("socket", "ssl_object"))
        self._socket = sock if ssl_object is None else _TLSSocket(sock, ssl_object)
        if not transport.is_reading():
            transport.resume_reading()  # the layer before may have paused it
        if self._on_connect is not None:
            on_connect, self._on_connect = self._on_connect, None
            on_connect(self)

    def data_received(self, data: bytes) -> None:
        """Keep `data`, and satisfy the read that waits."""
        if self._closed:
            return
        self._reads_this_turn = 0
        self._buffer += data
        if self._reading is not None:
            self._advance()
        if self._reading is None and len(self._buffer) > self.read_chunk_size and self._transport:
            self._reads_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that the peer sends no more; return whether the transport stays open to write."""
        self._eof = True
        if self._closed:
            return False
        if self._reading is not None:
            self._advance()
        elif not self._buffer and self._close_callback is not None:
            self.close()
        # Where the transport cannot half-close, as TLS of event loops cannot, the end is the end.
        return not self._closed and self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """Hold back the futures of writes from now on."""
        self._writes_paused = True

    def resume_writing(self) -> None:
        """Finish the futures of writes so far."""
        self._writes_paused = False
        self._finish_writes(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the stream, and tell every future."""
        if not self._closed:
            self._become_closed(exc)
        # Without an error the transport has flushed what was written before it closed.
        self._finish_writes(None if exc is None else closed_error(exc))
        self._transport = None

    def _find_end(self, buffer: bytearray) -> int | None:
        """Find the end of a read until the stream closes."""
        return len(buffer) if self._closed else None

    def _new_future(self) -> asyncio.Future[Any]:
        return (self._loop or asyncio.get_running_loop()).create_future()

    def _read(
        self, find: Finder, *, filled: Callable[[], int] | None = None
    ) -> asyncio.Future[Any]:
        """Begin a read that ends where `find` says; its result is the bytes, or `filled()`."""
        if self.reading():
            raise RuntimeError("a read already waits on this stream; await it first")
        future = self._reading = self._new_future()
        self._find, self._filled = find, filled
        if self._reads_this_turn < READS_PER_TURN:
            self._reads_this_turn += 1
            self._advance()
        else:
            self._reads_this_turn = 0
            future.get_loop().call_soon(self._advance)
        return future

    def _advance(self) -> None:
        """Finish the read that waits if it can be, else see to it that more comes."""
        if not self.reading() or self._find is None:
            self._reading = self._find = self._filled = None  # it was cancelled
            return
        try:
            end = self._find(self._buffer)
        except UnsatisfiableReadError as unsatisfiable:
            self._fail_read(unsatisfiable)
            gen_log.info("Unsatisfiable read, closing connection: %s", unsatisfiable)
            self.close(unsatisfiable)
            return
        if end is not None:
            self._finish_read(end)
        elif self._closed:
            self._fail_read()
        elif len(self._buffer) > self.max_buffer_size:
            error = StreamBufferFullError("Reached maximum read buffer size")
            self._fail_read(error)
            gen_log.error("Reached maximum read buffer size")
            self.close(error)
        elif self._eof:
            self.close()
        else:
            self._resume_reading()

    def _finish_read(self, end: int) -> None:
        """Give the first `end` bytes to the read that waits."""
        future, filled = self._reading, self._filled
        self._reading = self._find = self._filled = None
        assert future is not None
        if filled is not None:
            future.set_result(filled())
        elif end == len(self._buffer):
            future.set_result(bytes(self._buffer))
            self._buffer.clear()
        else:
            future.set_result(bytes(self._buffer[:end]))
            del self._buffer[:end]
        if len(self._buffer) <= self.read_chunk_size // 2:
            self._resume_reading()
        if self._eof and not self._closed and not self._buffer and self._close_callback is not None:
            self.close()

    def _fail_read(self, error: BaseException | None = None) -> None:
        """Tell the read that waits that the stream is closed, because of `error`."""
        future = self._reading
        self._reading = self._find = self._filled = None
        if future is not None and not future.done():
            future.set_exception(closed_error(error or self.error))
            future.exception()  # looked at: nobody needs to await it

    def _resume_reading(self) -> None:
        if self._reads_paused and self._transport is not None:
            self._reads_paused = False
            self._transport.resume_reading()

    # Writing and closing.

    def _finish_writes(self, error: BaseException | None) -> None:
        """Finish the futures of all writes, with `error` if there is one."""
        waiting, self._writing = self._writing, []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.exception()  # looked at: nobody needs to await it

    def _become_closed(self, error: BaseException | None) -> None:
        """Be closed from now on: the read that waits ends, the close callback is called."""
        self._closed = True
        self.error = self.error or error
        # A reset is how some peers close; any other error must not look like the whole answer.
        truncated = error is not None and not isinstance(error, ConnectionError)
        if not truncated or self._find != self._find_end:
            self._advance()
        self._fail_read()
        self._call_close_callback()

    def _call_close_callback(self) -> None:
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            self.io_loop.add_callback(callback)


class _TLSSocket:
    """A socket to look at, with what the TLS layer above it knows of the peer."""

    def __init__(self, sock: Any, ssl_object: Any) -> None:
        self._sock = sock
        self._ssl_object = ssl_object

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the client's certificate: a dict, DER bytes, or None if it sent none."""
        return self._ssl_object.getpeercert(binary_form)
