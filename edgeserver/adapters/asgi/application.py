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
from edgeserver.support.loggers import app_log, gen_log
from edgeserver.support.ratelimit import LimitedLog, RateLimit
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

    def serves(self, connection: object) -> bool:
        """Return whether it is the call for a request."""
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
        advice_log: What is said of handshakes that are none, since a proxy left something out.
        mistake_log: What is said of answers that the server has put right.
    """

    __slots__ = (
        "advice_log",
        "app",
        "calls",
        "closed_log",
        "held",
        "mistake_log",
        "root_path",
        "state",
        "websockets",
    )

    def __init__(self, app: ASGICallable, *, root_path: str, websockets: WebSocketSettings) -> None:
        self.app = app
        self.root_path = root_path
        self.websockets = websockets
        self.state: dict[str, Any] = {}
        self.calls: set[Call] = set()
        self.held = HeldBudget()
        self.closed_log = LimitedLog(gen_log, logging.INFO, "WebSockets closed for a broken rule")
        self.advice_log = LimitedLog(
            gen_log,
            logging.WARNING,
            "Requests that lack something of a WebSocket handshake",
            limit=RateLimit(per_address=1),
        )
        self.mistake_log = LimitedLog(
            app_log,
            logging.WARNING,
            "Bodies dropped of answers that have none",
            limit=RateLimit(in_all=5),
        )
