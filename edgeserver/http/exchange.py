"""The exchange: one request, who asked, and how far its answer is.

Decides which state every version of HTTP keeps of a request, and who may look at it. It must not
know how an answer is framed: the exchange of a version of HTTP adds that. `HTTPConnection` asks for
one object that is both, the request's head and where its answer goes; so it inherits from this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from edgeserver.http.protocols import BoundTrust
from edgeserver.httputil.context import ConnectionContext, ConnectionInfo
from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
from edgeserver.httputil.interfaces import Detached, HTTPConnection
from edgeserver.iostream import IOStream
from edgeserver.support.held import HeldBudget, HeldShare
from edgeserver.support.loggers import app_log

__all__ = ["DONE", "FRESH", "OPEN", "Exchange", "ExchangeOwner"]

FRESH: Final = 0
"""No final head has been written."""
OPEN: Final = 1
"""The head is written, the body is not complete."""
DONE: Final = 2
"""The answer is complete, or never will be: nothing is written any more."""


class ExchangeOwner(Protocol):
    """What an exchange asks of the connection that serves it."""

    def exchange_done(self, exchange: Exchange) -> None:
        """Called when the answer is complete."""
        ...

    def exchange_broken(self) -> None:
        """Called when the answer cannot be completed as it was declared."""
        ...

    def exchange_left(self, exchange: Exchange) -> None:
        """Called when nobody waits for the answer any more: the application is to be told."""
        ...

    def time_body(self, timeout_s: float) -> None:
        """Called with another time limit of the body that is being read."""
        ...

    def awaits_body(self) -> bool:
        """Return whether more of the body is to come, and would be taken."""
        ...

    def held_share(self) -> HeldShare:
        """Return what is held for the request."""
        ...

    def complain(self, text: str, *args: object) -> None:
        """Log that the client has broken a rule."""
        ...

    def detach(self, exchange: Exchange, protocol: Any) -> None:
        """Hand what is below HTTP to `protocol`."""
        ...


class Exchange(HTTPConnection):
    """One request, and the state of its answer.

    That of each version of HTTP sets all attributes when it is made, but for those of the client,
    which are admission's to say: a second constructor below it would cost each request a call.

    Attributes:
        info: Who is at the other end of the connection.
        remote_ip: The client's address as resolved for this request.
        protocol: The client's scheme.
        fields: What the application sees of the head: the last value of each lower-case name.
        lines: All of its lines in order where a name repeats, else None; never changed.
        client: Who the client is, a `Resolved`; None where no policy is in force.
        bound: The policy that has found `client`, and can prove it; None without one.
        state: `FRESH`, `OPEN` or `DONE`.
        status: The status written; 0 before.
        bytes_sent: Bytes of head and body written.
        started_s: When it began, by `time.perf_counter`; there only where the service is `timed`,
            in a slot: a dict for each request would cost as much as all else that is counted.
        request_id: What the request is called in answer, logs and application; None where requests
            have no ids.
    """

    # What every request reads stands in slots; CPython 3.11 takes long to find a class's default.
    __slots__ = (
        "__dict__",
        "_close_callback",
        "_head_fields",
        "_head_lines",
        "_headers",
        "_owner",
        "bound",
        "bytes_sent",
        "client",
        "fields",
        "info",
        "lines",
        "method",
        "protocol",
        "remote_ip",
        "started_s",
        "state",
        "status",
        "target",
        "version",
    )

    # What few requests have stands on the class.
    ended_s = 0.0
    upgrades = False
    max_body_size: int | None = None
    body_timeout: float | None = None
    request_id: str | None = None

    info: ConnectionInfo
    remote_ip: str
    protocol: str
    started_s: float
    client: Any
    bound: BoundTrust | None
    method: str
    target: str
    version: str
    fields: dict[bytes, bytes]
    lines: RawHeaders | None
    state: int
    status: int
    bytes_sent: int
    _owner: ExchangeOwner
    _head_fields: dict[bytes, bytes]  # the head as it came: what a proof is about
    _head_lines: RawHeaders | None
    _headers: HTTPHeaders | None  # made when they are first asked for
    _close_callback: Callable[[], None] | None  # the application's

    # Who is asking; admission writes it.

    @property
    def context(self) -> ConnectionContext:
        """The connection, as this request's client has it: a new view at each call."""
        return ConnectionContext(self.info, self.remote_ip, self.protocol)

    @property
    def head_pairs(self) -> Collection[tuple[bytes, bytes]]:
        """The fields of the head as they came, `(lower-case name, value)` in order."""
        lines = self._head_lines
        return self._head_fields.items() if lines is None else lines

    def head_value(self, name: bytes) -> bytes | None:
        """Return the last value of a field of the head as it came, by its lower-case name."""
        return self._head_fields.get(name)

    def has_findings(self) -> bool:
        """Return whether something is odd about who the client is; nothing counts the answer."""
        return self.bound is not None and self.bound.has_findings(self.head_pairs)

    def explain(self) -> Any:
        """Return the proof of `client`, a `Provenance`; None where no policy is in force."""
        return None if self.bound is None else self.bound.explain(self.head_pairs)

    @property
    def local_address(self) -> Any:
        """The address that the connection came in on; None once it is gone."""
        raise NotImplementedError  # each version of HTTP says how

    # What the application sees of the head.

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

    # What is held of the body; once the exchange is done, all was given back for good.

    def hold(self, size: int) -> None:
        """Count bytes of the body as held; see `HTTPConnection.hold`."""
        if self.state != DONE:
            self._owner.held_share().count(size)

    def release(self, size: int) -> None:
        """Count bytes as held no longer; see `HTTPConnection.release`."""
        if self.state != DONE:
            self._owner.held_share().count(-size)

    def room_to_hold(self) -> asyncio.Future[None] | None:
        """Return what to wait for before more is held; see `HTTPConnection.room_to_hold`."""
        return None if self.state == DONE else self._owner.held_share().room()

    @property
    def budget(self) -> HeldBudget:
        """The sum of what the server holds; for who keeps messages after `detach_to`."""
        return self._owner.held_share().budget

    # How far the answer is.

    @property
    def is_open_ended(self) -> bool:
        """Whether the answer has begun and does not say how long it is."""
        raise NotImplementedError  # each version of HTTP says how

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not take what is written."""
        raise NotImplementedError  # each version of HTTP says how

    @property
    def waits_for_client(self) -> str:
        """What of the client's is waited for, in words; empty where it is the application."""
        if self.is_blocked:
            return f"the client, which takes no bytes of the answer ({self.bytes_sent} are written)"
        if self._owner.awaits_body():
            return "the client, of whose body more is to come"
        return ""

    def leave(self) -> None:
        """Tell the application as if its client had left, though it has not."""
        if self.state != DONE:
            self._owner.exchange_left(self)

    @property
    def duration_s(self) -> float:
        """Seconds from the end of the request's head to the end of the answer."""
        return self.ended_s - self.started_s

    def complain(self, text: str, *args: object) -> None:
        """Log that the client has broken a rule; see `HTTPConnection.complain`."""
        self._owner.complain(text, *args)

    def end(self) -> None:
        """Let nothing more be written; the connection calls it when the exchange is over."""
        self.state = DONE

    def abort(self) -> None:
        """Close the connection; see `HTTPConnection.abort`."""
        if self.state != DONE:
            self._owner.exchange_broken()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called once if the peer leaves before the answer is complete."""
        self._close_callback = callback

    def tell_closed(self) -> None:
        """Call the close callback, if there is one, and forget it."""
        callback: Callable[[], object] | None = self._close_callback
        self._close_callback = None
        if callback is not None:
            try:
                callback()
            except Exception:
                app_log.error("Uncaught exception", exc_info=True)

    # What Tornado's have besides.

    def set_max_body_size(self, max_body_size: int) -> None:
        """Replace the limit of the body's bytes, for this request only."""
        self.max_body_size = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Replace the limit of the body's seconds, for this request only."""
        self.body_timeout = timeout
        if self.state != DONE:
            self._owner.time_body(timeout)

    @property
    def stream(self) -> Any:
        """The connection's bytes below HTTP: `socket`, `write`, `close`, `closed`; or None."""
        return None  # each version of HTTP says how

    def detach(self) -> IOStream:
        """Take the connection away from HTTP, with the bytes that came after this request.

        Raises:
            StreamClosedError: The connection is closed, or serves another request by now.
        """
        raise NotImplementedError  # each version of HTTP says how

    def detach_to(self, protocol: Detached) -> None:
        """Take the connection away from HTTP; see `HTTPConnection.detach_to`."""
        self._owner.detach(self, protocol)
