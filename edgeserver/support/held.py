"""One sum for what a server holds of bodies and messages, over all its connections.

Decides when it holds so much that no more may begin, and who of those that have begun goes on. It
must not know what is held, nor who holds it: whoever keeps bytes that a client sent takes their
size, and gives it back when they let go.

Beyond the budget one holder goes on to its own limit, and the others wait for it: that all go on
would double the sum, that none does would leave each with half a body. Who waits for too long is
told to let go, so that one that never comes to its end keeps the others for that long and no more.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

__all__ = ["DEFAULT_MAX_HELD", "PATIENCE_S", "SMALL", "HeldBudget", "HeldShare", "Holder"]

DEFAULT_MAX_HELD: Final = 512 * 1024 * 1024
"""Bytes that a server holds, by default, before it begins nothing more."""

SMALL: Final = 64 * 1024
"""Bytes up to which a holder never waits, as nothing that waits for an application does."""

PATIENCE_S: Final = 5.0
"""Seconds that a holder waits for room before it is told to let go."""


class Holder(Protocol):
    """Who holds much, and can be told to let go of it."""

    def let_go(self) -> None:
        """Hear that there was no room in time: give all back, and hold no more."""
        ...


class HeldBudget:
    """Counts bytes that are held; what has begun may go on beyond the budget, what begins may not.

    It belongs to one event loop: threads have that take and give for them.

    Args:
        max_bytes: From how many held bytes on nothing more may begin.

    Attributes:
        held: Bytes that are held at present, after decompression where that is done.
    """

    __slots__ = ("_ahead", "_waiting", "held", "max_bytes")

    def __init__(self, max_bytes: int = DEFAULT_MAX_HELD) -> None:
        self.max_bytes = max_bytes
        self.held = 0
        self._ahead: Holder | None = None
        # a dict for its order: who has waited longest is next
        self._waiting: dict[Holder, tuple[asyncio.Future[None], asyncio.TimerHandle]] = {}

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
        if self._waiting and self.held < self.max_bytes:
            self._ahead = None
            for holder in list(self._waiting):
                self._go_on(holder)

    def room(self, holder: Holder, size: int) -> asyncio.Future[None] | None:
        """Return what `holder` waits for before it takes more; None where it need not.

        Args:
            holder: Who has begun, and takes more and more until all is there; it owes a `leave`.
            size: How many bytes it holds.
        """
        if self.held < self.max_bytes or size <= SMALL:
            return None
        if self._ahead is None:
            self._ahead = holder
        if self._ahead is holder:
            return None
        if holder not in self._waiting:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(PATIENCE_S, holder.let_go)
            self._waiting[holder] = loop.create_future(), timer
        return self._waiting[holder][0]

    def leave(self, holder: Holder, size: int) -> None:
        """Give back all that `holder` holds, `size` bytes, and its place."""
        self._go_on(holder)
        if self._ahead is holder:
            self._ahead = None
        self.give(size)
        if self._ahead is None and self._waiting:
            self._ahead = next(iter(self._waiting))
            self._go_on(self._ahead)

    def _go_on(self, holder: Holder) -> None:
        """Let `holder` wait no longer, if it does."""
        waiting = self._waiting.pop(holder, None)
        if waiting is not None:
            future, timer = waiting
            timer.cancel()
            if not future.done():
                future.set_result(None)


class HeldShare:
    """What one holder holds of a budget, so that it is given back once, and whole.

    Args:
        budget: The budget.
        holder: Who is told to let go where there was no room in time.

    Attributes:
        budget: The same.
        size: How many bytes it holds.
    """

    __slots__ = ("_holder", "_untaken", "budget", "size")

    def __init__(self, budget: HeldBudget, holder: Holder) -> None:
        self.size = 0
        self.budget = budget
        self._holder = holder
        self._untaken = 0  # how much of `size` is input that nobody takes

    def count(self, size: int) -> None:
        """Count `size` bytes more as held; fewer, where it is negative."""
        self.size += size
        if size > 0:
            self.budget.take(size)
        else:
            self.budget.give(-size)

    def count_untaken(self, size: int) -> None:
        """Count `size` bytes of input that nobody takes for now, in place of those before."""
        self.count(size - self._untaken)
        self._untaken = size

    def room(self) -> asyncio.Future[None] | None:
        """Return what to wait for before more is held; None where there is room."""
        return self.budget.room(self._holder, self.size)

    def give_back(self) -> None:
        """Hold nothing, and wait for nothing."""
        size, self.size = self.size, 0
        self._untaken = 0
        if size:
            self.budget.leave(self._holder, size)
