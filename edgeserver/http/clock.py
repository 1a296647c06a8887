"""The clock of a server: one coarse tick for the deadlines of all connections, and for the date.

Decides how often it is looked whether somebody is late. It must not know who waits for what.

One pass over all connections now and then costs less than a timer that is armed and cancelled for
each request. What the clock says is late by at most one tick; a deadline gets one more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["Clock", "tick_for"]

LONGEST_TICK_S = 0.5
SHORTEST_TICK_S = 0.01


def tick_for(shortest_timeout_s: float) -> float:
    """Return how often to look, in seconds, where that is the shortest of the timeouts."""
    return min(LONGEST_TICK_S, max(SHORTEST_TICK_S, shortest_timeout_s / 8))


class Clock:
    """The time as all connections of one server read it.

    Args:
        tick_s: Seconds between two looks at the time.
        idle_timeout_s: Seconds that a connection may wait for a request.
        on_tick: Called at each tick with the loop's time; says whether there is to be another.

    Attributes:
        date_s: Seconds since the epoch.
        idle_deadline: When a connection that falls idle now has waited too long, in loop seconds.
        on_date: Called with `date_s` each time that it has been set.
    """

    __slots__ = ("_idle_timeout_s", "_on_tick", "_tick_s", "_ticker", "date_s", "idle_deadline",
                 "on_date")  # fmt: skip

    def __init__(
        self, tick_s: float, idle_timeout_s: float, on_tick: Callable[[float], bool]
    ) -> None:
        self._tick_s = tick_s
        self._idle_timeout_s = idle_timeout_s
        self._on_tick = on_tick
        self._ticker: asyncio.TimerHandle | None = None  # None while nobody is connected
        self.date_s = 0.0
        self.idle_deadline = 0.0
        self.on_date: list[Callable[[float], None]] = []

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self._ticker is not None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tick from now on; without effect while it does."""
        if self._ticker is None:
            self._set(loop.time())
            self._ticker = loop.call_later(self._tick_s, self._tick, loop)

    def set_times(self, tick_s: float, idle_timeout_s: float) -> None:
        """Look as often from now on, and let connections that fall idle wait as long."""
        self._tick_s = tick_s
        self._idle_timeout_s = idle_timeout_s
        if self._ticker is not None:
            self._ticker.cancel()
            self._tick(asyncio.get_running_loop())

    def shorten(self, idle_timeout_s: float) -> None:
        """Let idle connections wait no longer than that from now on, and look as often."""
        self.set_times(min(self._tick_s, tick_for(idle_timeout_s)), idle_timeout_s)

    def _set(self, now_s: float) -> None:
        self.idle_deadline = now_s + self._idle_timeout_s + self._tick_s
        self.date_s = date_s = time.time()
        for call in self.on_date:
            call(date_s)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        self._set(now_s)
        go_on = self._on_tick(now_s)
        self._ticker = loop.call_later(self._tick_s, self._tick, loop) if go_on else None
