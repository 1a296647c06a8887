"""Delivery: what the delegate of one request hears, and what holds the next piece back.

Decides how a head, the pieces of a body and the end are told, for whatever version of HTTP, and
that an application which gives an awaitable hears no more until that is done. It must not know how
requests are read, nor what follows a failure: its owner is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from edgeserver.http.exchange import Exchange
from edgeserver.http.input_errors import is_input_error
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.httputil.startlines import RequestStartLine
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import begin_waiting

__all__ = ["Delivery", "DeliveryOwner"]


class DeliveryOwner(Protocol):
    """Who has a request delivered."""

    def application_failed(self, error: BaseException) -> None:
        """Called with what the delegate has raised."""
        ...

    def application_ready(self, error: BaseException | None) -> None:
        """Called when what the application waited for is done, with its error if it has one.

        Not in the request's context; and not where nobody waits for it any more.
        """
        ...


class Delivery:
    """One request on its way to its delegate.

    Args:
        delegate: Who hears it.
        owner: Who is told what the delegate makes of it.
        loop: The event loop.

    Attributes:
        held: What the application waits for before it takes more; None where it takes it.
    """

    __slots__ = ("_delegate", "_loop", "_owner", "held")

    def __init__(
        self, delegate: HTTPMessageDelegate, owner: DeliveryOwner, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._delegate = delegate
        self._owner = owner
        self._loop = loop
        self.held: asyncio.Future[Any] | None = None

    def give_head(self, exchange: Exchange) -> bool:
        """Give the delegate the head; say whether it takes what follows."""
        try:
            start_line = RequestStartLine(exchange.method, exchange.target, exchange.version)
            waiting = self._delegate.headers_received(start_line, exchange.headers)
            return waiting is None or self._begin_waiting(waiting)
        except Exception as error:
            self._owner.application_failed(error)
            return False

    def give_piece(self, piece: bytes) -> bool:
        """Give the delegate a piece of the body; say whether it takes what follows."""
        try:
            waiting = self._delegate.data_received(piece)
            return waiting is None or self._begin_waiting(waiting)
        except Exception as error:
            self._owner.application_failed(error)
            return False

    def _begin_waiting(self, waiting: Awaitable[None]) -> bool:
        """Let nothing more be given until `waiting` is done; say whether it is already.

        Raises:
            TypeError: It is neither None nor an awaitable.
        """
        future = begin_waiting(waiting, self._loop)
        if future is None:
            return True
        self.held = future
        future.add_done_callback(self._waited)
        return False

    def _waited(self, future: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if self.held is future:
            self.held = None
            self._owner.application_ready(error)
        elif error is not None and not (
            # Of a body that nobody reads any more there is nothing to refuse.
            isinstance(error, asyncio.CancelledError) or is_input_error(error)
        ):
            app_log.error("Uncaught exception", exc_info=error)

    def finish(self) -> Exception | None:
        """Tell the delegate that its request is complete; return what it raises."""
        finish: Callable[[], object] = self._delegate.finish  # whatever an application's returns
        try:
            finish()
        except Exception as error:
            return error
        return None

    def close(self) -> None:
        """Tell the delegate that its request will not be complete."""
        on_close: Callable[[], object] = self._delegate.on_connection_close
        try:
            on_close()
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)
