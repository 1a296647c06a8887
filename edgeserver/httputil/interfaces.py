"""The waist: the three interfaces that an HTTP layer and an application meet at.

Decides only who calls what, and when. It must know neither a protocol version nor an application
framework, and nothing here inspects types: whatever has the same shape is accepted.

Source: `tornado.httputil`, whose delegate interfaces these are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from edgeserver.support.loggers import gen_log

if TYPE_CHECKING:
    from edgeserver.httputil.context import ConnectionContext, ConnectionInfo
    from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
    from edgeserver.httputil.peers import ClientDetails, ClientProof
    from edgeserver.httputil.startlines import RequestStartLine
    from edgeserver.support.held import HeldBudget

__all__ = [
    "Buffer",
    "Detached",
    "HTTPConnection",
    "HTTPMessageDelegate",
    "HTTPServerConnectionDelegate",
    "HeadersLike",
    "StartLineLike",
    "StartsRequests",
]

Buffer = bytes | bytearray | memoryview
"""What may be written; whatever else has the buffer protocol is taken too."""

StartLineLike = tuple[Any, int, str]
"""Any `(version, code, reason)` triple; the version is ignored on the way out."""


class HeadersLike(Protocol):
    """What `write_headers` needs of a headers object, ours or Tornado's."""

    def get_all(self) -> Iterable[tuple[str, Any]]:
        """Yield every `(name, value)` line; values are `str` or latin-1 `bytes`."""
        ...


class Detached(asyncio.Protocol):
    """What takes over a connection from HTTP, such as a WebSocket."""

    __slots__ = ()

    def closed(self) -> bool:
        """Return whether the connection is closed; until then the server counts it."""
        raise NotImplementedError  # an interface: the new protocol says so


class HTTPServerConnectionDelegate:
    """What stands behind a server: it makes one `HTTPMessageDelegate` for each request.

    A delegate may have a method `take_request(server_conn, request_conn)` besides: it is then
    called, in place of `start_request`, `headers_received` and `finish`, with each request that
    has no body.

    Where it has a true `keeps_limits`, nothing behind it replaces the limit of a body's bytes: a
    request that declares more is refused before the delegate hears of it. Else it is refused after
    `headers_received`, in which `set_max_body_size` may have allowed more.

    Where it has a true `serves_websockets`, clients that speak HTTP/2 are told that they may ask
    for WebSockets there (RFC 8441): such a request `upgrades`, and is answered and detached as in
    HTTP/1.1. Without it they are not told, and open an HTTP/1.1 connection for each.
    """

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for a request whose head is valid and resolved.

        Args:
            server_conn: An opaque object, the same for all requests of one connection.
            request_conn: Where the answer to this one request is written.
        """
        raise NotImplementedError  # an interface: the subclass says what happens

    def on_close(self, server_conn: object) -> None:
        """Hear, once per connection, that it has closed.

        Args:
            server_conn: The object that `start_request` got.
        """


class StartsRequests(Protocol):
    """What else a server takes for a delegate: anything that starts requests, as Tornado's do."""

    def start_request(self, server_conn: Any, request_conn: Any, /) -> Any:
        """Return the delegate for one request."""
        ...


