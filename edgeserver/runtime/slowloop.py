"""The event loop that is held: for how long, and by which line.

Decides when a turn of the loop took too long, from a thread that looks at the loop's own now and
then; what C code does while it holds the interpreter is seen by nobody before it ends. It must not
know what runs in the loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log

__all__ = ["LoopWatch", "watch_loop"]

LOOKS = 4
"""How often is looked in the time that a turn may take."""

FRAMES = 3
"""How many calls are named, from the innermost on."""


class LoopWatch:
    """Notes where the loop is once a turn has taken too long, and says it when the turn ends.

    Args:
        limit_s: How long a turn may take.
        clock: Seconds that only grow.
        find_frame: Returns the innermost frame of the loop's thread.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        find_frame: Callable[[], FrameType | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._find_frame = find_frame
        self._turned_s = clock()
        self._where = ""  # where the present turn was found to be

    def turned(self) -> None:
        """Called in the loop, every now and then; it logs what was found since the last time."""
        now_s = self._clock()
        held_s, self._turned_s = now_s - self._turned_s, now_s
        where, self._where = self._where, ""
        if where:
            gen_log.warning("the event loop was held for %.1f s (--slow-loop): %s", held_s, where)

    def look(self) -> None:
        """Called in another thread, every now and then."""
        if self._where or self._clock() - self._turned_s < self._limit_s:
            return
        frame = self._find_frame()
        calls = [] if frame is None else traceback.extract_stack(frame)[-FRAMES:]
        self._where = ", called by ".join(
            escape(f"{call.filename}:{call.lineno} in {call.name}", 300) for call in reversed(calls)
        )


def watch_loop(limit_s: float) -> None:
    """Watch the running loop as long as its process lives.

    Args:
        limit_s: How long a turn may take.
    """
    loop = asyncio.get_running_loop()
    ident = threading.get_ident()
    watch = LoopWatch(limit_s, find_frame=lambda: sys._current_frames().get(ident))

    def turn() -> None:
        watch.turned()
        loop.call_later(limit_s / LOOKS, turn)

    def look() -> None:
        while True:
            time.sleep(limit_s / LOOKS)
            watch.look()

    turn()
    threading.Thread(target=look, name="slow-loop", daemon=True).start()
