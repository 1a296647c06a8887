"""An ASGI application, and what each call of it needs: state, root path, limits, running calls.

Decides nothing; it is what `adapter.py` hands to the connection scopes. It must not know which
scopes there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from edgeserver.support.held import HeldBudget
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import LimitedLog
from edgeserver.websocket.settings import WebSocketSettings

__all__ = ["ASGICallable", "Application", "Call"]

ASGICallable = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Call(Protocol):
    """A call of the application that goes on.

    Attributes:
        task: Where it runs; None if it ended in its first step.
    """

    task: asyncio.Task[None] | None

    def go_away(self) -> None:
        """Called when the server stops: the call is to end soon."""
        ...


class Application:
    """An application, as the calls of it know it.

    Args:
        app: What is called.
        root_path: The path that it is mounted at, without a slash at the end.
        websockets: The limits of its WebSockets.

    Attributes:
        state: What the lifespan scope's `state` holds; every scope gets a shallow copy.
        calls: The calls that go on.
        held: What its WebSockets hold behind a connection that has no budget of its own.
        closed_log: What is said of WebSockets that were closed because their peer broke a rule.
    """

    __slots__ = ("app", "calls", "closed_log", "held", "root_path", "state", "websockets")

    def __init__(self, app: ASGICallable, *, root_path: str, websockets: WebSocketSettings) -> None:
        self.app = app
        self.root_path = root_path
        self.websockets = websockets
        self.state: dict[str, Any] = {}
        self.calls: set[Call] = set()
        self.held = HeldBudget()
        self.closed_log = LimitedLog(gen_log, logging.INFO, "WebSockets closed for a broken rule")
