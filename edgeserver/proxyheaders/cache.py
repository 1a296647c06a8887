"""A bounded memory of decisions that a stranger cannot flush.

Decides what is kept and for how long. It must not know what a decision is.

A new key waits in `probation` and moves to `main` when it is asked for again, so a flood of keys
that never repeat cannot push out those that do. A full `main` becomes `old`, and what is still in
use comes back from there. Whoever repeats each of his keys can at most make the decisions of others
be computed afresh, once per generation: a constant factor.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["DecisionCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class DecisionCache(Generic[K, V]):
    """A dictionary with two generations and a waiting room.

    Args:
        size: How many keys each of the three holds at most.
    """

    __slots__ = ("_old", "_probation", "_size", "main")

    def __init__(self, size: int) -> None:
        self._size = size
        self.main: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._probation: dict[K, V] = {}

    def recall(self, key: K) -> V | None:
        """Return what is known for a key that is not in `main`, and move it there."""
        value = self._probation.pop(key, None)
        if value is None:
            value = self._old.pop(key, None)
            if value is None:
                return None
        if len(self.main) >= self._size:
            self._old = self.main
            self.main = {}
        self.main[key] = value
        return value

    def admit(self, key: K, value: V) -> None:
        """Remember a key that was seen for the first time."""
        if len(self._probation) >= self._size:
            self._probation.clear()
        self._probation[key] = value

    def __len__(self) -> int:
        return len(self.main) + len(self._old) + len(self._probation)
