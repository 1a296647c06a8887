"""Gzip request bodies, given to the application decompressed.

Decides what a gzip body becomes and where a bomb is cut. It must not know of connections: it is a
delegate in front of a delegate.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, Protocol

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.headers import RawHeaders
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.support.spelling import spelled
from edgeserver.support.turns import TurnBudget

if TYPE_CHECKING:
    from edgeserver.httputil.headers import HTTPHeaders
    from edgeserver.httputil.startlines import RequestStartLine

__all__ = ["DecompressingDelegate", "consume_encoding"]

GZIP_WINDOW = 16 + zlib.MAX_WBITS

STEPS: Final = 16
"""Most members begun, or parts of one unpacked, before somebody looks at the time."""

FIRST_STRIDE: Final = 512
"""Bytes given to a member at first: what is behind its end is copied, for each one anew."""

FRAMING_RATIO: Final = 16
FRAMING_ROOM: Final = 64 * 1024
"""A gzip body may be so many times what it holds, and so many bytes more."""


def consume_encoding(raw: RawHeaders) -> RawHeaders:
    """Return `raw` with Content-Encoding renamed, since the application sees plain bytes.

    Source: Tornado, which renames it to `X-Consumed-Content-Encoding`.
    """
    return [
        (b"x-consumed-content-encoding", value) if name == b"content-encoding" else (name, value)
        for name, value in raw
    ]


class BodyLimit(Protocol):
    """What may be replaced while a body comes: the exchange has it."""

    max_body_size: int | None


class DecompressingDelegate(HTTPMessageDelegate):
    """Gives another delegate what a gzip body holds, all its members one after the other.

    Args:
        delegate: Who hears the plain body.
        limit: Its `max_body_size` bounds the plain body; read anew for each piece.
        chunk_size: Most bytes of one piece.
        turns: The time of a turn of the event loop: little that came may become much.
    """

    __slots__ = (
        "_chunk_size",
        "_consumed",
        "_delegate",
        "_ended",
        "_inflate",
        "_input",
        "_limit",
        "_position",
        "_size",
        "_started",
        "_stride",
        "_turns",
    )

    def __init__(
        self,
        delegate: HTTPMessageDelegate,
        limit: BodyLimit,
        chunk_size: int,
        turns: TurnBudget,
    ) -> None:
        self._delegate = delegate
        self._limit = limit
        self._chunk_size = chunk_size
        self._turns = turns
        self._inflate = zlib.decompressobj(GZIP_WINDOW)
        self._input = b""
        self._position = 0
        self._stride = max(FIRST_STRIDE, chunk_size)
        self._consumed = 0
        self._size = 0
        self._started = False
        self._ended = False

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Pass the head on."""
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Decompress a piece; an awaitable of the inner delegate holds back the rest of it.

        Raises:
            HTTPInputError: It is not gzip (400), or becomes too large (413).
        """
        self._input = chunk
        self._position = 0
        while self._position < len(self._input):
            piece = self._unpack()
            waiting = self._delegate.data_received(piece) if piece else None
            if waiting is not None:
                return self._go_on(waiting)
            if self._position < len(self._input) and self._turns.spent():
                return self._go_on(self._turns.later())
        return None

    def finish(self) -> None:
        """Pass the end on, if the gzip stream has ended too.

        Raises:
            HTTPInputError: The stream was cut.
        """
        if self._started and not self._inflate.eof:
            raise HTTPInputError(
                "invalid gzip data: the stream is cut short", rfc="RFC 1952 section 2.3"
            )
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Pass the loss of the connection on."""
        self._ended = True
        self._delegate.on_connection_close()

    async def _go_on(self, waiting: Awaitable[None]) -> None:
        await waiting
        while not self._ended and self._position < len(self._input):
            piece = self._unpack()
            held = self._delegate.data_received(piece) if piece else None
            if held is not None:
                await held
            elif self._position < len(self._input) and self._turns.spent():
                await self._turns.later()

    def _unpack(self) -> bytes:
        """Return the next of what has come, joined from several members where they are small."""
        pieces: list[bytes] = []
        room = self._chunk_size
        for _ in range(STEPS):
            piece = self._unpack_part(room)
            room -= len(piece)
            pieces.append(piece)
            if not room or self._position >= len(self._input):
                break
        return b"".join(pieces)

    def _unpack_part(self, room: int) -> bytes:
        """Return at most `room` bytes, all from one member."""
        if self._inflate.eof:
            # RFC 1952 section 2.2: "A gzip file consists of a series of 'members'".
            self._inflate = zlib.decompressobj(GZIP_WINDOW)
            self._stride = FIRST_STRIDE
        self._started = True
        part = memoryview(self._input)[self._position : self._position + self._stride]
        try:
            piece = self._inflate.decompress(part, room)
        except zlib.error as error:
            raise HTTPInputError(
                f"invalid gzip data: {error}", rfc="RFC 1952 section 2.3"
            ) from None
        left = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        taken = len(part) - len(left)
        if not left:
            self._stride *= 2  # so that what is copied stays in proportion to the member
        self._position += taken
        self._consumed += taken
        self._size += len(piece)
        self._check_size()
        return piece

    def _check_size(self) -> None:
        """Refuse a body that holds too much, or next to nothing for its length."""
        most = self._limit.max_body_size
        if most is not None and self._size > most:
            raise HTTPInputError(
                f"decompressed body too large: more than {most} bytes ({spelled('max_body_size')})",
                status=413,
                rfc="RFC 9110 section 15.5.14",
            )
        if self._consumed > FRAMING_RATIO * self._size + FRAMING_ROOM:
            raise HTTPInputError(
                f"gzip framing too long: {self._consumed} bytes are more than {FRAMING_RATIO} times"
                f" the {self._size} bytes that they hold and {FRAMING_ROOM} more",
                rfc="RFC 1952 section 2.2",
            )
