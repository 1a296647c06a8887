"""One `http` connection scope: a request below, `receive` and `send` above.

Decides when the application is called, how a body and its end reach it, and what its own end
means. It must not know how bytes are read or written.

When the application is called: a request whose method usually has no content (GET and others)
waits for its end, or for the first piece of its body, so that `receive` finds all of it there; any
other is called with its head, so that it may refuse a body before that comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from edgeserver.adapters.asgi.messages import Message
from edgeserver.adapters.asgi.response import DONE, FRESH, Responder
from edgeserver.adapters.asgi.scope import ConnectionFacts, Scope
from edgeserver.adapters.asgi.waiting import wake
from edgeserver.adapters.error_response import answer_failure
from edgeserver.errors import StreamClosedError
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
)
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import is_being_cancelled, start_task

if TYPE_CHECKING:
    from edgeserver.adapters.asgi.adapter import ASGIAdapter

__all__ = ["HTTPCycle"]

HELD_BODY: Final = 64 * 1024
"""Bytes of a body kept for an application that does not ask for them; beyond that reading waits."""

USUALLY_EMPTY: Final = frozenset(("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"))


class HTTPCycle(Responder, HTTPMessageDelegate):
    """The life of one request: what the server tells it, and what the application does.

    Args:
        adapter: Whose application is called.
        facts: What is known of the connection.
        connection: Where the answer goes.

    Attributes:
        scope: What the application was called with; None before.
        task: Where it runs, unless it ended in its first step.
    """

    # What every request reads stands in slots, the rest on the class: see Responder.
    __slots__ = ("_adapter", "_called", "_complete", "_facts", "scope", "task")

    # The body: pieces not yet received, whether its end was received.
    _body: list[bytes] | None = None
    _body_bytes = 0
    _ended = False
    # Who waits: the server for room, tasks of the application for a message; see _waiting.
    _held: asyncio.Future[None] | None = None
    _waiters: list[asyncio.Future[None]] | None = None

    def __init__(
        self, adapter: ASGIAdapter, facts: ConnectionFacts, connection: HTTPConnection
    ) -> None:
        self.connection = connection
        self.stage = FRESH
        self._waiting = False
        self._trailers = None
        self._adapter = adapter
        self._facts = facts
        self._complete = False
        self._called = False
        self.task: asyncio.Task[None] | None = None
        self.scope: Scope | None = None

    def __str__(self) -> str:
        asked = self.connection
        return f"{asked.method} {asked.target} {asked.version} from {self._facts.name(self.scope)}"

    # What the server tells.

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Call the application, if it may want to refuse the body before that comes."""
        if start_line[0] not in USUALLY_EMPTY:
            self._call()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a piece of the body; beyond `HELD_BODY` the next waits until it is received."""
        if self.stage == DONE:
            return None  # nobody will ask for it
        if self._body is None:
            self._body = [chunk]
        else:
            self._body.append(chunk)
        self._body_bytes += len(chunk)
        if not self._called:
            self._call()
        elif self._waiters is not None:
            self._wake()
        if self._body_bytes > HELD_BODY and self.stage != DONE and not self.gone:
            self._waiting = True
            self._held = asyncio.get_running_loop().create_future()
            return self._held
        return None

    def finish(self) -> None:
        """Hear that the body is complete."""
        self._complete = True
        if not self._called:
            self._call()
        elif self._waiters is not None:
            self._wake()

    def on_connection_close(self) -> None:
        """Hear that the rest of the request will not come; one not yet called never is."""
        if self._called:
            self.leave()

    def leave(self) -> None:
        """Hear that the client has left."""
        self.gone = True
        self._release()
        if self._waiters is not None:
            self._wake()

    def go_away(self) -> None:
        """Hear that the server stops: a call that still goes on is told as if its client left."""
        self.leave()

    # What the application calls.

    async def receive(self) -> Message:
        """Return the next piece of the body, or `http.disconnect` once all is over."""
        while True:
            if self.gone or self.stage == DONE:
                return {"type": "http.disconnect"}
            if self._body is not None:
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body = None
                self._body_bytes = 0
                self._ended = self._complete
                self._release()
                return {"type": "http.request", "body": body, "more_body": not self._complete}
            if self._complete and not self._ended:
                self._ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            waiter = asyncio.get_running_loop().create_future()
            self._waiting = True
            if self._waiters is None:
                self._waiters = [waiter]
            else:
                self._waiters.append(waiter)
            await waiter

    def completed(self) -> None:
        """Let whoever still asks for the body, or for its end, know that all is over."""
        self._release()
        if self._waiters is not None:
            self._wake()

    def wants_trailers(self) -> bool:
        """Tell whether the client said `TE: trailers`."""
        values = [value for name, value in self.connection.raw if name == b"te"]
        codings = b",".join(values).lower().split(b",")
        return b"trailers" in [coding.strip(b" \t") for coding in codings]

    # The call.

    def _call(self) -> None:
        self._called = True
        task = start_task(self._run(), self._facts.loop)
        if not task.done():
            # The event loop keeps only weak references to tasks.
            self.task = task
            self._adapter.calls.add(self)
            self.connection.set_close_callback(self.leave)

    async def _run(self) -> None:
        adapter = self._adapter
        try:
            self.scope = scope = self._facts.make_scope(
                self.connection, adapter.state, adapter.root_path
            )
            await adapter.app(scope, self.receive, self.send)
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                self._cut()
                raise
            self._fail(error)
        except BaseException:  # the process ends
            self._cut()
            raise
        else:
            if self.stage != DONE:
                self._left_open()
        finally:
            if self.task is not None:
                adapter.calls.discard(self)

    def _cut(self) -> None:
        """End the connection in the middle of the answer."""
        if self.stage != DONE:
            self.connection.abort()

    def _fail(self, error: BaseException) -> None:
        """Act on an exception of the application."""
        if self.gone and _is_about_leaving(error):
            # "Servers must be prepared to catch this exception if they raised it and should not
            # log it as an error in their server logs."
            app_log.info("The client left before the answer was complete: %s", self)
        else:
            app_log.error("Uncaught exception in %s", self, exc_info=error)
        if self.stage != DONE or not self.connection.status:
            self._answer_failure()

    def _left_open(self) -> None:
        """Act on an application that returned before its answer was complete."""
        if self.gone:
            self.stage = DONE
            self.connection.abort()
            return
        what = "starting" if self.stage == 0 else "completing"
        app_log.error("The application returned without %s its answer: %s", what, self)
        self._answer_failure()

    def _answer_failure(self) -> None:
        self.stage = DONE
        answer_failure(self.connection)
        self.completed()

    # Who waits.

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        if waiters is not None:
            wake(waiters)

    def _release(self) -> None:
        """Let the server read on."""
        held, self._held = self._held, None
        if held is not None and not held.done():
            held.set_result(None)


def _is_about_leaving(error: BaseException | None) -> bool:
    """Tell whether `error` comes from a `send` that nobody heard, however it was wrapped."""
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        if isinstance(each, StreamClosedError):
            return True
        seen.add(id(each))
        pending += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    return False
