"""The `http` connection scope: a request below, `receive` and `send` above.

Decides when the application is called, how a body and its end reach it, and what its own end
means. It must not know how bytes are read or written.

When the application is called: a request whose method usually has no content (GET and others)
waits for its end, or for the first piece of its body, so that `receive` finds all of it there; any
other is called with its head, so that it may refuse a body before that comes. A client that waits
for a `100 Continue` gets it when the application first asks for the body.

A client that has left: the messages go on being taken, each after one turn of the event loop, so
that a framework that listens for `http.disconnect` can end its task in its own way. An application
that does not listen would run for good: from the `UNHEARD_SENDS`th message on, `send` raises
`StreamClosedError`, an `OSError`, as specification 2.4 asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import MethodType
from typing import Any, Final

from edgeserver.adapters.asgi.application import Application
from edgeserver.adapters.asgi.calls import receive, run_call, send
from edgeserver.adapters.asgi.messages import (
    Message,
    to_bytes,
    to_fields,
    type_of,
    wrong_fields,
)
from edgeserver.adapters.asgi.response import (
    BODILESS,
    DONE,
    DROPPING,
    FRESH,
    START_LINES,
    STARTED,
    STREAMING,
    TRAILING,
    has_no_body,
    hint_headers,
    out_of_order,
    start_line_of,
    takes_trailers,
)
from edgeserver.adapters.asgi.scope import Scope, ScopeBasis, name_client
from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import comes_of_leaving, describe, why_cut
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    RequestStartLine,
    ResponseStartLine,
)
from edgeserver.iostream import closed_error
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import notify_all, start_task

__all__ = ["UNHEARD_SENDS", "HTTPCycle"]

HELD_BODY: Final = 64 * 1024
"""Bytes of a body kept for an application that does not ask for them; beyond that reading waits."""

HELD_PIECES: Final = 1024
"""The same in pieces: one of a single byte takes forty."""

UNHEARD_SENDS: Final = 64
"""Messages for a client that has left which are taken in silence."""

USUALLY_EMPTY: Final = frozenset(("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"))


class HTTPCycle:
    """The life of one request: what the server tells it, and what the application does.

    It is an `HTTPMessageDelegate` by what it has: compiled, a class of its own is laid out as a
    struct, and one that inherits from what is not compiled is not.

    Args:
        application: What is called.
        basis: What its scope has alike with others.
        connection: Where the answer goes.

    Attributes:
        scope: What the application was called with; None before.
        task: Where it runs, unless it ended in its first step.
        stage: How far the answer has come; see `response`.
        gone: Whether the client is known to have left.
    """

    # What every request reads stands in slots; CPython 3.11 takes long to find a class's default.
    __slots__ = (
        "__dict__",
        "_application",
        "_basis",
        "_called",
        "_complete",
        "_connection",
        "_fields",
        "_start_line",
        "_trailers",
        "_waiting",
        "scope",
        "stage",
        "task",
    )

    # What few requests have stands on the class.
    gone = False
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
    # How many messages were for a client that has left; whether a body was dropped.
    _unheard = 0
    _dropped = False

    # The head of the answer, from http.response.start until it is written.
    _start_line: ResponseStartLine
    _fields: list[tuple[bytes, bytes]]

    def __init__(
        self, application: Application, basis: ScopeBasis, connection: HTTPConnection
    ) -> None:
        self._application = application
        self._basis = basis
        self._connection = connection
        self.stage = FRESH
        # Whether somebody waits for what ends with the answer.
        self._waiting = False
        # None, or the fields of the trailer section that was announced.
        self._trailers: list[tuple[bytes, bytes]] | None = None
        # Whether the whole request has come, and whether the application was called.
        self._complete = False
        self._called = False
        self.task: asyncio.Task[None] | None = None
        self.scope: Scope | None = None

    def __str__(self) -> str:
        asked = self._connection
        client = name_client(self.scope, asked)
        return f"{asked.method} {asked.target} {asked.version} from {client}"

    # What the server tells.

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> asyncio.Future[None] | None:
        """Call the application, if it may want to refuse the body before that comes."""
        if self._connection.expects_continue:
            # The server says 100 once this is done, which is when somebody asks for the body.
            held = self._held = self._basis.loop.create_future()
            self._call()
            return None if self.stage == DONE else held
        if start_line[0] not in USUALLY_EMPTY:
            self._call()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a piece of the body; beyond `HELD_BODY` the next waits until it is received."""
        if self.stage == DONE:
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
        if too_much and self.stage != DONE and not self.gone:
            self._waiting = True
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
        self.gone = True
        self._release()
        if self._waiters is not None:
            self._wake()

    def go_away(self) -> None:
        """Called when the server stops: a call that goes on is told as if its client had left."""
        if not self.gone:
            self._why_gone = "the server stops"
        self._unheard = UNHEARD_SENDS  # nobody has time for an application that does not listen
        self._leave()

    def serves(self, connection: object) -> bool:
        """Return whether it is the call for a request."""
        return self._connection is connection

    # What the application calls, by `calls.receive` and `calls.send`.

    def next_message(self) -> Message | None:
        """Return the next piece of the body, or `http.disconnect` once all is over."""
        if self.gone or self.stage == DONE:
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
        return None

    def news(self) -> asyncio.Future[None]:
        """Return a future that is done when `next_message` may have one."""
        self._release()
        waiter: asyncio.Future[None] = self._basis.loop.create_future()
        self._waiting = True
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        return waiter

    def take(self, message: Any) -> Awaitable[object] | None:
        """Take a message of the application; return what it waits for before it sends more.

        Raises:
            MessageError: It is not allowed, or not allowed now; the message says why.
            HTTPOutputError: The body is longer or shorter than its `content-length`.
            StreamClosedError: The client left long ago.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            kind = type_of(message)  # says what is wrong with it
        stage = self.stage
        if stage == FRESH and kind == "http.response.start":
            # Held back until the first piece of the body.
            line = START_LINES.get(message.get("status"))
            self._start_line = line or start_line_of(kind, message)
            headers = message.get("headers")
            self._fields = headers if type(headers) is list else to_fields(kind, message)
            if message.get("trailers"):
                self._trailers = []
            self.stage = STARTED
            if line is None and has_no_body(self._start_line[1]):
                self.stage = BODILESS
            return None
        if not FRESH < stage < TRAILING or kind != "http.response.body":
            return self._take_other(kind, message)
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = to_bytes(kind, "body", body)
        if message.get("more_body"):
            return self._take_piece(body, more=True)
        if stage != STARTED or self._trailers is not None:
            return self._take_piece(body, more=False)
        # The whole answer, as nearly all are.
        connection = self._connection
        try:
            connection.write_headers(self._start_line, self._fields, body, whole=True)
        except (ValueError, TypeError, AttributeError) as error:
            raise wrong_fields("http.response.start", error) from error
        self.stage = DONE
        connection.finish()
        if self._waiting:
            self._complete_answer()
        return None

    def _take_piece(self, body: bytes, *, more: bool) -> Awaitable[object] | None:
        """Take a piece of the body of an answer that is not one piece."""
        connection, stage = self._connection, self.stage
        if stage == STREAMING:
            written = connection.write(body)
        elif stage == DROPPING:
            self._drop(body)
            written = connection.write(b"")
        else:
            if stage == BODILESS:
                self._drop(body)
                body = b""
            whole = not more and self._trailers is None
            try:
                written = connection.write_headers(
                    self._start_line, self._fields, body, whole=whole
                )
            except (ValueError, TypeError, AttributeError) as error:
                raise wrong_fields("http.response.start", error) from error
            self.stage = STREAMING if stage == STARTED else DROPPING
        if not more:
            self._end_body()
        if not written.done():
            return written
        return self._go_on_unheard(written) if self.gone else None

    def _drop(self, piece: bytes) -> None:
        """Take a piece of a body that the status does not have, and say so once."""
        if piece and not self._dropped:
            self._dropped = True
            self._application.mistake_log.write(
                "",
                "The application gave a body with status %d, which has none (RFC 9110 section"
                " 6.4.1); it was not sent: %s",
                self._start_line[1],
                self,
            )

    def _complete_answer(self) -> None:
        """Let whoever asks for the body, or for its end, know that all is over."""
        self.stage = DONE
        self._release()
        if self._waiters is not None:
            self._wake()

    def _end_body(self) -> None:
        """Take the end of the body: the answer is complete, or its trailers are to come."""
        if self._trailers is not None:
            self.stage = TRAILING
            return
        self.stage = DONE
        try:
            self._connection.finish()
        finally:
            self._complete_answer()

    def _take_other(self, kind: Any, message: Any) -> Awaitable[object] | None:
        """Take what is neither the start nor a piece of the body in its place."""
        stage = self.stage
        if stage == DONE:
            return self._go_on_unheard(None) if self.gone else None
        if kind == "http.response.early_hint":
            self._hint(message)
        elif kind == "http.response.trailers" and stage == TRAILING:
            self._take_trailers(kind, message)
        else:
            raise out_of_order(kind, stage)
        return None

    def _hint(self, message: Message) -> None:
        """Send a 103 with the links of an early hint; after the head it is too late for one.

        Source: RFC 8297.
        """
        if self._connection.status:
            return
        kind = "http.response.early_hint"
        headers = hint_headers(kind, message)
        try:
            self._connection.write_headers(("HTTP/1.1", 103, "Early Hints"), headers)
        except (TypeError, ValueError) as error:
            raise wrong_fields(kind, error) from error

    def _take_trailers(self, kind: str, message: Message) -> None:
        """Take a part of the trailer section; the last one completes the answer."""
        trailers = self._trailers
        assert trailers is not None, "they were announced"
        trailers += to_fields(kind, message)
        if message.get("more_trailers", False):
            return
        if trailers and takes_trailers(self._connection.raw):
            try:
                self._connection.set_trailers(trailers)
            except (ValueError, TypeError, AttributeError) as error:
                raise wrong_fields(kind, error) from error
        self._trailers = None
        self._end_body()

    def _go_on_unheard(self, written: asyncio.Future[None] | None) -> Awaitable[object] | None:
        """Count what was written for a client that has left; return the turn that it waits.

        Raises:
            StreamClosedError: It was one too many.
        """
        if written is not None and (written.cancelled() or written.exception() is None):
            return None  # only its half is closed: it still reads
        self._unheard += 1
        if self._unheard >= UNHEARD_SENDS:
            raise closed_error()
        return asyncio.sleep(0)

    # The call; see `calls.Running`.

    def _call(self) -> None:
        self._called = True
        task = start_task(run_call(self), self._basis.loop)
        if not task.done():
            # The event loop keeps only weak references to tasks.
            self.task = task
            self._application.calls.add(self)
            self._connection.set_close_callback(self._leave)

    def enter(self) -> Awaitable[None]:
        """Call the application."""
        application = self._application
        scope = self.scope = self._basis.make_scope(
            self._connection, application.state, application.root_path
        )
        return application.app(scope, MethodType(receive, self), MethodType(send, self))

    def cut(self) -> None:
        """End the connection in the middle of the answer."""
        if self.stage != DONE:
            self._connection.abort()

    def fail(self, error: BaseException) -> None:
        """Act on an exception of the application."""
        if self.gone and comes_of_leaving(error, told=self._told):
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
        if self.stage != DONE or not self._connection.status:
            self._answer_failure()

    def returned(self) -> None:
        """Act on an application that may have returned before its answer was complete."""
        if self.stage == DONE:
            return
        if self.gone:
            self.stage = DONE
            self._connection.abort()
            return
        what = "starting" if self.stage == FRESH else "completing"
        app_log.error("The application returned without %s its answer: %s", what, self)
        self._answer_failure()

    def ended(self) -> None:
        """Forget the call."""
        if self.task is not None:
            self._application.calls.discard(self)

    def _answer_failure(self) -> None:
        answer_failure(self._connection)
        self._complete_answer()

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
