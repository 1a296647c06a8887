"""What one exchange holds: the request's head, who asks, and how far the answer has come.

Decides which state there is and who may look at it. It must not know how an answer is written;
that is the subclass's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
from edgeserver.httputil.interfaces import Detached, HTTPConnection
from edgeserver.iostream import IOStream

if TYPE_CHECKING:
    from edgeserver.http1.ending import ExchangeEnds
    from edgeserver.httputil.context import ConnectionContext
    from edgeserver.support.held import HeldBudget

__all__ = [
    "BY_LENGTH",
    "CHUNKED",
    "DONE",
    "FRESH",
    "NO_BODY",
    "OPEN",
    "UNSAID",
    "UNTIL_CLOSE",
    "UPGRADED",
    "ExchangeState",
]

FRESH: Final = 0
"""No final head has been written."""
OPEN: Final = 1
"""The head is written, the body is not complete."""
DONE: Final = 2
"""The answer is complete, or never will be."""

BY_LENGTH: Final = 0
"""The body ends after as many bytes as were declared; or nothing has been declared yet."""
NO_BODY: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3
"""Only the end of the connection ends the body."""
UPGRADED: Final = 4
"""It is no HTTP any more what follows the head."""

UNSAID: Final = -1
"""What remains of a body of which nothing has been said, because no head was written."""


class ExchangeState(HTTPConnection):
    """One request, and the state of its answer.

    Attributes:
        context: The connection's `ConnectionContext`.
        method: The request's method.
        target: The request's target as sent.
        version: `"HTTP/1.0"` or `"HTTP/1.1"`.
        keep_alive: Whether the connection may serve another request after this one.
        plain: Whether this is HTTP/1.1 without body or HEAD: its answer is framed as it says.
        status: The status written; 0 before.
        bytes_sent: Bytes of head and body written.
        fields: What the application sees of the head: the last value of each lower-case name.
        lines: All of its lines in order where a name repeats, else None; never changed.
    """

    # What every request reads stands in slots; CPython 3.11 takes long to find a class's default.
    __slots__ = (
        "__dict__",
        "_close_callback",
        "_connection",
        "_framing",
        "_headers",
        "_remaining",
        "bytes_sent",
        "context",
        "fields",
        "keep_alive",
        "lines",
        "method",
        "plain",
        "state",
        "status",
        "target",
        "trusted",
        "version",
    )

    # What few requests have stands on the class.
    started_s = 0.0
    ended_s = 0.0
    upgrades = False
    expects_continue = False
    max_body_size: int | None = None
    body_timeout: float | None = None
    _trailers = b""

    def __init__(self, connection: ExchangeEnds, method: str, target: str, version: str) -> None:
        self._connection = connection
        self.context: ConnectionContext = connection.context
        self.method = method
        self.target = target
        self.version = version
        self.status = 0
        self.bytes_sent = 0
        self.trusted: tuple[Any, Any, Any] | None = None
        self.keep_alive = True
        self.plain = True
        self.state = FRESH
        self._headers: HTTPHeaders | None = None
        self._framing = BY_LENGTH
        self._remaining: int | None = UNSAID
        self._close_callback: Callable[[], None] | None = None

    @property
    def is_open_ended(self) -> bool:
        """Whether the answer has begun and does not say how long it is."""
        return self.state == OPEN and self._framing in (CHUNKED, UNTIL_CLOSE)

    def leave(self) -> None:
        """Tell the application as if its client had left, though it has not."""
        self._connection.leave_exchange(self)

    # Who is asking, and for what.

    def complain(self, text: str, *args: object) -> None:
        """Log that the client has broken a rule; see `HTTPConnection.complain`."""
        self._connection.complain(text, *args)

    fields: dict[bytes, bytes]
    lines: RawHeaders | None

    def replace_fields(self, pairs: Collection[tuple[bytes, bytes]]) -> None:
        """Have the application see these fields, `(lower-case name, value)`, and no others."""
        self.fields = dict(pairs)
        self.lines = None if len(self.fields) == len(pairs) else list(pairs)

    def hide_fields(self, names: frozenset[bytes]) -> None:
        """Have the application see none of the fields of these names; the head has them all."""
        self.fields = fields = self.fields.copy()
        for name in names:
            del fields[name]
        if self.lines is not None:
            self.lines = [line for line in self.lines if line[0] not in names]

    @property
    def raw(self) -> RawHeaders:
        """The same as `(lower-case name, value)` in order: a new list at each call."""
        return list(self.fields.items()) if self.lines is None else self.lines.copy()

    @property
    def headers(self) -> HTTPHeaders:
        """The request's header fields, as far as the application may see them."""
        headers = self._headers
        if headers is None:
            lines, fields = self.lines, self.fields
            headers = self._headers = (
                HTTPHeaders.from_fields(fields) if lines is None else HTTPHeaders.from_raw(lines)
            )
        return headers

    @property
    def client(self) -> Any:
        """Who the client of this request is, a `Resolved`; None where no policy is in force."""
        return None if self.trusted is None else self.trusted[2]

    def explain(self) -> Any:
        """Return the proof of `client`, a `Provenance`; None where no policy is in force."""
        return None if self.trusted is None else self.trusted[0].explain(self.trusted[1])

    @property
    def local_address(self) -> Any:
        """The address that the connection came in on; None once it is gone."""
        transport = self._connection.transport
        return None if transport is None else transport.get_extra_info("sockname")

    def hold(self, size: int) -> None:
        """Count bytes of the body as held; see `HTTPConnection.hold`."""
        if self._connection.exchange is self:  # else all was given back, for good
            self._connection.hold(size)

    def release(self, size: int) -> None:
        """Count bytes as held no longer; see `HTTPConnection.release`."""
        if self._connection.exchange is self:
            self._connection.hold(-size)

    def room_to_hold(self) -> asyncio.Future[None] | None:
        """Return what to wait for before more is held; see `HTTPConnection.room_to_hold`."""
        connection = self._connection
        if connection.exchange is not self:
            return None
        return connection.endpoint.budget.room(connection, connection.held_bytes)

    @property
    def budget(self) -> HeldBudget:
        """The sum of what the server holds; for who keeps messages after `detach_to`."""
        return self._connection.endpoint.budget

    # What the access log reads.

    @property
    def remote_ip(self) -> str:
        """The client's address as resolved for this request."""
        return self.context.remote_ip

    @property
    def duration_s(self) -> float:
        """Seconds from the end of the request's head to the end of the answer."""
        return self.ended_s - self.started_s

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called once if the peer leaves before the answer is complete."""
        self._close_callback = callback

    # What Tornado's have besides.

    def set_max_body_size(self, max_body_size: int) -> None:
        """Replace the limit of the body's bytes, for this request only."""
        self.max_body_size = max_body_size
        if self._connection.exchange is self:
            self._connection.apply_body_limit(max_body_size)

    def set_body_timeout(self, timeout: float) -> None:
        """Replace the limit of the body's seconds, for this request only."""
        self.body_timeout = timeout
        if self._connection.exchange is self:
            self._connection.apply_body_timeout(timeout)

    @property
    def stream(self) -> Any:
        """The connection's bytes below HTTP: `socket`, `write`, `close`, `closed`; or None."""
        return self._connection.raw_stream(self)

    def detach(self) -> IOStream:
        """Take the connection away from HTTP, with the bytes that came after this request.

        Raises:
            StreamClosedError: The connection is closed, or serves another request by now.
        """
        stream = IOStream(max_buffer_size=self._connection.endpoint.settings.max_buffer_size)
        self._connection.detach(self, stream)
        return stream

    def detach_to(self, protocol: Detached) -> None:
        """Take the connection away from HTTP; see `HTTPConnection.detach_to`."""
        self._connection.detach(self, protocol)

    # What the connection says.

    def take_close_callback(self) -> Callable[[], None] | None:
        """Return the close callback, and forget it."""
        callback, self._close_callback = self._close_callback, None
        return callback

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self._framing == UNTIL_CLOSE
