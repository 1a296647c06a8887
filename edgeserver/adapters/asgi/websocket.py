"""The `websocket` connection scope: a handshake, then messages both ways.

Decides what the application may say when, and what its end means for the WebSocket. It must not
know frames: `edgeserver/websocket/` has them, from the moment on that the handshake is accepted.

The states:

- ASKED: the request is there; the application is asked by `websocket.connect`.
- OPEN: it has accepted, the connection is a WebSocket.
- DENIED: it has begun an HTTP answer instead (`websocket.http.response`), or has closed: 403.
- CLOSED: it has closed the WebSocket, or ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from websockets.datastructures import Headers
from websockets.exceptions import ProtocolError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from edgeserver.adapters.asgi.application import Application
from edgeserver.adapters.asgi.calls import run_call, send
from edgeserver.adapters.asgi.handshake import VERSION, find_flaw
from edgeserver.adapters.asgi.http import HTTPCycle
from edgeserver.adapters.asgi.messages import (
    DENIAL,
    Message,
    MessageError,
    payload_of,
    shown,
    to_http,
    to_pairs,
    type_of,
    unexpected,
    wrong_fields,
)
from edgeserver.adapters.asgi.response import DONE
from edgeserver.adapters.asgi.scope import WEBSOCKET_ASGI, Scope, ScopeBasis, name_client
from edgeserver.adapters.error_response import answer_failure
from edgeserver.adapters.leaving import comes_of_leaving, describe
from edgeserver.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    ResponseStartLine,
    responses,
)
from edgeserver.iostream import closed_error
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import notify_all, start_task
from edgeserver.websocket.connection import ABNORMAL, INTERNAL_ERROR, WebSocketConnection

__all__ = ["WebSocketCycle"]

ASKED: Final = 0
OPEN: Final = 1
DENIED: Final = 2
CLOSED: Final = 3

NORMAL: Final = 1000
SERVICE_RESTART: Final = 1012

# The handshake's own; the application names none of them.
_HANDSHAKE: Final = frozenset(
    (
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"upgrade",
    )
)


class WebSocketCycle(HTTPMessageDelegate):
    """The life of one WebSocket: its request, what the application does, and its end.

    Args:
        application: What is called.
        basis: What its scope has alike with others.
        connection: Where the request came from.

    Attributes:
        scope: What the application was called with; None before.
        task: Where it runs, unless it ended in its first step.
    """

    __slots__ = (
        "_accepted",
        "_application",
        "_basis",
        "_connection",
        "_denial",
        "_gone",
        "_protocol",
        "_state",
        "_stopping",
        "_told",
        "_told_end",
        "_waiters",
        "_websocket",
        "scope",
        "task",
    )

    _accepted: Response
    _protocol: ServerProtocol
    _websocket: WebSocketConnection

    def __init__(
        self, application: Application, basis: ScopeBasis, connection: HTTPConnection
    ) -> None:
        self._application = application
        self._basis = basis
        self._connection = connection
        self._state = ASKED
        # Whether websocket.connect was received, and whether websocket.disconnect was.
        self._told = False
        self._told_end = False
        # Whether it is the server that has closed the WebSocket.
        self._stopping = False
        # Whether the client has left before the handshake was answered.
        self._gone = False
        # The HTTP answer of an application that does not want the WebSocket.
        self._denial: HTTPCycle | None = None
        # Who waits in receive() for the handshake to be answered.
        self._waiters: list[asyncio.Future[None]] = []
        self.task: asyncio.Task[None] | None = None
        self.scope: Scope | None = None

    def __str__(self) -> str:
        asked = self._connection
        return f"WebSocket {asked.target} from {name_client(self.scope, asked)}"

    # What the server tells.

    def finish(self) -> None:
        """Called when the request is complete: the application, if its handshake is right."""
        flaw = find_flaw(self._connection)
        if flaw is not None:
            self._refuse(*flaw)
            return
        self._protocol = self._application.websockets.make_protocol()
        request = Request(
            self._connection.target,
            # Only what the handshake is made of: the rest of the head is HTTP's to judge.
            Headers(
                [
                    (name.decode("ascii"), value.decode("latin-1"))
                    for name, value in self._connection.raw
                    if name in _HANDSHAKE or name.startswith((b"sec-websocket-", b"origin"))
                ]
            ),
        )
        self._accepted = self._protocol.accept(request)
        if self._accepted.status_code != 101:
            self._refuse(self._accepted.status_code, str(self._protocol.handshake_exc))
            return
        task = start_task(run_call(self), self._basis.loop)
        if not task.done():
            self.task = task
            self._application.calls.add(self)
            if self._state == ASKED:
                self._connection.set_close_callback(self._leave)

    def on_connection_close(self) -> None:
        """Called when the request was cut; the application was not called yet."""

    def go_away(self) -> None:
        """Called when the server stops: the WebSocket is closed."""
        if self._state == OPEN:
            self._stopping = True
            self._websocket.close(SERVICE_RESTART)

    def serves(self, connection: object) -> bool:
        """Return whether it is the call for a request."""
        return self._connection is connection

    def _leave(self) -> None:
        """Called when the client has left before the application had answered."""
        self._gone = True
        if self._denial is not None:
            self._denial.gone = True
        notify_all(self._waiters)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer a handshake that is wrong, and say which version there is.

        Source: RFC 6455 section 4.4; RFC 9110 section 15.5.22 asks for `Upgrade` with a 426.
        """
        text = f"{reason}\n".encode("ascii", "backslashreplace")
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(text)),
                "Sec-WebSocket-Version": VERSION.decode(),
                "Connection": "close",
            }
        )
        if status == 426:
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "Upgrade, close"  # a 426 has the option of its Upgrade
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", status, responses[status]), headers, text
        )
        self._connection.finish()

    # What the application calls.

    async def receive(self) -> Message:
        """Return `websocket.connect`, then what comes, and in the end `websocket.disconnect`."""
        if not self._told:
            self._told = True
            return {"type": "websocket.connect"}
        while self._state == ASKED and not self._gone:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._state in (OPEN, CLOSED):
            message = await self._websocket.receive()
            if type(message) is str:
                return {"type": "websocket.receive", "text": message}
            if message is not None:
                return {"type": "websocket.receive", "bytes": message}
            self._told_end = True
            return {
                "type": "websocket.disconnect",
                "code": self._websocket.close_code,
                "reason": self._websocket.close_reason,
            }
        self._told_end = True
        return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}

    async def send(self, message: Message) -> None:
        """Take a message of the application; done when it may send more.

        Raises:
            MessageError: It is not allowed, or not allowed now; the message says why.
            StreamClosedError: The WebSocket is closed, or the client has left.
        """
        kind = type_of(message)
        state = self._state
        if state == OPEN:
            if kind == "websocket.send":
                await self._websocket.send(payload_of(message))
            elif kind == "websocket.close":
                self._close(message)
            else:
                raise unexpected(
                    kind, "after 'websocket.accept'", "'websocket.send' or 'websocket.close'"
                )
        elif state == CLOSED:
            if kind != "websocket.close":
                raise closed_error()  # as one that the client has closed
        elif self._denial is not None:
            await send(self._denial, to_http(kind, message))
        elif state == DENIED:
            raise unexpected(kind, "after 'websocket.close'", "nothing")
        elif self._gone:
            raise closed_error()
        else:
            await self._answer(kind, message)

    async def _answer(self, kind: str, message: Message) -> None:
        """Take what decides over the handshake."""
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._state = DENIED
            self._connection.write_headers(
                ResponseStartLine("HTTP/1.1", 403, "Forbidden"), HTTPHeaders(), b"", whole=True
            )
            self._connection.finish()
            notify_all(self._waiters)
        elif kind == f"{DENIAL}.start":
            denial = HTTPCycle(self._application, self._basis, self._connection)
            await send(denial, to_http(kind, message))
            self._denial = denial
            self._state = DENIED
            notify_all(self._waiters)
        else:
            raise unexpected(
                kind,
                "as answer to 'websocket.connect'",
                f"'websocket.accept', 'websocket.close' or '{DENIAL}.start'",
            )

    def _accept(self, message: Message) -> None:
        """Complete the handshake, and take the connection over."""
        kind = "websocket.accept"
        fields = [
            (name.encode("ascii"), value.encode("latin-1"))
            for name, value in self._accepted.headers.raw_items()
            if name.lower() != "date"
        ]
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            if not isinstance(subprotocol, str):
                raise MessageError(f"{kind!r}: 'subprotocol' is {shown(subprotocol)}: give a str")
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("utf-8")))
        for name, value in to_pairs(kind, message):
            if name.lower() in _HANDSHAKE:
                raise wrong_fields(kind, f"{shown(name)} is the handshake's own")
            fields.append((name, value))
        try:
            self._connection.write_headers(("HTTP/1.1", 101, "Switching Protocols"), [*fields])
        except (ValueError, TypeError, AttributeError) as error:
            raise wrong_fields(kind, error) from error
        websocket = WebSocketConnection(
            self._protocol,
            self._application.websockets,
            held=self._connection.budget or self._application.held,
            log=self._application.closed_log,
            name=name_client(self.scope, self._connection),
        )
        self._connection.detach_to(websocket)
        self._websocket = websocket
        self._state = OPEN
        notify_all(self._waiters)

    def _close(self, message: Message) -> None:
        kind = "websocket.close"
        code = message.get("code", NORMAL)
        reason = message.get("reason") or ""
        if not isinstance(code, int) or not isinstance(reason, str):
            raise MessageError(
                f"{kind!r}: 'code' is {shown(code)} and 'reason' {shown(reason)}: give int and str"
            )
        try:
            self._websocket.close(code, reason)
        except ProtocolError as error:
            raise MessageError(f"{kind!r}: {error}") from error
        self._state = CLOSED

    # The call; see `calls.Running`.

    def enter(self) -> Awaitable[None]:
        """Call the application."""
        self.scope = scope = self._make_scope()
        return self._application.app(scope, self.receive, self.send)

    def _make_scope(self) -> Scope:
        application = self._application
        scope = self._basis.make_scope(self._connection, application.state, application.root_path)
        del scope["method"]
        scope["type"] = "websocket"
        scope["asgi"] = WEBSOCKET_ASGI
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        offered = b",".join(
            [value for name, value in self._connection.raw if name == b"sec-websocket-protocol"]
        )
        names = [name.strip(b" \t").decode("latin-1") for name in offered.split(b",")]
        scope["subprotocols"] = [name for name in names if name]
        extensions = scope["extensions"]
        del extensions["http.response.early_hint"], extensions["http.response.trailers"]
        extensions[DENIAL] = {}
        return scope

    def fail(self, error: BaseException) -> None:
        """Act on an exception of the application."""
        why = self._why_closed()
        if why and comes_of_leaving(error, told=self._told_end):
            app_log.info("The %s has ended, since %s: %s", self, why, describe(error))
            app_log.debug("What the application raised", exc_info=error)
        else:
            app_log.error("Uncaught exception in %s", self, exc_info=error)
        self._end(INTERNAL_ERROR)

    def _why_closed(self) -> str:
        """Return why the application can say nothing more; empty where it is its own doing."""
        if self._stopping:
            return "the server stops"
        if self._gone:
            return "the connection was closed"
        was_open = self._state == OPEN or (self._state == CLOSED and self._told_end)
        if was_open and self._websocket.close_code is not None:
            return f"it was closed with {self._websocket.close_code}"
        return ""

    def returned(self) -> None:
        """Act on an application that returned."""
        unanswered = self._state == ASKED and not self._gone
        if unanswered or (self._denial is not None and self._denial.stage != DONE):
            app_log.error("The application returned without answering the handshake: %s", self)
        self._end(NORMAL)

    def cut(self) -> None:
        """Close a WebSocket whose call is cancelled."""
        self._end(INTERNAL_ERROR)

    def ended(self) -> None:
        """Forget the call, and what has come for it."""
        if self._state in (OPEN, CLOSED):
            self._websocket.let_go()
        if self.task is not None:
            self._application.calls.discard(self)

    def _end(self, code: int) -> None:
        """End what the application has left open."""
        if self._state == OPEN:
            self._websocket.close(code)
            self._state = CLOSED
        elif self._state == ASKED or (self._denial is not None and self._denial.stage != DONE):
            self._state = DENIED
            answer_failure(self._connection)
