"""How an application's coroutine is started.

Decides between an eager Task, whose first step runs at once, and a plain one. It must not know
what the coroutine does. A bare `coroutine.send` is never used: `asyncio.timeout` and
`asyncio.current_task` would not work in it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ["is_being_cancelled", "start_task"]


def is_being_cancelled() -> bool:
    """Tell whether somebody ends the task that runs; else it waited for what was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


if sys.version_info >= (3, 12):

    def start_task(
        coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[Any]:
        """Return a Task that runs `coroutine`, eagerly on Python 3.12 and newer.

        Args:
            coroutine: What runs; if it ends without waiting, the Task returned is done.
            loop: The running loop.
        """
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def start_task(
        coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[Any]:
        """Return a Task that runs `coroutine` from the event loop's next turn on."""
        # Without a name it would be given one at once: a number, made into text.
        return asyncio.Task(coroutine, loop=loop, name="edgeserver")
