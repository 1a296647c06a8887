"""Many equal timeouts under one timer of the event loop.

Decides only who has had too long. It must not know what ends then: the loop's own timer for each
connection, made and cancelled, is a measurable part of a handshake; a place in a dict is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Timeouts"]

T = TypeVar("T")


class Timeouts(Generic[T]):
    """Calls `expired(item)` for each item that was added and not discarded `length_s` ago.

    All timeouts are equally long, so the first in is the first out. While nothing is added there
    is no timer, once the last one that was set has fired.

    Args:
        length_s: Seconds from `add` to the end.
        expired: What is called then, from the event loop; the item is discarded before.
    """

    __slots__ = ("_expired", "_items", "_timer", "length_s")

    def __init__(self, length_s: float, expired: Callable[[T], None]) -> None:
        self.length_s = length_s
        self._expired = expired
        self._items: dict[T, float] = {}  # when each one's time is over, in the order of that
        self._timer: asyncio.TimerHandle | None = None  # for the first of them

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Give an item its time; one that is there keeps the time it has."""
        loop = asyncio.get_running_loop()
        self._items.setdefault(item, loop.time() + self.length_s)
        if self._timer is None:
            self._timer = loop.call_later(self.length_s, self._fire)

    def discard(self, item: T) -> None:
        """Forget an item that has ended in time; it need not be there."""
        self._items.pop(item, None)

    def _fire(self) -> None:
        """Expire what is due, then sleep until the next one is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._items:
            item, deadline_s = next(iter(self._items.items()))
            # a loop's clock may be a few milliseconds coarse, and must not fire again at once
            if deadline_s > now + 0.002:
                if self._timer is None:
                    self._timer = loop.call_later(deadline_s - now, self._fire)
                return
            del self._items[item]
            self._expired(item)
