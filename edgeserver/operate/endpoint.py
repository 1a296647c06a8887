"""The endpoint of operators: an HTTP/1 responder for a process that has no event loop.

Decides who may ask what, and bounds how many ask, how much they send and how long they take. What
is answered is others' to say. It is driven by the owner of a selector, never waits, and whatever
comes over the wire raises nothing.

Each connection brings one request, which is answered and closed: a scrape is one a quarter of a
minute. Nobody from a web page gets an answer: a name that was made to point here (DNS rebinding) is
not a `Host` that is taken, no answer allows another origin, and what changes something is done for
the Unix socket alone, which a browser cannot reach and whose rights let in only our own user.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import ipaddress
import json
import selectors
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.head import parse_head
from edgeserver.support.escape import escape

__all__ = [
    "AdminRequest",
    "Answer",
    "Endpoint",
    "check_access",
    "parse_admin_request",
    "render_answer",
]

MOST_CONNECTIONS: Final = 32
"""How many are open at once; when one more comes, the one goes that was there longest."""

MOST_HEAD_BYTES: Final = 8 * 1024
MOST_FIELDS: Final = 64

PATIENCE_S: Final = 5.0
"""How long a request may take to come, and again its answer to be taken."""

LINGER_S: Final = 1.0
"""How long the client has to close after it: what it still sends would else destroy the answer."""

MOST_LINGER_BYTES: Final = 64 * 1024

ACCEPTED_AT_ONCE: Final = 8

PAUSE_S: Final = 1.0
"""How long nothing is accepted where the process has no descriptor left."""

OPEN_TO_PROBES: Final = ("/live", "/ready")
"""What is answered without the token, by its status alone: probes cannot keep a secret."""

_FIELDS: Final = (
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
    "Connection: close\r\n"
)


@dataclass(frozen=True, kw_only=True)
class AdminRequest:
    """What was asked.

    Args:
        method: The method.
        path: The target up to its query.
        accept: The value of `Accept`, or nothing.
        version: `"HTTP/1.0"` or `"HTTP/1.1"`.
        host: The value of `Host`; None where there was none.
        authorization: The value of `Authorization`, or nothing.
        is_local: Whether it came over the Unix socket.
        is_known: Whether whoever asks may be told everything; see `check_access`.
    """

    method: str
    path: str
    accept: str = ""
    version: str = "HTTP/1.1"
    host: str | None = None
    authorization: str = ""
    is_local: bool = False
    is_known: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered.

    Args:
        body: The content; a value is written as JSON.
        status: The status code.
        content_type: The type of a content that is bytes.
        fields: Header fields, each a whole line without its end.
    """

    body: Any
    status: int = 200
    content_type: str = "application/json"
    fields: tuple[str, ...] = ()


class AdminRefusal(Exception):
    """A request is not answered as it wants.

    Args:
        status: The status code.
        reason: Why, and what to do about it.
        fields: Header fields of the answer.
    """

    def __init__(self, status: int, reason: str, *fields: str) -> None:
        super().__init__(reason)
        self.answer = Answer(status=status, body={"error": reason}, fields=fields)


