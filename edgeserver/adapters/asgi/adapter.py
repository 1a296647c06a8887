"""`ASGIAdapter`: the delegate that a server is given for an ASGI application.

Decides which connection scope a request opens, and what starts and ends with the server. It knows
only the delegate interface.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from edgeserver.adapters.asgi.application import Application, ASGICallable, Call
from edgeserver.adapters.asgi.handshake import is_handshake, may_be_handshake, what_is_lacking
from edgeserver.adapters.asgi.http import HTTPCycle
from edgeserver.adapters.asgi.lifespan import MODES, Lifespan
from edgeserver.adapters.asgi.scope import ScopeBasis, server_of
from edgeserver.adapters.asgi.websocket import WebSocketCycle
from edgeserver.errors import ConfigurationError
from edgeserver.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
)
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log
from edgeserver.support.spelling import spelled
from edgeserver.support.tasks import where_task_waits
from edgeserver.support.validate import require_seconds
from edgeserver.websocket.settings import WebSocketSettings

__all__ = ["ASGIAdapter"]

MOST_ADDRESSES: Final = 64
"""How many addresses of this end are remembered; a server that listens on all may have many."""


class ASGIAdapter(HTTPServerConnectionDelegate):
    """Calls an ASGI 3 application for each request and each WebSocket.

    Give it to `HTTPServer`, and await `startup()` before it listens and `shutdown()` after it has
    drained; `edgeserver serve` does both.

    Args:
        app: The application, `async def app(scope, receive, send)`.
        root_path: The path that the application is mounted at and that the proxy in front strips;
            it is put before every path, as uvicorn does.
        lifespan: `"auto"` goes on without lifespan events where the application does not take
            them, `"on"` takes that for a failed start, `"off"` sends none.
        shutdown_timeout: Seconds that WebSockets and tasks have to end, and again that the
            application's own shutdown has.
        ws_max_size: Most bytes of a WebSocket message, decompressed; 1 MiB.
        ws_ping_interval: Seconds between keepalive pings; None for none.
        ws_ping_timeout: Seconds in which something must come after a ping; None to wait for good.
        ws_per_message_deflate: Whether compression is accepted where a client offers it.

    Attributes:
        application: The application, with what its calls need.

    Raises:
        ConfigurationError: An option cannot work.
    """

    keeps_limits = True
    serves_websockets = True

    def __init__(
        self,
        app: ASGICallable,
        *,
        root_path: str = "",
        lifespan: str = "auto",
        shutdown_timeout: float = 10.0,
        ws_max_size: int = 1024 * 1024,
        ws_ping_interval: float | None = 20.0,
        ws_ping_timeout: float | None = 20.0,
        ws_per_message_deflate: bool = False,
    ) -> None:
        if lifespan not in MODES:
            raise ConfigurationError(
                f"lifespan={lifespan!r} is unknown: give {', '.join(map(repr, MODES))}"
            )
        require_seconds("shutdown_timeout", shutdown_timeout, zero=True)
        self.application = Application(
            app,
            root_path=_checked_root_path(root_path),
            websockets=WebSocketSettings(
                max_size=ws_max_size,
                ping_interval=ws_ping_interval,
                ping_timeout=ws_ping_timeout,
                per_message_deflate=ws_per_message_deflate,
            ),
        )
        self._shutdown_timeout = shutdown_timeout
        # For first requests, by the address that their connections came in on.
        self._first: dict[Any, ScopeBasis] = {}
        # None where no lifespan events are sent.
        self._lifespan = None if lifespan == "off" else Lifespan(self.application, mode=lifespan)

    @property
    def state(self) -> dict[str, Any]:
        """What the lifespan scope's `state` holds; every scope gets a shallow copy."""
        return self.application.state

    @property
    def calls(self) -> set[Call]:
        """The calls of the application that go on."""
        return self.application.calls

    # A request.

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request."""
        basis = request_conn.info.shown
        if basis is None or basis.owner is not self:
            basis = self._meet(request_conn)
        if may_be_handshake(request_conn.fields):
            return self._choose(basis, request_conn)
        return _as_delegate(HTTPCycle(self.application, basis, request_conn))

    def take_request(self, server_conn: object, request_conn: HTTPConnection) -> None:
        """Call the application with a request that has no body."""
        basis = request_conn.info.shown
        if basis is None or basis.owner is not self:
            basis = self._meet(request_conn)
        fields = request_conn.fields
        # The same as `may_be_handshake`, written twice: every request comes this way.
        if b"upgrade" in fields or b"sec-websocket-key" in fields:
            self._choose(basis, request_conn).finish()
        else:
            HTTPCycle(self.application, basis, request_conn).finish()

    def _meet(self, connection: HTTPConnection) -> ScopeBasis:
        """Return what is shown of a connection that has nothing of its own yet, or another's."""
        info = connection.info
        loop = asyncio.get_running_loop()
        address = connection.local_address
        basis = self._first.get(address)
        if basis is None or basis.loop is not loop:
            if len(self._first) >= MOST_ADDRESSES:
                self._first.clear()
            basis = self._first[address] = ScopeBasis(server_of(address), loop)
        if info.shown is not None or info.tls is not None:
            basis = ScopeBasis(basis.server, loop, self)
            basis.show(info)
        info.shown = basis
        basis.has_ids = connection.request_id is not None
        return basis

    def _choose(self, basis: ScopeBasis, connection: HTTPConnection) -> HTTPMessageDelegate:
        """Return what a request is that may ask for a WebSocket."""
        if is_handshake(connection):
            return WebSocketCycle(self.application, basis, connection)
        lacking = what_is_lacking(connection)
        if lacking:
            peer = connection.info.peer
            self.application.advice_log.write(
                peer,
                "A WebSocket handshake from %s is served as an ordinary request: %s",
                escape(peer),
                lacking,
            )
        return _as_delegate(HTTPCycle(self.application, basis, connection))

    def where_is(self, request_conn: HTTPConnection) -> str:
        """Return where the application is with a request, in words; empty if it is not known."""
        for call in self.application.calls:
            if call.serves(request_conn) and call.task is not None:
                return f"the application, at {where_task_waits(call.task)}"
        return ""

    # The life of the server.

    async def startup(self) -> None:
        """Let the application start; to be awaited before any connection is accepted.

        Raises:
            LifespanError: It could not; the message is its own.
        """
        if self._lifespan is not None:
            await self._lifespan.startup()

    async def shutdown(self) -> None:
        """Let what goes on end, then the application; to be awaited once requests have ended."""
        await self._end_calls()
        if self._lifespan is not None:
            await self._lifespan.shutdown(self._shutdown_timeout)

    def go_away(self, within_s: float) -> None:
        """Close all WebSockets, since the server stops, spread over `within_s` seconds.

        Clients that come back all at once would be the next server's first load.
        """
        loop = asyncio.get_running_loop()
        calls = [call for call in self.calls if isinstance(call, WebSocketCycle)]
        for number, call in enumerate(calls):
            loop.call_later(within_s * number / len(calls), call.go_away)

    async def _end_calls(self) -> None:
        calls = self.application.calls
        for call in list(calls):
            call.go_away()
        tasks = [call.task for call in calls if call.task is not None]
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=self._shutdown_timeout)
        if pending:
            app_log.warning(
                "%d calls of the application have not ended in %g s (%s): they are cancelled",
                len(pending),
                self._shutdown_timeout,
                spelled("shutdown_timeout"),
            )
            for task in pending:
                task.cancel()
            # A task may refuse to be cancelled; the end does not wait for it.
            await asyncio.wait(pending, timeout=1)


def _as_delegate(cycle: HTTPCycle) -> HTTPMessageDelegate:
    return cast(HTTPMessageDelegate, cycle)  # by what it has; see there


def _checked_root_path(root_path: object) -> str:
    if not isinstance(root_path, str) or (root_path and not root_path.startswith("/")):
        raise ConfigurationError(f"root_path={root_path!r} is not a path: start it with a slash")
    return root_path.removesuffix("/")
