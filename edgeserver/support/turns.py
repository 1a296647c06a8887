"""The time that work in small units may take of one turn of an event loop.

Decides when whoever goes through a long buffer has to make way, and in which order those that had
to go on. It must not know what a unit is: a request, a chunk, a frame, a record.

A turn is what an event loop does between two looks for input. Whoever comes to a fresh buffer does
one unit at once, without a question, so that what is small never waits behind what is large. Before
each further unit it asks `spent`, and where that says so it leaves the rest to `wait`:

    while unit():
        if turns.spent():
            turns.wait(self.go_on)
            break

Those that wait are served in the order in which they came, a slice of time for each; who is not
done then asks to wait again, behind the others.

Whoever accepts a connection says so by `accepted`: libuv accepts one in a turn, however many stand
in the queue behind it, so that such a turn is short.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Final

__all__ = ["SLICE_S", "TURN_S", "TurnBudget", "turns_of"]

TURN_S: Final = 0.01
"""Seconds of a turn for all that wait; after them the loop looks for input."""

SLICE_S: Final = 0.001
"""Seconds for one that waits, and for all further units of those that do not wait yet."""

ACCEPTING_SHARE: Final = 0.025
"""The share of a turn that is left to those that wait where a connection was accepted in it."""


class TurnBudget:
    """One event loop's time for work in small units, over all its connections.

    Args:
        loop: The loop whose turns are meant; every call is made in it.
        turn_s: Seconds of a turn for all that wait.
        slice_s: Seconds for one of them at a time, where others wait too.
        clock: Seconds that only grow.
    """

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_clock",
        "_context",
        "_ends_s",
        "_loop",
        "_planned",
        "_slice_s",
        "_turn_s",
        "_waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        turn_s: float = TURN_S,
        slice_s: float = SLICE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        self._turn_s = turn_s
        self._slice_s = slice_s
        self._clock = clock
        self._context = copy_context()  # not the one of the request that happens to ask first
        self._ends_s: float | None = None
        self._planned = False
        self._accepted = False
        self._waiting: deque[Callable[[], object]] = deque()

    def accepted(self) -> None:
        """Have the next turn be short: a connection was accepted, and others may stand behind it.

        Else the last of a hundred that connect at once would wait for a hundred whole turns.
        """
        self._accepted = True

    def spent(self) -> bool:
        """Tell whether who works now has to leave its next unit to a later turn."""
        now = self._clock()
        if self._ends_s is None:
            self._ends_s = now + self._slice_s
            self._plan()
            return False
        return now >= self._ends_s

    def wait(self, call: Callable[[], object]) -> None:
        """Have `call` called in a later turn, once, behind those that wait already.

        Args:
            call: Does at least one unit and asks `spent` before each further one; it finds out by
                itself whether there is still something to do.
        """
        self._waiting.append(call)
        self._plan()

    def later(self) -> asyncio.Future[None]:
        """Return a future that is done in a later turn, for a coroutine that has to make way."""
        future = self._loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        self.wait(wake)
        return future

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._begin, context=self._context)

    def _begin(self) -> None:
        """Begin a turn: the loop has looked for input since `_plan`. Serve who waits."""
        self._planned = False
        self._ends_s = None
        waiting = self._waiting
        if not waiting:
            return
        # Before any call: where one raises, the loop hears of it, and the others go on.
        self._plan()
        now = self._clock()
        turn_ends_s = now + self._turn_s * (ACCEPTING_SHARE if self._accepted else 1)
        self._accepted = False
        for _ in range(len(waiting)):  # whoever waits again does so until the next turn
            self._ends_s = min(now + self._slice_s, turn_ends_s)
            waiting.popleft()()
            now = self._clock()
            if now >= turn_ends_s:
                return  # and so `spent` is true until the next turn
        self._ends_s = None


_budgets: weakref.WeakValueDictionary[asyncio.AbstractEventLoop, TurnBudget] = (
    weakref.WeakValueDictionary()
)


def turns_of(loop: asyncio.AbstractEventLoop) -> TurnBudget:
    """Return the budget of `loop`, one for all its servers; keep it, or it is forgotten."""
    budget = _budgets.get(loop)
    if budget is None:
        budget = _budgets[loop] = TurnBudget(loop)
    return budget
