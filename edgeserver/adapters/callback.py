"""`CallbackAdapter`: a callable that takes one request, the plainest application.

Decides when the callable is called, what its exceptions become, and what a request is told that
nobody can answer any more. It knows only the delegate interface.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from edgeserver.adapters.collecting import Collected
from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import comes_of_leaving, describe, is_gone
from edgeserver.errors import HTTPInputError, HTTPOutputError
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from edgeserver.support.addresses import client_name
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import is_being_cancelled, start_task, where_task_waits

__all__ = ["CallbackAdapter"]

_ENDING = (SystemExit, KeyboardInterrupt)

_ALL = (Exception, asyncio.CancelledError, *_ENDING)
"""What a callback may raise; GeneratorExit alone is Python's own."""

RequestCallback = Callable[[HTTPServerRequest], Awaitable[None] | None]


class CallbackAdapter(HTTPServerConnectionDelegate):
    """Calls `callback` with each request, once its body is complete.

    Args:
        callback: A plain or coroutine function of one `HTTPServerRequest`; it answers through
            `request.connection`. An exception answers 500 if no head was written, else it cuts
            the connection; it is logged either way. So does an `asyncio.CancelledError` that
            something it waited for was cancelled with, unless its own task was. `SystemExit` and
            `KeyboardInterrupt` end the event loop and so the process, as in Tornado and asyncio,
            whether the function is plain or a coroutine. A request that is not answered once
            nobody has a reference to it or its connection any more is answered 500, and logged.
    """

    keeps_limits = True

    def __init__(self, callback: RequestCallback) -> None:
        self._callback = callback
        # The event loop keeps only weak references to tasks. By them: whose request, by its id.
        self._tasks: dict[asyncio.Task[Any], int] = {}
        # Requests whose callback has returned without an answer, until nobody has them any more.
        self._unanswered: set[weakref.ref[HTTPServerRequest]] = set()

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request."""
        return _CallbackDelegate(self, server_conn, request_conn)

    def take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Call the callback with a request that has no body."""
        # The same as `call`, written twice: nearly every request comes this way.
        request = HTTPServerRequest.from_connection(request_conn, server_conn)
        try:
            result = self._callback(request)
        except _ALL as error:
            _take_error(request, request_conn, error)
            return
        if result is not None:
            self._settle_later(request, request_conn, result)
        elif not request_conn.status:
            self._watch(request, request_conn)

    def call(self, request: HTTPServerRequest, connection: HTTPConnection) -> None:
        """Call the callback with `request`; never raises what the callback raises."""
        try:
            result = self._callback(request)
        except _ALL as error:
            _take_error(request, connection, error)
            return
        if result is not None:
            self._settle_later(request, connection, result)
        elif not connection.status:
            self._watch(request, connection)

    def where_is(self, request_conn: HTTPConnection) -> str:
        """Return where the callback is with a request, in words."""
        for task, answering in self._tasks.items():
            if answering == id(request_conn):
                return f"the callback, at {where_task_waits(task)}"
        return "the callback, which has returned without an answer"

    def _settle_later(
        self, request: HTTPServerRequest, connection: HTTPConnection, result: object
    ) -> None:
        if not inspect.isawaitable(result):
            if not connection.status:
                self._watch(request, connection)
            return
        task = start_task(self._settle(request, connection, result), asyncio.get_running_loop())
        if not task.done():
            # Not the connection itself: who holds that may still answer, and this one never will.
            self._tasks[task] = id(connection)
            task.add_done_callback(self._tasks.pop)

    async def _settle(
        self, request: HTTPServerRequest, connection: HTTPConnection, waiting: Awaitable[None]
    ) -> None:
        try:
            await waiting
        except asyncio.CancelledError as error:
            if is_being_cancelled():  # the loop ends, or the application's own doing
                connection.abort()
                raise
            _answer_error(request, connection, error)
        except _ALL as error:
            _take_error(request, connection, error)
        else:
            if not connection.status:
                self._watch(request, connection)

    def _watch(self, request: HTTPServerRequest, connection: HTTPConnection) -> None:
        """Have a request answered that is forgotten: it may be answered later, while it is not."""
        if _REFERENCES is None:
            return
        unanswered, loop = self._unanswered, asyncio.get_running_loop()

        def forgotten(reference: weakref.ref[HTTPServerRequest]) -> None:
            unanswered.discard(reference)
            if not connection.status:
                try:  # the last reference may have been that of another thread
                    loop.call_soon_threadsafe(_Forgotten(connection))
                except RuntimeError:
                    pass  # the loop is closed, and with it the connection

        unanswered.add(weakref.ref(request, forgotten))


