"""The body reader: what the next piece of a body is.

Decides how a body is cut: pieces of at most `chunk_size`, small chunks joined. It must not know how
heads are read, nor whom the pieces are for.
"""

from __future__ import annotations

from edgeserver.http.admission import too_long
from edgeserver.http.limits import HTTPLimits
from edgeserver.http1.body_decoders import BodyDecoder, Buffer, ChunkedDecoder, LengthDecoder
from edgeserver.http1.framing import CHUNKED
from edgeserver.support.turns import TurnBudget

__all__ = ["BodyReader"]


class BodyReader:
    """The reading of one body.

    Args:
        length: What the head declares: so many bytes, or `CHUNKED`.

    Attributes:
        length: The same.
        pending: Whether the body has not been read to its end.
        decoder: What finds the pieces; None before `begin` and after `end`.
    """

    __slots__ = ("decoder", "length", "pending")

    def __init__(self, length: int) -> None:
        self.length = length
        self.pending = True
        self.decoder: BodyDecoder | None = None

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
        self.decoder = None
        self.pending = False

    def limit(self, most: int) -> None:
        """Let a body that is being read have at most so many bytes."""
        if isinstance(self.decoder, ChunkedDecoder):
            self.decoder.max_size = most

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
