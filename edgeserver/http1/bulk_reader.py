"""The bulk reader: long bodies on a plain connection, read into one shared buffer.

Decides how bytes get from the socket to the application: an event loop hands an `asyncio.Protocol`
up to 256 KiB at a time, which has to be cut into pieces of `chunk_size`, and so copied once more.
Here the loop reads into one buffer that all connections share, never past the body's end.
It must not know what the body is for, nor what follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from edgeserver.http1.body_reader import BodyReader
from edgeserver.support.turns import TurnBudget

__all__ = ["BULK_BODY", "BulkReader", "BulkTaker", "make_bulk_buffer"]

BULK_BODY: Final = 64 * 1024
"""What is still to come of a body beyond this is read in bulk, so many bytes at once."""


def make_bulk_buffer() -> memoryview:
    """Return a buffer for one event loop's `BulkReader`s."""
    return memoryview(bytearray(BULK_BODY))


class BulkTaker(Protocol):
    """Who is told of what is read, and of everything else."""

    @property
    def closing(self) -> bool:
        """Whether nothing more is read of the body."""
        ...

    def bulk_received(self, bulk: BulkReader, data: memoryview) -> None:
        """Called with what `bulk` has read; it is gone when this returns."""
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
        connection: Who is told of what is read, and of everything else.
        body: What is read.
        buffer: Where the loop reads to; whatever is in it is taken before the loop goes on.
    """

    __slots__ = ("_body", "_buffer", "_connection")

    def __init__(self, connection: BulkTaker, body: BodyReader, buffer: memoryview) -> None:
        self._connection = connection
        self._body = body
        self._buffer = buffer

    @property
    def has_ended(self) -> bool:
        """Whether nothing more of the body is to be read."""
        return not self._body.bulk_size

    def give_pieces(
        self,
        data: memoryview,
        most: int,
        turns: TurnBudget,
        give: Callable[[BodyReader, bytes], None],
    ) -> int:
        """Give the application what it takes of `data`; return how many bytes that were.

        Args:
            data: What was read.
            most: Most bytes of a piece.
            turns: How long pieces may be given.
            give: Gives one to the application, which may answer, wait or fail then.
        """
        body = self._body
        size = len(data)
        taken = 0
        while taken < size and body.bulk_size and body.held is None:
            if self._connection.closing or (taken and turns.spent()):
                break
            piece = bytes(data[taken : taken + most])
            taken += len(piece)
            body.take_bulk(len(piece))
            give(body, piece)
        return taken

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called never: the connection knows its transport."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return room for as much of the body as is outstanding, and no byte of what follows."""
        room, buffer = self._body.bulk_size, self._buffer
        if 0 < room < len(buffer):
            buffer = buffer[:room]
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand over what was read."""
        self._connection.bulk_received(self, self._buffer[:nbytes])

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