def parse_admin_request(data: bytes, *, is_local: bool = False) -> AdminRequest | None:
    """Parse what has come; None while the head is not whole.

    Raises:
        Refusal: It is not a request, has a body, or is too long.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) >= MOST_HEAD_BYTES:
            raise AdminRefusal(431, f"a head has {MOST_HEAD_BYTES} bytes at most here")
        return None
    try:
        method, target, version, _, fields = parse_head(data[:end], MOST_FIELDS)
    except HTTPInputError as error:
        raise AdminRefusal(error.status, str(error)) from error
    # Several lines that agree are refused as well: nobody who asks here sends them.
    if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
        raise AdminRefusal(413, "requests have no body here")

    def field(name: bytes) -> str:
        return fields.get(name, b"").decode("latin-1")

    return AdminRequest(
        method=method,
        path=target.partition("?")[0],
        accept=field(b"accept"),
        version=version,
        host=field(b"host") if b"host" in fields else None,
        authorization=field(b"authorization"),
        is_local=is_local,
    )


def check_access(request: AdminRequest, *, token: bytes | None, names: Iterable[str] = ()) -> bool:
    """Decide whether whoever asks may be told everything; without it, only probes are answered.

    Args:
        request: What is asked.
        token: What has to be shown on other sockets than the Unix one, or None.
        names: Names that the endpoint is configured by.

    Raises:
        Refusal: It is not answered at all.
    """
    if request.is_local:
        return True  # the rights of the socket's file have decided
    shown = _shown_token(request.authorization)
    if shown is not None:
        if token is None or not hmac.compare_digest(shown, token):
            raise _unauthorized("this is not the token")
        return True  # which no page knows, whatever name it was loaded by
    if not _is_own_host(request.host, names):
        raise AdminRefusal(
            421,
            f"'{escape(request.host or '', 100)}' is not a name of this endpoint: ask for it by"
            " its address or as localhost, or show the token (--admin-token-file)",
        )
    if token is None:
        return True
    if request.path not in OPEN_TO_PROBES:
        raise _unauthorized("the token of --admin-token-file is needed: Authorization: Bearer ...")
    return False


def _unauthorized(reason: str) -> AdminRefusal:
    return AdminRefusal(
        401,
        reason,
        'WWW-Authenticate: Bearer realm="edgeserver"',
        'WWW-Authenticate: Basic realm="edgeserver", charset="UTF-8"',
    )


def _shown_token(value: str) -> bytes | None:
    """Return the token in `Authorization`: a bearer's, or the password of a browser's user."""
    if not value:
        return None
    scheme, _, rest = value.partition(" ")
    shown = rest.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(shown, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return shown if scheme.lower() == "bearer" else b""


def _is_own_host(host: str | None, names: Iterable[str]) -> bool:
    """Tell whether no other site can have brought a browser here by this `Host`."""
    if host is None:
        return True  # HTTP/1.0, which no browser speaks
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.lower()
    if name == "localhost" or name in {each.lower() for each in names}:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def render_answer(answer: Answer, *, head_only: bool = False) -> bytes:
    """Return an answer as bytes on the wire."""
    body = answer.body
    if not isinstance(body, bytes):
        body = json.dumps(body, indent=1).encode("ascii") + b"\n"
    lines = "".join(f"{line}\r\n" for line in answer.fields)
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(body)}\r\n{_FIELDS}{lines}"
        "\r\n"
    ).encode("latin-1")
    return head if head_only else head + body


class _Connection:
    """One that asks: it reads, is answered once, and is closed."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self.sock = sock
        self.is_local = sock.family == socket.AF_UNIX
        self.received = bytearray()
        self.output = memoryview(b"")
        self.deadline_s = deadline_s
        self.is_answered = False
        self.drained = 0  # bytes that came after the request


