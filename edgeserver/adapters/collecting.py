"""A body that is collected until all of it is there.

Decides how its pieces are kept: in one block, since a piece of one byte that is kept as an object
takes forty, and since joining pieces at the end would need twice the memory.
"""

from __future__ import annotations

import io

__all__ = ["Collected"]


class Collected:
    """The pieces of one body; nearly always there is one."""

    __slots__ = ("_block", "_first")

    def __init__(self) -> None:
        # The only piece so far; once there are several, all of them in one block.
        self._first = b""
        self._block: io.BytesIO | None = None

    def add(self, piece: bytes) -> None:
        """Take one more piece, which is not empty."""
        if self._block is not None:
            self._block.write(piece)
        elif not self._first:
            self._first = piece
        else:
            block = self._block = io.BytesIO()
            block.write(self._first)
            block.write(piece)
            self._first = b""

    def take(self) -> bytes:
        """Return the body, and keep nothing of it."""
        block, self._block = self._block, None
        if block is not None:
            return block.getvalue()  # not copied: the block itself
        first, self._first = self._first, b""
        return first
