"""The `lifespan` connection scope: start and end of an application with its server.

Decides when a start has failed and when lifespan events are simply not taken. It must not know
what a server does between the two.

Source: ASGI, "Lifespan Protocol" 2.0.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from edgeserver.adapters.asgi.application import Application
from edgeserver.adapters.asgi.messages import Message, type_of, unexpected
from edgeserver.errors import EdgeServerError
from edgeserver.support.loggers import app_log, gen_log
from edgeserver.support.spelling import spelled

__all__ = ["MODES", "Lifespan", "LifespanError"]

MODES: Final = ("auto", "on", "off")

_ASGI: Final = {"version": "3.0", "spec_version": "2.0"}


class LifespanError(EdgeServerError):
    """The application could not start; the message is its own."""


class Lifespan:
    """One call of the application with the `lifespan` scope.

    Args:
        application: What is called, and fills its `state`.
        mode: `"auto"` or `"on"`; see `ASGIAdapter`.
    """

    def __init__(self, application: Application, *, mode: str) -> None:
        self._application = application
        self._mode = mode
        # The call, from the start until the end; None where it takes no lifespan events.
        self._task: asyncio.Task[None] | None = None
        # Whether it has received lifespan.startup.
        self._asked = False
        # Each is done once the application has said so: the result is its complaint, or None.
        self._started: asyncio.Future[str | None]
        self._stopped: asyncio.Future[str | None]
        # Set once the server stops.
        self._stopping: asyncio.Event

    async def startup(self) -> None:
        """Send `lifespan.startup`, and wait for the answer.

        Raises:
            LifespanError: The application says that it failed; or it takes no lifespan events,
                and the mode is `"on"`.
        """
        loop = asyncio.get_running_loop()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._stopping = asyncio.Event()
        task = self._task = loop.create_task(self._call())
        await _first([task, self._started])
        if self._started.done():
            failure = self._started.result()
            if failure is not None:
                await _end(task)
                self._task = None
                raise LifespanError(failure or "the application failed to start, and says no more")
            return
        self._task = None
        self._judge_unsupported(None if task.cancelled() else task.exception())

    async def shutdown(self, timeout_s: float) -> None:
        """Send `lifespan.shutdown`, and wait for the answer; what goes wrong is logged.

        Args:
            timeout_s: How many seconds to wait.
        """
        task, self._task = self._task, None
        if task is None:
            return
        if task.done():
            self._log_end(task)
            return
        self._stopping.set()
        await _first([task, self._stopped], timeout_s)
        if self._stopped.done():
            failure = self._stopped.result()
            if failure is not None:
                app_log.error("The application failed to shut down: %s", failure)
            await _end(task)
        elif task.done():
            self._log_end(task)
        else:
            app_log.error(
                "The application has not shut down in %g s (%s): it is cancelled",
                timeout_s,
                spelled("shutdown_timeout"),
            )
            await _end(task)

    # What the application calls.

    async def receive(self) -> Message:
        """Return `lifespan.startup`, and when the server stops `lifespan.shutdown`."""
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        if self._stopped.done():
            await asyncio.Event().wait()  # nothing follows
        return {"type": "lifespan.shutdown"}

    async def send(self, message: Message) -> None:
        """Take the answer to one of these.

        Raises:
            MessageError: It is not a lifespan message, or not one for now.
        """
        kind = type_of(message)
        if not self._started.done():
            waiting, event = self._started, "lifespan.startup"
        elif not self._stopped.done():
            # Also before it was asked to: Starlette does so when it is cancelled.
            waiting, event = self._stopped, "lifespan.shutdown"
        else:
            raise unexpected(kind, "after the shutdown", "none")
        if kind == f"{event}.complete":
            waiting.set_result(None)
        elif kind == f"{event}.failed":
            waiting.set_result(str(message.get("message", "")))
        else:
            raise unexpected(
                kind, f"as answer to {event!r}", f"'{event}.complete' or '{event}.failed'"
            )

    async def _call(self) -> None:
        application = self._application
        scope = {"type": "lifespan", "asgi": _ASGI, "state": application.state}
        await application.app(scope, self.receive, self.send)

    def _judge_unsupported(self, error: BaseException | None) -> None:
        """Act on an application that ended before it said that it had started."""
        if error is not None and not isinstance(error, Exception):
            raise error
        if self._mode == "on":
            why = "it returned" if error is None else f"{type(error).__name__}: {error}"
            raise LifespanError(
                f"the application takes no lifespan events ({why}), and lifespan is 'on'; give"
                " 'auto' if it need not"
            ) from error
        # "If an exception is raised when calling the application callable with a lifespan.startup
        # message or a scope with type lifespan, the server must continue but not send any
        # lifespan events."
        if error is None:
            gen_log.debug("The application takes no lifespan events")
        else:
            gen_log.info(
                "The application takes no lifespan events, and need not: %s: %s",
                type(error).__name__,
                error,
            )

    def _log_end(self, task: asyncio.Task[None]) -> None:
        """Say that the application left its lifespan before the server ended."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            app_log.error("Uncaught exception in the lifespan", exc_info=error)


async def _first(futures: list[asyncio.Future[Any]], timeout_s: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _end(task: asyncio.Task[None]) -> None:
    """Give a task that has said its last word a moment to return, then cancel it."""
    _, pending = await asyncio.wait([task], timeout=1)
    if pending:
        task.cancel()
        await asyncio.wait([task], timeout=1)
    if task.done() and not task.cancelled():
        task.exception()  # it has said why already