class HTTPMessageDelegate:
    """What hears one request: its head, its body, its end."""

    __slots__ = ()

    def headers_received(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Hear the head; an awaitable holds back the body until it is done."""

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Hear a piece of the body, at most `chunk_size` bytes; an awaitable holds back more."""

    def finish(self) -> None:
        """Hear that the request is complete; nothing follows but the answer's own life."""

    def on_connection_close(self) -> None:
        """Hear that the connection was lost before the request was complete.

        Exactly one of `finish` and `on_connection_close` follows `headers_received`.
        """


class HTTPConnection:
    """Where an application writes the answer to one request.

    Every method is called from the event loop's thread. The futures are real `asyncio.Future`s;
    they are done when more may be written, and dropping them unawaited is fine.

    Attributes:
        remote_ip: The client's address as resolved for this request.
        protocol: The client's scheme.
        method: The request's method.
        target: The request's target, as sent.
        version: `"HTTP/1.0"` or `"HTTP/1.1"`.
        status: The status written; 0 as long as none was.
        upgrades: Whether the client offers to change the protocol, in `Upgrade`.
        fields: The last value of each lower-case field name that the application may see.
        request_id: The request's id, where the server gives requests ids; else None.
        expects_continue: Whether the client waits for a `100 Continue` before it sends the body;
            it gets one when what `headers_received` returned is done, unless it was answered.
        info: The ends of the connection that the request came over.
    """

    __slots__ = ()

    remote_ip: str
    protocol: str
    method: str
    target: str
    version: str
    status: int
    upgrades: bool
    fields: dict[bytes, bytes]
    expects_continue: bool
    info: ConnectionInfo
    request_id: str | None = None

    @property
    def context(self) -> ConnectionContext:
        """Who is at the other end, as this request's client: a new view at each call."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    @property
    def headers(self) -> HTTPHeaders:
        """The request's header fields, as far as the application may see them."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    @property
    def raw(self) -> RawHeaders:
        """The same as `(lower-case name, value)` in order: a new list each time."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    @property
    def client(self) -> ClientDetails | None:
        """Who the client of this request is, a `proxyheaders.Resolved`; None if unknown."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    @property
    def local_address(self) -> Any:
        """The address that the connection came in on; None if unknown."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    def hold(self, size: int) -> None:
        """Count `size` bytes of the request's body as held, by whoever keeps them.

        What is held is given back when the exchange ends, whatever way it does.
        """

    def release(self, size: int) -> None:
        """Count `size` bytes as held no longer, such as when they were handed on."""

    def room_to_hold(self) -> asyncio.Future[None] | None:
        """Return what to wait for before more is held, where a whole body is collected.

        None where there is room; else the future is for `data_received` to return.
        """
        return None

    @property
    def budget(self) -> HeldBudget | None:
        """The sum of what the server holds, for messages after `detach_to`; None without one."""
        return None

    def explain(self) -> ClientProof | None:
        """Return the proof of `client`, a `proxyheaders.Provenance`; None if unknown."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    def write_headers(
        self,
        start_line: StartLineLike,
        headers: HeadersLike | RawHeaders,
        chunk: Buffer | None = None,
        *,
        whole: bool = False,
    ) -> asyncio.Future[None]:
        """Write the head of the answer, and the first piece of its body if given.

        Args:
            start_line: `(version, code, reason)`, such as a `ResponseStartLine`.
            headers: The fields: `HTTPHeaders`, anything with `get_all()`, or a list of pairs of
                `bytes`, lower-case name and value.
            chunk: The first piece of the body; any buffer, which is copied unless it is `bytes`.
            whole: Whether `chunk` is all of it; then its length is declared where the fields do
                not, and `finish` is to follow.

        Raises:
            ValueError: A name, value or reason holds a control character; nothing was written.
            HTTPOutputError: With `whole`, the fields declare another length; nothing was written.
        """
        raise NotImplementedError  # an interface: the HTTP layer says how

    def write(self, chunk: Buffer) -> asyncio.Future[None]:
        """Write a piece of the body: any buffer, which is copied unless it is `bytes`.

        Raises:
            HTTPOutputError: It is more than the `Content-Length` that was declared.
        """
        raise NotImplementedError  # an interface: the HTTP layer says how

    def finish(self) -> None:
        """Say that the body is complete.

        Raises:
            HTTPOutputError: It is less than the `Content-Length` that was declared.
        """
        raise NotImplementedError  # an interface: the HTTP layer says how

    def set_trailers(self, fields: RawHeaders) -> None:
        """Have `fields` follow the body; without effect where its framing has no place for them.

        Raises:
            ValueError: One of them cannot be written, or may not stand in a trailer section.
        """
        raise NotImplementedError  # an interface: the HTTP layer says how

    def complain(self, text: str, *args: object) -> None:
        """Log that the client has broken a rule; a server writes only so many of these lines.

        Args:
            text: The line, with `%` for each of `args`, which are escaped already.
            args: What stands in it.
        """
        gen_log.info(text, *args)

    def abort(self) -> None:
        """Close the connection, since the answer cannot be completed as it was begun."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called once if the peer leaves after the request and before the end."""
        raise NotImplementedError  # an interface: the HTTP layer says how

    def detach_to(self, protocol: Detached) -> None:
        """Hand the connection to another protocol, with the bytes that came after this request.

        Raises:
            StreamClosedError: The connection is closed, or serves another request by now.
        """
        raise NotImplementedError  # an interface: the HTTP layer says how
