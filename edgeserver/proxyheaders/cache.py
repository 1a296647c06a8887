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
        size: How many keys each of the three holds at most.
    """

    __slots__ = ("_old", "_once", "_size", "main")

    def __init__(self, size: int) -> None:
        self._size = size
        self.main: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._once: set[int] = set()

    def recall(self, key: K) -> V | None:
        """Return what is known for a key that is not in `main`, and move it there."""
        value = self._old.pop(key, None)
        if value is not None:
            self._keep(key, value)
        return value

    def admit(self, key: K, value: V) -> None:
        """Remember a key whose decision was not known, if it has come before."""
        mark = hash(key)
        if mark in self._once:
            self._once.discard(mark)
            self._keep(key, value)
            return
        if len(self._once) >= self._size:
            self._once.clear()
        self._once.add(mark)

    def _keep(self, key: K, value: V) -> None:
        if len(self.main) >= self._size:
            self._old = self.main
            self.main = {}
        self.main[key] = value

    def __len__(self) -> int:
        return len(self.main) + len(self._old) + len(self._once)
