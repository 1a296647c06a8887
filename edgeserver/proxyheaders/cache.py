"""A bounded memory of decisions that a stranger cannot flush.

Decides what is kept and for how long. It must not know what a decision is.

Of a key that comes for the first time only the hash is kept, and the decision when it comes again:
a flood of keys that never repeat cannot push out those that do, and leaves nothing behind that the
garbage collector would have to look at. A full `main` becomes `old`, and what is still in use comes
back from there. Whoever repeats each of his keys can at most make the decisions of others be
computed afresh, once per generation: a constant factor.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["DecisionCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class DecisionCache(Generic[K, V]):
    """A dictionary with two generations, and the hashes of keys that came once.

    Args:
        size: How many keys each of the three holds at most; a power of two.
    """

    __slots__ = ("_marks", "_mask", "_size", "main", "old")

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = size - 1
        self.main: dict[K, V] = {}
        self.old: dict[K, V] = {}
        # Each hash has one place, given by its last bits, and stays until another takes it.
        self._marks: list[int | None] = [None] * size

    def recall(self, key: K) -> V | None:
        """Return what is known for a key that is not in `main`, and move it there from `old`."""
        value = self.old.pop(key, None)
        if value is not None:
            self._keep(key, value)
        return value

    def admit(self, key: K, value: V, mark: int) -> None:
        """Remember a key whose decision was not known, if its mark has come before.

        Args:
            key: The key.
            value: Its decision.
            mark: The hash of the key, or of a part that seldom comes with another rest.
        """
        marks = self._marks
        place = mark & self._mask
        if marks[place] == mark:
            marks[place] = None
            self._keep(key, value)
        else:
            marks[place] = mark

    def _keep(self, key: K, value: V) -> None:
        if len(self.main) >= self._size:
            self.old = self.main
            self.main = {}
        self.main[key] = value

    def __len__(self) -> int:
        marks = sum(mark is not None for mark in self._marks)
        return len(self.main) + len(self.old) + marks
