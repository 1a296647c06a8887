"""The `http` connection scope: a request below, `receive` and `send` above.

Decides when the application is called, how a body and its end reach it, and what its own end
means. It must not know how bytes are read or written.

When the application is called: a request whose method usually has no content (GET and others)
waits for its end, or for the first piece of its body, so that `receive` finds all of it there; any
other is called with its head, so that it may refuse a body before that comes. A client that waits
for a `100 Continue` gets it when the application first asks for the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from edgeserver.adapters.asgi.application import Application
from edgeserver.adapters.asgi.messages import Message
from edgeserver.adapters.asgi.response import DONE, Responder
from edgeserver.adapters.asgi.scope import ConnectionInfo, Scope
from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import comes_of_leaving, describe, why_cut
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
)
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import is_being_cancelled, notify_all, start_task

__all__ = ["HTTPCycle"]

HELD_BODY: Final = 64 * 1024
"""Bytes of a body kept for an application that does not ask for them; beyond that reading waits."""

HELD_PIECES: Final = 1024
"""The same in pieces: one of a single byte takes forty."""

USUALLY_EMPTY: Final = frozenset(("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"))


class HTTPCycle(HTTPMessageDelegate):
    """The life of one request: what the server tells it, and what the application does.

    Attributes:
        scope: What the application was called with; None before.
        task: Where it runs, unless it ended in its first step.
    """

    # What every request reads stands in slots; CPython 3.11 takes long to find a class's default.
    __slots__ = (
        "__dict__",
        "_application",
        "_called",
        "_complete",
        "_connection",
        "_info",
        "_response",
        "scope",
        "task",
    )

    _application: Application
    _info: ConnectionInfo
    _connection: HTTPConnection
    _response: Responder
    # Whether the whole request has come, and whether the application was called.
    _complete: bool
    _called: bool
    task: asyncio.Task[None] | None
    scope: Scope | None

    # What few requests have stands on the class.
    # The body: pieces not yet received, their size, and whether its end was received.
    _body: list[bytes] | None = None
    _body_bytes = 0
    _ended = False
    # Who waits: the server, for room or for somebody to ask; the application, for a message.
    _held: asyncio.Future[None] | None = None
    _waiters: list[asyncio.Future[None]] | None = None
    # Why nothing more comes of the request, and whether the application has heard of that.
    _why_gone = "the connection was closed"
    _told = False

    @staticmethod
    def make(
        application: Application, info: ConnectionInfo, connection: HTTPConnection
    ) -> HTTPCycle:
        """Return a new one; CPython 3.11 takes half as long for that as for an `__init__`.

        Args:
            application: What is called.
            info: What is known of the connection.
            connection: Where the answer goes.
        """
        cycle = HTTPCycle()
        cycle._application = application
        cycle._info = info
        cycle._connection = connection
        cycle._response = Responder.make(connection, application.mistake_log)
        cycle._complete = cycle._called = False
        cycle.task = cycle.scope = None
        return cycle

    def __str__(self) -> str:
        asked = self._connection
        return f"{asked.method} {asked.target} {asked.version} from {self._info.name(self.scope)}"

    # What the server tells.

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> asyncio.Future[None] | None:
        """Call the application, if it may want to refuse the body before that comes."""
        if self._connection.expects_continue:
            # The server says 100 once this is done, which is when somebody asks for the body.
            held = self._held = self._info.loop.create_future()
            self._call()
            return None if self._response.stage == DONE else held
        if start_line[0] not in USUALLY_EMPTY:
            self._call()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a piece of the body; beyond `HELD_BODY` the next waits until it is received."""
        response = self._response
        if response.stage == DONE:
            return None  # nobody will ask for it
        if self._body is None:
            self._body = [chunk]
        else:
            self._body.append(chunk)
        size = len(chunk)
        self._body_bytes += size
        self._connection.hold(size)
        if not self._called:
            self._call()
        elif self._waiters is not None:
            self._wake()
        too_much = self._body_bytes > HELD_BODY or len(self._body or b"") > HELD_PIECES
        if too_much and response.stage != DONE and not response.gone:
            response.on_completed = self._answered
            self._held = asyncio.get_running_loop().create_future()
            return self._held
        return None

    def finish(self) -> None:
        """Called when the request is complete."""
        self._complete = True
        if not self._called:
            self._call()
        elif self._waiters is not None:
            self._wake()

    def on_connection_close(self) -> None:
        """Called when the rest will not come; an application not yet called never is."""
        if self._called:
            self._why_gone = why_cut(self._connection)
            self._leave()

    def _leave(self) -> None:
        """Called when the connection is gone."""
        response = self._response
        response.gone = True
        response.on_completed = None  # it would keep this, which keeps the response
        self._release()
        if self._waiters is not None:
            self._wake()

    def go_away(self) -> None:
        """Called when the server stops: a call that goes on is told as if its client had left."""
        if not self._response.gone:
            self._why_gone = "the server stops"
        self._leave()

    # What the application calls.

    async def receive(self) -> Message:
        """Return the next piece of the body, or `http.disconnect` once all is over."""
        response = self._response
        while True:
            if response.gone or response.stage == DONE:
                self._told = True
                return {"type": "http.disconnect"}
            if self._body is not None:
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body = None
                self._connection.release(self._body_bytes)
                self._body_bytes = 0
                self._ended = self._complete
                self._release()
                return {"type": "http.request", "body": body, "more_body": not self._complete}
            if self._complete and not self._ended:
                self._ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            self._release()
            waiter = asyncio.get_running_loop().create_future()
            response.on_completed = self._answered
            if self._waiters is None:
                self._waiters = [waiter]
            else:
                self._waiters.append(waiter)
            await waiter

    def _answered(self) -> None:
        """Called when the answer is complete: nobody waits for the body, or for its end."""
        self._release()
        self._wake()

    # The call.

    def _call(self) -> None:
        self._called = True
        task = start_task(self._run(), self._info.loop)
        if not task.done():
            # The event loop keeps only weak references to tasks.
            self.task = task
            self._application.calls.add(self)
            self._connection.set_close_callback(self._leave)

    async def _run(self) -> None:
        application = self._application
        try:
            self.scope = scope = self._info.make_scope(
                self._connection, application.state, application.root_path
            )
            await application.app(scope, self.receive, self._response.send)
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                self._cut()
                raise
            self._fail(error)
        except BaseException:  # the process ends
            self._cut()
            raise
        else:
            if self._response.stage != DONE:
                self._left_open()
        finally:
            if self.task is not None:
                application.calls.discard(self)

    def _cut(self) -> None:
        """End the connection in the middle of the answer."""
        if self._response.stage != DONE:
            self._response.on_completed = None
            self._connection.abort()

    def _fail(self, error: BaseException) -> None:
        """Act on an exception of the application."""
        if self._response.gone and comes_of_leaving(error, told=self._told):
            # "Servers must be prepared to catch this exception if they raised it and should not
            # log it as an error in their server logs."
            app_log.info(
                "The answer was not completed, since %s: %s: %s",
                self._why_gone,
                self,
                describe(error),
            )
            app_log.debug("What the application raised", exc_info=error)
        else:
            app_log.error("Uncaught exception in %s", self, exc_info=error)
        if self._response.stage != DONE or not self._connection.status:
            self._answer_failure()

    def _left_open(self) -> None:
        """Act on an application that returned before its answer was complete."""
        if self._response.gone:
            self._response.stage = DONE
            self._connection.abort()
            return
        what = "starting" if self._response.stage == 0 else "completing"
        app_log.error("The application returned without %s its answer: %s", what, self)
        self._answer_failure()

    def _answer_failure(self) -> None:
        answer_failure(self._connection)
        self._response.complete()

    # Who waits.

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        if waiters is not None:
            notify_all(waiters)

    def _release(self) -> None:
        """Let the server read on."""
        held, self._held = self._held, None
        if held is not None and not held.done():
            held.set_result(None)
