"""Gzip request bodies, given to the application decompressed.

Decides what a gzip body becomes and where a bomb is cut. It must not know of connections: it is a
delegate in front of a delegate.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Any, Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import RawFields
from edgeserver.httputil.interfaces import HTTPMessageDelegate

if TYPE_CHECKING:
    from edgeserver.http1.exchange import HTTP1Exchange
    from edgeserver.httputil.headers import HTTPHeaders
    from edgeserver.httputil.startlines import RequestStartLine

__all__ = ["DecompressingDelegate", "consume_encoding"]

GZIP_WINDOW = 16 + zlib.MAX_WBITS

BATCH: Final = 16
"""Pieces unpacked before the event loop gets its turn: little that came may become much."""


def consume_encoding(raw: RawFields) -> RawFields:
    """Return `raw` with Content-Encoding renamed, since the application sees plain bytes.

    Source: Tornado, which renames it to `X-Consumed-Content-Encoding`.
    """
    return [
        (b"x-consumed-content-encoding", value) if name == b"content-encoding" else (name, value)
        for name, value in raw
    ]


class DecompressingDelegate(HTTPMessageDelegate):
    """Gives another delegate what a gzip body holds, all its members one after the other.

    Args:
        delegate: Who hears the plain body.
        exchange: Its `max_body_size` bounds the plain body; read anew for each piece.
        chunk_size: Most bytes of one piece.
    """

    __slots__ = ("_chunk_size", "_delegate", "_ended", "_exchange", "_inflate", "_size", "_started")

    def __init__(
        self, delegate: HTTPMessageDelegate, exchange: HTTP1Exchange, chunk_size: int
    ) -> None:
        self._delegate = delegate
        self._exchange = exchange
        self._chunk_size = chunk_size
        self._inflate = zlib.decompressobj(GZIP_WINDOW)
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
        pieces = self._pieces(chunk)
        for count, piece in enumerate(pieces, 1):
            waiting = self._delegate.data_received(piece)
            if waiting is not None or count == BATCH:
                return self._go_on(waiting, pieces)
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

    async def _go_on(self, waiting: Awaitable[None] | None, pieces: Iterator[bytes]) -> None:
        await (asyncio.sleep(0) if waiting is None else waiting)
        count = 0
        while not self._ended and (piece := next(pieces, None)) is not None:
            count += 1
            waiting = self._delegate.data_received(piece)
            if waiting is not None:
                await waiting
            elif not count % BATCH:
                await asyncio.sleep(0)

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        data: Any = chunk
        while data:
            if self._inflate.eof:
                # RFC 1952 section 2.2: "A gzip file consists of a series of 'members'".
                self._inflate = zlib.decompressobj(GZIP_WINDOW)
            self._started = True
            try:
                piece = self._inflate.decompress(data, self._chunk_size)
            except zlib.error as error:
                raise HTTPInputError(
                    f"invalid gzip data: {error}", rfc="RFC 1952 section 2.3"
                ) from None
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            self._size += len(piece)
            most = self._exchange.max_body_size
            if most is not None and self._size > most:
                raise HTTPInputError(
                    f"decompressed body too large: more than {most} bytes (max_body_size)",
                    status=413,
                    rfc="RFC 9110 section 15.5.14",
                )
            if piece:
                yield piece
