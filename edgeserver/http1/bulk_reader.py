"""The bulk reader: long bodies on a plain connection, read into one shared buffer.

Decides only how bytes get from the socket to the decoder: an event loop hands an `asyncio.Protocol`
up to 256 KiB at a time, which has to be cut into pieces of `chunk_size`, and so copied once more.
Here the loop reads into one buffer that all connections share, never past the body's end.
It must not know what the body is for.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

__all__ = ["BulkReader", "BulkTaker", "make_bulk_buffer"]

BULK_BUFFER: Final = 64 * 1024
"""Bytes read at once."""


def make_bulk_buffer() -> memoryview:
    """Return a buffer for one event loop's `BulkReader`s."""
    return memoryview(bytearray(BULK_BUFFER))


class BulkTaker(Protocol):
    """Who takes what is read, and hears of everything else."""

    def bulk_room(self) -> int:
        """Return how many bytes may be read; more than 0."""
        ...

    def bulk_received(self, data: memoryview) -> None:
        """Called with what was read; it is gone when this returns."""
        ...

    def eof_received(self) -> bool:
        """Called when the peer has sent its last byte."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone."""
        ...

    def pause_writing(self) -> None:
        """Called when the transport's buffer is full."""
        ...

    def resume_writing(self) -> None:
        """Called when it has emptied."""
        ...


class BulkReader(asyncio.BufferedProtocol):
    """Stands in for a connection while the rest of a body of known length is read.

    Args:
        connection: Who takes the pieces, and hears of everything else.
        buffer: Where the loop reads to; whatever is in it is taken before the loop goes on.
    """

    __slots__ = ("_buffer", "_connection")

    def __init__(self, connection: BulkTaker, buffer: memoryview) -> None:
        self._connection = connection
        self._buffer = buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called never: the connection knows its transport."""

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
