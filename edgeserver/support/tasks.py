"""Tasks: how an application's coroutine is started, and how several tasks wait for one thing.

Decides between an eager Task, whose first step runs at once, and a plain one. It must not know
what the coroutine does. A bare `coroutine.send` is never used: `asyncio.timeout` and
`asyncio.current_task` would not work in it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Coroutine
from types import CodeType, FrameType
from typing import Any, Final

__all__ = [
    "begin_waiting",
    "describe_frames",
    "is_being_cancelled",
    "notify_all",
    "start_task",
    "where_task_waits",
]

FRAMES: Final = 3
"""How many calls are named of a stack, from the innermost on."""

MOST_FRAMES: Final = 200
"""How many coroutines that await each other are gone through."""


def is_being_cancelled() -> bool:
    """Tell whether somebody ends the task that runs; else it waited for what was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def describe_frames(frames: list[tuple[CodeType, int]]) -> str:
    """Return the innermost calls of a stack in words: `FILE:LINE in NAME, called by ...`.

    Args:
        frames: Each call's code and line, the innermost last.
    """
    return ", called by ".join(
        f"{code.co_filename}:{line} in {code.co_name}" for code, line in reversed(frames[-FRAMES:])
    )


def where_task_waits(task: asyncio.Task[Any]) -> str:
    """Return where a task waits, as `describe_frames` says it; empty if it is not known.

    Args:
        task: One that does not run at present.
    """
    waiting: Any = task.get_coro()
    frames: list[tuple[CodeType, int]] = []
    while waiting is not None and len(frames) < MOST_FRAMES:
        frame: FrameType | None = None
        # Of coroutines, generators, and asynchronous generators.
        for kind, next_one in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(waiting, f"{kind}_frame", None)
            if frame is not None:
                waiting = getattr(waiting, next_one)
                break
        if frame is None:
            break
        frames.append((frame.f_code, frame.f_lineno))
    return describe_frames(frames)


def notify_all(waiters: list[asyncio.Future[None]]) -> None:
    """Let all go on that wait by a future in `waiters`, and empty it.

    Each task has a future of its own, since cancelling a task cancels what it waits for.
    """
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


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


def begin_waiting(
    waiting: Awaitable[None], loop: asyncio.AbstractEventLoop
) -> asyncio.Future[Any] | None:
    """Return a future that is done when `waiting` is; None where it is already, without an error.

    Args:
        waiting: What an application has returned; a coroutine is started.
        loop: The event loop.

    Raises:
        TypeError: It is not an awaitable.
    """
    future: asyncio.Future[Any]
    if asyncio.iscoroutine(waiting):
        future = start_task(waiting, loop)
    else:
        future = asyncio.ensure_future(waiting)
    if future.done() and not future.cancelled() and future.exception() is None:
        return None
    return future
