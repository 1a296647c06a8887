"""The start and the stop of an application, each at most once.

Decides whether an application has anything to start or stop, and that what has not started is not
stopped. It must not know servers, sockets or signals.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from edgeserver.runtime.plan import Hook

__all__ = ["Lifecycle", "run_hooks"]


class Lifecycle:
    """The life of one application: its delegate's `startup` and `shutdown`, where it has them.

    Args:
        delegate: What requests are given to.
    """

    def __init__(self, delegate: Any) -> None:
        self._delegate = delegate
        # What has nothing to do at its start has started.
        self._started = not self.has_startup

    @property
    def has_startup(self) -> bool:
        """Whether the application has anything to do at its start."""
        return inspect.iscoroutinefunction(getattr(self._delegate, "startup", None))

    async def start(self) -> None:
        """Let the application start.

        Raises:
            Exception: What its start has raised; it is not stopped then.
        """
        await self._call("startup")
        self._started = True

    async def stop(self) -> None:
        """Let the application stop, if it has started and was not stopped before."""
        started, self._started = self._started, False
        if started:
            await self._call("shutdown")

    async def _call(self, name: str) -> None:
        """Call the delegate's coroutine function `name` if it has one."""
        method = getattr(self._delegate, name, None)
        if inspect.iscoroutinefunction(method):
            await method()


async def run_hooks(hooks: Iterable[Hook], server: Any) -> None:
    """Call each hook with the server, one after the other, and wait for those that are coroutines.

    Raises:
        Exception: What a hook has raised; those after it are not called.
    """
    for hook in hooks:
        result = hook(server)
        if inspect.isawaitable(result):
            await result
