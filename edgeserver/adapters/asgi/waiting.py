"""How several tasks of an application wait for one thing.

Decides who goes on: all of them. It must not know what they wait for.
"""

from __future__ import annotations

import asyncio

__all__ = ["wake"]


def wake(waiters: list[asyncio.Future[None]]) -> None:
    """Let all go on that wait by a future in `waiters`, and empty it.

    Each task has a future of its own, since cancelling a task cancels what it waits for.
    """
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
