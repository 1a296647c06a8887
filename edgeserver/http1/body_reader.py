"""The body reader: which piece of a body the application gets when, and what holds it back.

Decides how a body is cut: pieces of at most `chunk_size`, small chunks joined. It must not know how
heads are read, nor whom the pieces are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edgeserver.http.admission import too_long
from edgeserver.http.input_errors import is_input_error
from edgeserver.http.limits import HTTPLimits
from edgeserver.http1.body_decoders import BodyDecoder, Buffer, ChunkedDecoder, LengthDecoder
from edgeserver.http1.framing import CHUNKED
from edgeserver.support.loggers import app_log
from edgeserver.support.turns import TurnBudget

__all__ = ["BodyReader"]


class BodyReader:
    """The reading of one body.

    Args:
        length: What the head declares: so many bytes, or `CHUNKED`; 0 for a request without a
            body, which may be held back all the same.

    Attributes:
        length: The same.
        pending: Whether the body has not been read to its end.
        decoder: What finds the pieces; None before `begin` and after `end`.
        held: What the application waits for before it takes more; None where it takes it.
    """

    __slots__ = ("decoder", "held", "length", "pending")

    def __init__(self, length: int) -> None:
        self.length = length
        self.pending = length != 0
        self.decoder: BodyDecoder | None = None
        self.held: asyncio.Future[Any] | None = None

    def begin(self, limits: HTTPLimits, most: int) -> None:
        """Read the body from now on.

        Args:
            limits: The limits of what frames it.
            most: How many bytes it may have.

        Raises:
            HTTPInputError: It declares more (413).
        """
        if self.length == CHUNKED:
            self.decoder = ChunkedDecoder(most, limits.max_header_size, limits.max_header_fields)
        elif self.length > most:
            raise too_long(self.length, most)
        else:
            self.decoder = LengthDecoder(self.length)

    def end(self) -> None:
        """Read no more, be it complete or not."""
        self.decoder = self.held = None
        self.pending = False

    def limit(self, most: int) -> None:
        """Let a body that is being read have at most so many bytes."""
        if isinstance(self.decoder, ChunkedDecoder):
            self.decoder.max_size = most

    def hold(
        self, waiting: asyncio.Future[Any], go_on: Callable[[BaseException | None], None]
    ) -> None:
        """Let no piece be taken until `waiting` is done.

        Args:
            waiting: What the application waits for.
            go_on: Called then, with the error of `waiting` if it has one; not where the body is
                not read any more.
        """

        def done(future: asyncio.Future[Any]) -> None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            if self.held is future:
                self.held = None
                go_on(error)
            elif error is not None and not (
                # of a body that nobody reads any more there is nothing to refuse
                isinstance(error, asyncio.CancelledError) or is_input_error(error)
            ):
                app_log.error("Uncaught exception", exc_info=error)

        self.held = waiting
        waiting.add_done_callback(done)

    def next_piece(
        self, buffer: Buffer, start: int, limit: int, turns: TurnBudget
    ) -> tuple[bytes, int]:
        """Return the next piece of the body, empty where none is there, and where it ends.

        Args:
            buffer: What has come.
            start: Where in it the body goes on.
            limit: Most bytes of the piece.
            turns: How long chunks may be joined.

        Raises:
            HTTPInputError: The body breaks a rule.
        """
        decoder = self.decoder
        assert decoder is not None, "only asked for while it is read"
        piece, position = decoder.feed(buffer, start, limit)
        size = len(piece)
        if piece and size < limit and position < len(buffer) and not decoder.complete:
            pieces = [piece]
            while size < limit and position < len(buffer) and not decoder.complete:
                if turns.spent():
                    break
                piece, after = decoder.feed(buffer, position, limit - size)
                if after == position:
                    break
                position = after
                pieces.append(piece)
                size += len(piece)
            piece = b"".join(pieces)
        if decoder.complete:
            self.pending = False
        return piece, position

    # Long bodies of a declared length, read into a buffer of their own.

    @property
    def bulk_size(self) -> int:
        """How many bytes are to come, where they may be read in bulk; else 0."""
        decoder = self.decoder
        return decoder.remaining if type(decoder) is LengthDecoder else 0

    def take_bulk(self, size: int) -> None:
        """Count bytes that were read in bulk."""
        decoder = self.decoder
        assert type(decoder) is LengthDecoder, "no other body is read in bulk"
        decoder.take(size)
        if decoder.complete:
            self.pending = False