class Endpoint:
    """The endpoint, on sockets that listen already.

    Args:
        sockets: Where it listens.
        selector: Whose owner calls what is registered there as `data` when it is ready.
        respond: Answers a request.
        clock: Seconds that only grow.
        token: What has to be shown where the socket is not a Unix one, or None.
        names: Names that it is configured by.
        close: Closes listening sockets.
        on_fork: Called in each forked process.
        on_error: Called with what `respond` has raised.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        selector: selectors.BaseSelector,
        respond: Callable[[AdminRequest], Answer],
        *,
        clock: Callable[[], float],
        token: bytes | None = None,
        names: Iterable[str] = (),
        close: Callable[[list[socket.socket]], None],
        on_fork: Callable[[], None] = lambda: None,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._sockets = list(sockets)
        self._selector = selector
        self._respond = respond
        self._clock = clock
        self._token = token
        self._names = frozenset(names)
        self._close_sockets = close
        self._on_fork = on_fork
        self._on_error = on_error
        self._connections: dict[_Connection, None] = {}  # in the order in which they came
        self._paused_until_s: float | None = None  # no descriptor is left until about then
        for each in self._sockets:
            each.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        for each in self._sockets:
            accept = functools.partial(self._accept, each)
            self._selector.register(each, selectors.EVENT_READ, accept)

    def __len__(self) -> int:
        return len(self._connections)

    def due_s(self) -> float | None:
        """Return when `tick` has something to do; None while nobody is connected."""
        times = [each.deadline_s for each in self._connections]
        if self._paused_until_s is not None:
            times.append(self._paused_until_s)
        return min(times, default=None)

    def tick(self) -> None:
        """Close connections that have taken too long; to be called about once a second."""
        now_s = self._clock()
        for each in [each for each in self._connections if each.deadline_s <= now_s]:
            self._close(each)
        if self._paused_until_s is not None and self._paused_until_s <= now_s:
            self._paused_until_s = None
            self._listen()

    def close(self) -> None:
        """Close all; what is registered at the selector no more is closed as well."""
        for each in list(self._connections):
            self._close(each)
        for sock in self._sockets:
            self._forget(sock)
        self._close_sockets(self._sockets)

    def close_in_child(self) -> None:
        """Close what a forked process has got of it, whose selector is closed."""
        for sock in (*self._sockets, *(each.sock for each in self._connections)):
            sock.close()
        self._on_fork()

    # Connections.

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                return
            except OSError:  # no descriptor: it would be told to us again and again
                self._paused_until_s = self._clock() + PAUSE_S
                for each in self._sockets:
                    self._forget(each)
                return
            sock.setblocking(False)
            connection = _Connection(sock, self._clock() + PATIENCE_S)
            if len(self._connections) >= MOST_CONNECTIONS:
                self._close(next(iter(self._connections)))
            self._connections[connection] = None
            self._watch(connection, selectors.EVENT_READ)

    def _watch(self, connection: _Connection, events: int) -> None:
        ready = functools.partial(self._on_ready, connection)
        try:
            self._selector.modify(connection.sock, events, ready)
        except KeyError:
            self._selector.register(connection.sock, events, ready)

    def _forget(self, sock: socket.socket) -> None:
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass

    def _close(self, connection: _Connection) -> None:
        if connection in self._connections:
            del self._connections[connection]
            self._forget(connection.sock)
            connection.sock.close()

    def _on_ready(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return  # it was closed while others were served
        try:
            if connection.is_answered:
                self._go_on(connection)
            else:
                self._read(connection)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(MOST_HEAD_BYTES)
        if not data:
            self._close(connection)
            return
        connection.received += data
        head_only = False
        try:
            request = parse_admin_request(bytes(connection.received), is_local=connection.is_local)
            if request is None:
                return
            head_only = request.method == "HEAD"
            answer = self._answer(request)
        except AdminRefusal as refusal:
            answer = refusal.answer
        connection.is_answered = True
        connection.received.clear()
        connection.output = memoryview(render_answer(answer, head_only=head_only))
        connection.deadline_s = self._clock() + PATIENCE_S
        self._go_on(connection)

    def _answer(self, request: AdminRequest) -> Answer:
        """Return the answer to a request that is whole.

        Raises:
            Refusal: It is not for whoever asks.
        """
        is_known = check_access(request, token=self._token, names=self._names)
        try:
            return self._respond(replace(request, is_known=is_known))
        except AdminRefusal:
            raise
        except Exception as error:  # the watch over the workers must go on
            self._on_error(error)
            raise AdminRefusal(
                500, "this could not be found out; the server's log says more"
            ) from error

    def _go_on(self, connection: _Connection) -> None:
        """Send what is left, or wait for the client to close."""
        sock = connection.sock
        while connection.output:
            try:
                sent = sock.send(connection.output)
            except (BlockingIOError, InterruptedError):
                self._watch(connection, selectors.EVENT_WRITE)
                return
            connection.output = connection.output[sent:]
            if not connection.output:
                sock.shutdown(socket.SHUT_WR)
                connection.deadline_s = self._clock() + LINGER_S
                self._watch(connection, selectors.EVENT_READ)
        data = sock.recv(MOST_LINGER_BYTES)
        connection.drained += len(data)
        if not data or connection.drained > MOST_LINGER_BYTES:
            self._close(connection)
