"""The bulk reader: long bodies on a plain connection, read into one shared buffer.

Decides how bytes get from the socket to the application: an event loop hands an `asyncio.Protocol`
up to 256 KiB at a time, which has to be cut into pieces of `chunk_size`, and so copied once more.
Here the loop reads into one buffer that all connections share, never past the body's end, which
takes a sixth of the CPU of an upload of 1 MiB away.
It must not know what the body is for, nor what follows it.
"""

from __future__ import annotations

import asyncio
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

    def bulk_received(self, bulk: BulkReader) -> None:
        """Called when `bulk` has read something; what nobody has taken of it then is gone."""
        ...

    def give_piece(self, body: BodyReader, piece: bytes) -> bool:
        """Give the application a piece of `body`; say whether it takes more at once."""
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

    __slots__ = ("_body", "_buffer", "_connection", "_unread")

    def __init__(self, connection: BulkTaker, body: BodyReader, buffer: memoryview) -> None:
        self._connection = connection
        self._body = body
        self._buffer = buffer
        self._unread = buffer[:0]  # what was read and nobody has taken

    def take_over(self, transport: asyncio.Transport) -> None:
        """Read from `transport` in the connection's place."""
        transport.set_protocol(self)

    def make_way(self, transport: asyncio.Transport | None, connection: asyncio.Protocol) -> None:
        """Have `connection` read again, unless somebody else reads already."""
        if transport is not None and transport.get_protocol() is self:
            transport.set_protocol(connection)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more of the body is to be read."""
        return not self._body.bulk_size

    def give_pieces(self, most: int, turns: TurnBudget) -> None:
        """Give the application what it takes of what was read.

        Args:
            most: Most bytes of a piece.
            turns: How long pieces may be given.
        """
        body = self._body
        goes_on = True
        while goes_on and len(self._unread) and body.bulk_size:
            piece = bytes(self._unread[:most])
            self._unread = self._unread[len(piece) :]
            body.take_bulk(len(piece))
            goes_on = self._connection.give_piece(body, piece) and not turns.spent()

    def take_rest(self) -> bytes:
        """Return what was read and nobody has taken; whoever has it goes on with it."""
        rest = bytes(self._unread)
        self._unread = self._buffer[:0]
        return rest

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
        """Have what was read taken."""
        self._unread = self._buffer[:nbytes]
        self._connection.bulk_received(self)
        self._unread = self._buffer[:0]

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
