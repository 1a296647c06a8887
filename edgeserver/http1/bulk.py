"""Large bodies on a plain connection, read into one buffer and cut there.

Decides only how bytes get from the socket to the decoder: an event loop hands an `asyncio.Protocol`
up to 256 KiB at a time, which has to be cut into pieces of `chunk_size`, and so copied once more.
Here the loop reads into one buffer that all connections share, never past the body's end.
It must not know what the body is for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from edgeserver.http1.bodies import BodyReading

__all__ = ["BULK_BUFFER", "BulkReader"]

BULK_BUFFER: Final = 64 * 1024
"""Bytes read at once. With 256 KiB, as uvloop itself reads, a buffered upload of 1 MiB cost three
times as much where glibc gives the top of the heap back after it, and no less where it does not."""


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

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return room for as much of the body as is outstanding."""
        room = self._buffer[: self._connection.bulk_room()]
        return cast(bytearray, room)  # a writable memoryview serves, whatever the stub says

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
