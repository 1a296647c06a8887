"""One sum for what a server holds of bodies and messages, over all its connections.

Decides when it holds so much that no more may begin. It must not know what is held, nor who holds
it: whoever keeps bytes that a client sent takes their size, and gives it back when they let go.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_MAX_HELD", "HeldBudget"]

DEFAULT_MAX_HELD: Final = 512 * 1024 * 1024
"""Bytes that a server holds, by default, before it begins nothing more."""


class HeldBudget:
    """Counts bytes that are held; what has begun may go on beyond the budget, what begins may not.

    It belongs to one event loop: threads have that take and give for them.

    Args:
        max_bytes: From how many held bytes on nothing more may begin.

    Attributes:
        held: Bytes that are held at present, after decompression where that is done.
    """

    __slots__ = ("held", "max_bytes")

    def __init__(self, max_bytes: int = DEFAULT_MAX_HELD) -> None:
        self.max_bytes = max_bytes
        self.held = 0

    @property
    def exceeded(self) -> bool:
        """Whether nothing more may begin for now."""
        return self.held >= self.max_bytes

    def take(self, size: int) -> None:
        """Count `size` bytes more."""
        self.held += size

    def give(self, size: int) -> None:
        """Count `size` bytes less, of those that were taken; once for each."""
        self.held -= size
