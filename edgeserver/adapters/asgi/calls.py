"""The coroutines of a call: the one that runs it, and the `receive` and `send` that it is given.

Decides what of a call waits: each is a coroutine, which an application may await or make a task of,
and does nothing before that. What happens meanwhile are plain methods of the call: those are
compiled, and coroutines are not. It must not know which connection scope a call has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from edgeserver.adapters.asgi.messages import Message
from edgeserver.support.tasks import is_being_cancelled

__all__ = ["Conversation", "Running", "receive", "run_call", "send"]


class Running(Protocol):
    """A call of the application, and how it may end."""

    def enter(self) -> Awaitable[None]:
        """Call the application, and return what it is run by."""
        ...

    def fail(self, error: BaseException) -> None:
        """Called when the application has raised."""
        ...

    def cut(self) -> None:
        """Called when the call is cancelled, or the process ends."""
        ...

    def returned(self) -> None:
        """Called when the application has returned."""
        ...

    def ended(self) -> None:
        """Called after any of these."""
        ...


class Conversation(Protocol):
    """What is done with messages between the points at which a call waits."""

    def take(self, message: Any) -> Awaitable[object] | None:
        """Take a message of the application; return what it waits for before it sends more."""
        ...

    def next_message(self) -> Message | None:
        """Return the next message for the application; None if it has to wait for `news`."""
        ...

    def news(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be a message."""
        ...


async def run_call(call: Running) -> None:
    """Run the application; what it raises is the call's to act on, unless it is cancelled."""
    try:
        await call.enter()
    except (Exception, asyncio.CancelledError) as error:
        if is_being_cancelled():
            call.cut()
            raise
        call.fail(error)
    except BaseException:  # the process ends
        call.cut()
        raise
    else:
        call.returned()
    finally:
        call.ended()


async def receive(call: Conversation) -> Message:
    """Return the next message for the application."""
    while (message := call.next_message()) is None:
        await call.news()
    return message


async def send(call: Conversation, message: Any) -> None:
    """Take a message of the application; done when it may send more.

    Raises:
        MessageError: It is not allowed, or not allowed now; the message says why.
        HTTPOutputError: The body is longer or shorter than its `content-length`.
        StreamClosedError: The client left long ago, or the WebSocket is closed.
    """
    waiting = call.take(message)
    if waiting is not None:
        await waiting
