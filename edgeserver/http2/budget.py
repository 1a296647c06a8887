"""A budget: how often a peer may do what costs it nothing.

Decides when it has done so too often. It must not know what was done.
"""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """So many at once, and so many more a second.

    Args:
        most: How many at once.
        per_second: How many come back in a second.
        now_s: The time, in seconds that only grow.

    Attributes:
        earned: How many more something useful is worth, to be added to; 0 once they are counted.
    """

    __slots__ = ("_left", "_most", "_per_second", "_refilled_s", "earned")

    def __init__(self, most: int, per_second: float, now_s: float) -> None:
        self._most = most
        self._per_second = per_second
        self._left = float(most)
        self._refilled_s = now_s  # when `_left` was brought up to date
        self.earned = 0

    def spend(self, now_s: float) -> bool:
        """Take one; say whether there was one to take."""
        left = self._left + (now_s - self._refilled_s) * self._per_second + self.earned
        self._refilled_s = now_s
        self.earned = 0
        if left > self._most:
            left = float(self._most)
        self._left = left - 1
        return left >= 1

    def earn(self, count: int) -> None:
        """Put back what something useful is worth."""
        self.earned += count
