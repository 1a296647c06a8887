"""Large bodies on a plain connection, read into one buffer and cut there.

Decides only how bytes get from the socket to the decoder: an event loop hands an `asyncio.Protocol`
up to 256 KiB at a time, which has to be cut into pieces of `chunk_size`, and so copied once more.
Here the loop reads into one buffer that all connections share, never past the body's end.
It must not know what the body is for.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgeserver.http1.body_reader import BodyReading

__all__ = ["BulkReader", "keep_freed_memory", "make_bulk_buffer"]

BULK_BUFFER: Final = 64 * 1024
"""Bytes read at once."""

KEPT_BYTES: Final = 8 * 1024 * 1024
"""Bytes of a block that teaches the C library to keep what long bodies were in."""


def make_bulk_buffer() -> memoryview:
    """Return a buffer for one event loop's `BulkReader`s."""
    return memoryview(bytearray(BULK_BUFFER))


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep what long bodies were in; once for a process.

    glibc maps each block anew that is longer than any which was ever given back, at first 128 KiB,
    and gives the top of its heap back to the kernel where twice that is free there. Bodies of
    1 MiB that come and go then cost 450 page faults each: 1.4 ms of CPU instead of 0.35.

    Source: mallopt(3), M_MMAP_THRESHOLD: "dynamic mmap threshold".
    """
    bytes(KEPT_BYTES)  # never touched, so it costs nothing; its end raises both limits


class BulkReader(asyncio.BufferedProtocol):
    """Stands in for a connection while the rest of a body of known length is read.

    Args:
        connection: Who takes the pieces, and hears of everything else.
        buffer: Where the loop reads to; whatever is in it is taken before the loop goes on.
    """

    __slots__ = ("_buffer", "_connection")

    def __init__(self, connection: BodyReading, buffer: memoryview) -> None:
        self._connection = connection
        self._buffer = buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be told nothing new: the connection knows its transport."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return room for as much of the body as is outstanding."""
        room, buffer = self._connection.bulk_room(), self._buffer
        if room < len(buffer):
            buffer = buffer[:room]
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over what was read."""
        self._connection.bulk_received(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        """Pass it on."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._connection.resume_writing()
