"""Unreleased exchanges: those that were reset, and that an application still has.

Decides how many these are. It must not know what an exchange is, nor why it was reset.

A peer that resets a stream frees its place at once, as far as frames go; but the application may
be in the middle of its work, and a peer that asks and resets in turns would have it work on any
number of requests. So a stream counts until nobody has its exchange any more. Not compiled: native
classes have no weak references.
"""

from __future__ import annotations

import weakref
from typing import Any

__all__ = ["Unreleased"]


class _Guard:
    """What lives exactly as long as the exchange that has it."""

    __slots__ = ("__weakref__",)


class Unreleased:
    """The exchanges of one connection.

    Attributes:
        used: Whether there ever was one: most connections need not ask further.
    """

    __slots__ = ("_guards", "used")

    def __init__(self) -> None:
        self.used = False
        self._guards: weakref.WeakSet[_Guard] | None = None  # most connections never have one

    def __len__(self) -> int:
        return 0 if self._guards is None else len(self._guards)

    def add(self, exchange: Any) -> None:
        """Count `exchange`, which was reset, as long as somebody has it."""
        if self._guards is None:
            self._guards = weakref.WeakSet()
            self.used = True
        exchange.guard = guard = _Guard()
        self._guards.add(guard)