class _CallbackDelegate(HTTPMessageDelegate):
    """Collects one request, and hands it over."""

    __slots__ = ("_adapter", "_body", "_connection", "_request", "_server_conn")

    def __init__(
        self, adapter: CallbackAdapter, server_conn: object, connection: HTTPConnection
    ) -> None:
        self._adapter = adapter
        self._server_conn = server_conn
        self._connection = connection
        # What has come of the body, and the request once its head is there.
        self._body: Collected | None = None

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Make the request."""
        self._request = HTTPServerRequest.from_validated(
            start_line, headers, self._connection, self._server_conn
        )

    def data_received(self, chunk: bytes) -> asyncio.Future[None] | None:
        """Keep a piece of the body; the HTTP layer bounds their sum by `max_body_size`."""
        body = self._body
        if body is None:
            body = self._body = Collected()
        body.add(chunk)
        self._connection.hold(len(chunk))
        return self._connection.room_to_hold()

    def finish(self) -> None:
        """Call the callback."""
        if self._body is not None:
            self._request.body = self._body.take()
        self._adapter.call(self._request, self._connection)

    def on_connection_close(self) -> None:
        """Called when the rest will not come: a request that was cut is never handed over."""
        self._body = None


class _Forgotten:
    """A request that nobody has; perhaps somebody has its connection, and answers there.

    Args:
        connection: Where an answer would be written.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def __call__(self) -> None:
        """Answer 500, unless somebody else may."""
        is_forgotten = self.references() == _REFERENCES  # before it has a name here, too
        connection = self._connection
        if connection.status or not is_forgotten or is_gone(connection):
            return
        app_log.error(
            "The callback returned, and nobody can answer any more: %s %s from %s",
            connection.method,
            connection.target,
            connection.context.remote_ip,
        )
        try:
            answer_failure(connection)
        except HTTPOutputError:  # bytes were written without a head
            connection.abort()

    def references(self) -> int:
        """Return how many references there are to the connection, as CPython counts them."""
        return sys.getrefcount(self._connection)


def _count_references() -> int | None:
    """Return how many references a connection has that only the HTTP layer and one of us know.

    Counted and not known, since it depends on the version of Python how many a call adds. None
    where references are not counted.
    """
    if not hasattr(sys, "getrefcount"):
        return None
    layer = [HTTPConnection()]
    forgotten = _Forgotten(layer[0])
    return forgotten.references()


def _take_error(
    request: HTTPServerRequest, connection: HTTPConnection, error: BaseException
) -> None:
    """Answer what the callback raised; what ends the process has ended its event loop instead."""
    if not isinstance(error, _ENDING):
        _answer_error(request, connection, error)
        return
    if isinstance(error, SystemExit):
        app_log.error("The callback ends the process at %r", request, exc_info=error)
    connection.abort()
    # From a protocol's method uvloop logs these and goes on, asyncio ends; from here both end.
    asyncio.get_running_loop().call_soon(_end_loop, error)


def _end_loop(error: BaseException) -> NoReturn:
    raise error


def _answer_error(
    request: HTTPServerRequest, connection: HTTPConnection, error: BaseException
) -> None:
    if comes_of_leaving(error) and is_gone(connection):
        app_log.info("%r was not answered, since its client has left: %s", request, describe(error))
        return
    if isinstance(error, HTTPInputError):
        # Arguments and forms are parsed when the application first asks for them.
        client = client_name(request.remote_ip or "")
        connection.complain("Malformed HTTP message from %s: %s", client, error)
        status, reason, text = error.status, "Bad Request", f"{error}\n".encode("ascii", "replace")
    else:
        app_log.error("Uncaught exception %r", request, exc_info=error)
        status, reason, text = 500, "Internal Server Error", b"Internal Server Error\n"
    if connection.status:
        connection.abort()
        return
    connection.write_headers(
        ResponseStartLine("HTTP/1.1", status, reason),
        HTTPHeaders(
            {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        ),
        text,
    )
    connection.finish()


_REFERENCES = _count_references()
