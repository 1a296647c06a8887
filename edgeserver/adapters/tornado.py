"""`TornadoAdapter`: delegates of Tornado's, its applications above all, behind our own interface.

Decides which of Tornado's classes must appear where for its applications to run unchanged: its
start line, and an error for closed connections that its `except` clauses catch; and what Tornado
is spared that it would not understand: absolute-form targets. It knows only the delegate interface,
and never imports Tornado: who has a Tornado application has imported it, so its classes stand in
`sys.modules`.

Source: Tornado 6.4 to 6.6; `tornado.routing` asserts the class of the start line, and
`tornado.web` and `tornado.websocket` catch `tornado.iostream.StreamClosedError`.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from edgeserver.adapters.tornado_leaving import quiet_leaving
from edgeserver.errors import ConfigurationError, StreamClosedError
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)
from edgeserver.httputil.hosts import split_absolute_target
from edgeserver.iostream import set_closed_error_factory
from edgeserver.support.tasks import where_task_waits

__all__ = ["TornadoAdapter", "share_closed_error"]


SERVICE_RESTART = 1012
"""Why a WebSocket is closed when its server stops. Source: RFC 6455 section 7.4.1's registry."""

MAX_ROUTERS = 16
"""Routers within routers that are looked through for the handler's delegate."""


def share_closed_error() -> None:
    """Have errors for closed connections caught by `except tornado.iostream.StreamClosedError`.

    From the moment on that Tornado is imported, whether that is before or after this call.
    """
    set_closed_error_factory(_closed_error)


class TornadoAdapter(HTTPServerConnectionDelegate):
    """Gives a delegate of Tornado's what it expects of Tornado's server.

    Args:
        delegate: What the server would call without this.

    Raises:
        ConfigurationError: Tornado has not been imported.
    """

    serves_websockets = True

    def __init__(self, delegate: Any) -> None:
        tornado_httputil = sys.modules.get("tornado.httputil")
        if tornado_httputil is None:
            raise ConfigurationError(
                f"{delegate!r} is not a Tornado application, since tornado.httputil was never"
                " imported; name the interface that it has"
            )
        self._make_start_line = tornado_httputil.RequestStartLine
        self._start_request = delegate.start_request
        self._on_close = getattr(delegate, "on_close", None)
        self._websockets: weakref.WeakSet[Any] = weakref.WeakSet()  # their handlers
        share_closed_error()
        quiet_leaving()

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request."""
        return _TornadoMessage(
            self._start_request(server_conn, request_conn),
            self._make_start_line,
            request_conn,
            self._websockets,
        )

    def on_close(self, server_conn: object) -> None:
        """Pass the end of a connection on."""
        if self._on_close is not None:
            self._on_close(server_conn)

    def go_away(self, within_s: float) -> None:
        """Close all WebSockets, since the server stops, spread over `within_s` seconds."""
        loop = asyncio.get_running_loop()
        handlers = list(self._websockets)
        for number, handler in enumerate(handlers):
            loop.call_later(within_s * number / len(handlers), _close_websocket, handler)

    def where_is(self, request_conn: HTTPConnection) -> str:
        """Return where a handler is with a request, in words; empty if it is not known."""
        for task in asyncio.all_tasks():
            frame = getattr(task.get_coro(), "cr_frame", None)
            if frame is None or frame.f_code.co_name != "_execute":
                continue
            request = getattr(frame.f_locals.get("self"), "request", None)
            if getattr(request, "connection", None) is request_conn:
                return f"the handler, at {where_task_waits(task)}"
        return ""


def _close_websocket(handler: Any) -> None:
    """Close the WebSocket of a handler of Tornado's, unless that has ended or was never one."""
    if handler.ws_connection is not None:
        handler.close(SERVICE_RESTART)


class _TornadoMessage(HTTPMessageDelegate):
    """One request, given to a delegate of Tornado's with a start line of Tornado's class."""

    __slots__ = ("_collects", "_connection", "_delegate", "_make_start_line", "_websockets")

    def __init__(
        self,
        delegate: Any,
        make_start_line: Callable[..., Any],
        connection: HTTPConnection,
        websockets: weakref.WeakSet[Any],
    ) -> None:
        self._delegate = delegate
        self._make_start_line = make_start_line
        self._connection = connection
        self._websockets = websockets
        # Whether the delegate keeps the body until all is there; None until that is known.
        self._collects: bool | None = None

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Pass the head on."""
        method, target, version = start_line
        if target[0] != "/" and method != "CONNECT":
            target = _in_origin_form(target)
        start = self._make_start_line(method, target, version)
        return self._delegate.headers_received(start, headers)  # type: ignore[no-any-return]  # Tornado's types are not known here

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a piece of the body on; count it where Tornado keeps it until all is there."""
        waiting: Awaitable[None] | None = self._delegate.data_received(chunk)
        collects = self._collects
        if collects is None:  # known once the handler has been found, and the same from then on
            collects = self._collects = _collects_body(self._delegate)
        if not collects:
            return waiting
        self._connection.hold(len(chunk))
        return self._connection.room_to_hold() if waiting is None else waiting

    def finish(self) -> None:
        """Pass the end of the request on; know of the handler of a WebSocket."""
        self._delegate.finish()
        if self._connection.upgrades:
            handler = getattr(_innermost(self._delegate), "handler", None)
            if hasattr(handler, "ws_connection"):
                self._websockets.add(handler)

    def on_connection_close(self) -> None:
        """Pass the loss of the connection on."""
        self._delegate.on_connection_close()


def _collects_body(delegate: Any) -> bool:
    """Tell whether a delegate of Tornado's keeps the whole body before it calls anybody.

    As that of a `RequestHandler` does that is not decorated with `stream_request_body`, and that of
    a plain function behind a `tornado.routing.Rule`. What another class does is not known.
    """
    delegate = _innermost(delegate)
    if getattr(delegate, "stream_request_body", None) is False:
        return True
    return type(delegate).__name__ == "_CallableAdapter"


def _innermost(delegate: Any) -> Any:
    """Return the delegate that routers have found."""
    for _ in range(MAX_ROUTERS):
        inner = getattr(delegate, "delegate", None)
        if inner is None:
            break
        delegate = inner
    return delegate


def _in_origin_form(target: str) -> str:
    """Return a target that Tornado's routing understands; its host is in `Host` already."""
    absolute = split_absolute_target(target)
    if absolute is None:
        return target
    _, path, query = absolute
    return f"{path}?{query}" if query else path


def _closed_error(real_error: BaseException | None) -> StreamClosedError:
    tornado_iostream = sys.modules.get("tornado.iostream")
    if tornado_iostream is None:
        return StreamClosedError(real_error)
    error: StreamClosedError = _joined(tornado_iostream.StreamClosedError)(real_error)
    return error


@functools.cache
def _joined(tornados: type[Exception]) -> type[Any]:
    """Return a class that is both our `StreamClosedError` and Tornado's."""
    return type("StreamClosedError", (StreamClosedError, tornados), {"__module__": __name__})
