"""The front of a server's delegate: what is done with each request before the application has it.

Decides the order: the request's id, then whether it is shed. It stands there only where a server
has one of these; else requests go to the delegate itself, and pay nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from edgeserver.http.protocols import ClientGate
from edgeserver.http.request_ids import RequestIds
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
)
from edgeserver.server.shedding import CLIENT_CONNECTIONS, IN_FLIGHT, Shed, Shedding
from edgeserver.support.addresses import client_name
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import LimitedLog, RateLimit
from edgeserver.support.spelling import spelled

__all__ = ["Front", "SheddingGate"]

_WORDS: Final = {
    IN_FLIGHT: (503, "Service Unavailable", "the server is busy"),
    CLIENT_CONNECTIONS: (429, "Too Many Requests", "too many connections"),
}
_TOO_FAST: Final = (429, "Too Many Requests", "too many requests")


class Front:
    """A delegate before the server's own.

    Args:
        delegate: The server's own, a `ServerDelegate`, perhaps one that `TakesRequests`.
        request_ids: What gives each request an id, or None.
        shedding: What is bounded, or None.
        access_log: Called with each exchange that has ended, or None.

    Attributes:
        keeps_limits: The delegate's.
        serves_websockets: The delegate's.
        take_request: The delegate's, with what stands before it; None where it has none.
        count_shed: Called with the setting by which a request was refused; None where nobody asks.
    """

    def __init__(
        self,
        delegate: Any,
        *,
        request_ids: RequestIds | None,
        shedding: Shedding | None,
        access_log: Callable[[Any], None] | None,
    ) -> None:
        self.keeps_limits = bool(getattr(delegate, "keeps_limits", False))
        self.serves_websockets = bool(getattr(delegate, "serves_websockets", False))
        self.on_close = delegate.on_close
        self.take_request: Callable[[object, Any], None] | None = None
        self._start = delegate.start_request
        self._take: Any = getattr(delegate, "take_request", None)
        if self._take is not None:
            self.take_request = self._take_request
        self.count_shed: Callable[[str], object] | None = None
        self._request_ids = request_ids
        self._shedding = shedding
        self._access_log = access_log
        self._busy_log = LimitedLog(
            gen_log, logging.WARNING, "Requests told 503", limit=RateLimit(in_all=1)
        )
        self._client_log = LimitedLog(gen_log, logging.WARNING, "Requests told 429")

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request, or one that refuses it."""
        refusal = self._meet(server_conn, request_conn)
        if refusal is not None:
            return _Refused(self, request_conn, refusal)
        delegate: HTTPMessageDelegate = self._start(server_conn, request_conn)
        return delegate

    def _take_request(self, server_conn: object, request_conn: Any) -> None:
        """Pass a request without a body on, or refuse it."""
        refusal = self._meet(server_conn, request_conn)
        if refusal is None:
            self._take(server_conn, request_conn)
        else:
            self.refuse(request_conn, refusal)

    def _meet(self, server_conn: object, exchange: Any) -> Shed | None:
        """Do with a request what is done before the application has it."""
        # The audit log may have needed its id before.
        if self._request_ids is not None and exchange.request_id is None:
            self._request_ids.give(exchange)
        return None if self._shedding is None else self._shedding.enter(server_conn, exchange)

    def refuse(self, connection: HTTPConnection, refusal: Shed) -> None:
        """Tell a client to come back later."""
        status, reason, words = _WORDS.get(refusal.reason, _TOO_FAST)
        text = f"{words}: try again in {refusal.retry_after_s} s\n".encode("ascii")
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"retry-after", str(refusal.retry_after_s).encode("ascii")),
        ]
        if refusal.reason == CLIENT_CONNECTIONS:
            fields.append((b"connection", b"close"))
        connection.write_headers(("HTTP/1.1", status, reason), fields, text, whole=True)
        connection.finish()
        if self.count_shed is not None:
            self.count_shed(refusal.reason)
        client = client_name(connection.remote_ip)
        setting = spelled(_SETTINGS.get(refusal.reason, "client_rate"))
        if status == 503:
            self._busy_log.write("", "requests are told 503: so many are in flight (%s)", setting)
        else:
            self._client_log.write(client, "%s is told 429: %s (%s)", client, words, setting)

    def ended(self, exchange: Any) -> None:
        """Called with each exchange that has ended: a service takes it for its access log."""
        if self._shedding is not None:
            self._shedding.leave(exchange)
        if self._access_log is not None:
            self._access_log(exchange)


_SETTINGS: Final = {IN_FLIGHT: "max_in_flight", CLIENT_CONNECTIONS: "client_connections"}


class _Refused(HTTPMessageDelegate):
    """A request that is refused once its head is there; its body is not read."""

    __slots__ = ("_connection", "_front", "_refusal")

    def __init__(self, front: Front, connection: HTTPConnection, refusal: Shed) -> None:
        self._front = front
        self._connection = connection
        self._refusal = refusal

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Refuse."""
        self._front.refuse(self._connection, self._refusal)
        return None


class SheddingGate:
    """Tells shedding where connections end; see `http.protocols.ClientGate`.

    Args:
        shedding: What is bounded; connections too.
        gate: Who else is to be told, or None.
    """

    __slots__ = ("_connections", "_gate")

    def __init__(self, shedding: Shedding, gate: ClientGate | None) -> None:
        assert shedding.connections is not None, "else nobody needs to know"
        self._connections = shedding.connections
        self._gate = gate

    def enter(self, connection: object, transport: asyncio.BaseTransport, prelude: Any) -> bool:
        """Count nothing yet: whose connection it is its first request says."""
        return self._gate is None or self._gate.enter(connection, transport, prelude)

    def leave(self, connection: object) -> None:
        """Forget a connection."""
        self._connections.closed(connection)
        if self._gate is not None:
            self._gate.leave(connection)

    def detached(self, connection: object, stream: Any) -> None:
        """Have `stream` count from now on, which takes over from `connection`."""
        self._connections.detached(connection, stream)
        if self._gate is not None:
            self._gate.detached(connection, stream)
