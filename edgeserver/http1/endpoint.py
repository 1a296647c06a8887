"""What all HTTP/1.1 connections of one server share: limits, the delegate, who is connected.

Decides how connections are counted and when their deadlines are looked at. It must not know how
they were accepted; the server above gives it what it needs.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from edgeserver.http.limits import HTTP1Settings
from edgeserver.http1.bulk_reader import make_bulk_buffer
from edgeserver.http1.output import NEVER
from edgeserver.http1.response_head import date_line, encode_field
from edgeserver.httputil.interfaces import HTTPConnection, HTTPMessageDelegate
from edgeserver.support.held import HeldBudget
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit, address_key
from edgeserver.support.turns import TurnBudget, turns_of

if TYPE_CHECKING:
    from edgeserver.http1.connection import HTTP1Connection
    from edgeserver.http1.ending import ExchangeEnds
    from edgeserver.http1.output import Wire

__all__ = ["BoundTrust", "HTTP1Endpoint", "ServerDelegate", "Trust"]

LONGEST_TICK_S = 0.5
SHORTEST_TICK_S = 0.01

FLUSH_WITHIN_S = 0.001
"""How long an answer may wait for others of the same turn of the event loop."""

SLOW_ANSWER_S = 0.0001
"""What an answer may take, on an average, where they are to wait for each other at all."""

DIRECT_AFTER_SLOW = 64
"""How many answers leave at once after some have taken longer than that."""

WARNING_EVERY_S = 60.0
"""How often it is said at most that bodies are refused for want of room, in seconds."""

KEEP_FIELDS_S = 10.0
"""How long a connection without a request keeps the fields of its last one."""


class ServerDelegate(Protocol):
    """What makes a delegate for each request; see `HTTPServerConnectionDelegate`."""

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request."""
        ...

    def on_close(self, server_conn: object) -> None:
        """Hear that a connection has closed."""
        ...


class StripNames(Protocol):
    """The names of fields that are kept from the application."""

    def among(self, names: Iterable[bytes]) -> frozenset[bytes]:
        """Return which of `names`, in lower case, it may not see."""
        ...


class BoundTrust(Protocol):
    """A trust policy for one connection, as `edgeserver.proxyheaders` makes it."""

    @property
    def strip(self) -> StripNames | None:
        """What the application may not see of a head; None where it sees all."""
        ...

    def explain(self, raw: Collection[tuple[bytes, bytes]]) -> Any:
        """Return the whole proof of what `resolve` answers for the same pairs."""
        ...

    def report(self, raw: Collection[tuple[bytes, bytes]]) -> Any:
        """Return the same for a log, without what it was told of this connection before."""
        ...

    def resolve(
        self, raw: Collection[tuple[bytes, bytes]], fields: dict[bytes, bytes] | None
    ) -> Any:
        """Return who the client of a request is; never raises."""
        ...

    def count(self, resolved: Any) -> None:
        """Count a request with the fields of one before, of which `resolve` said `resolved`."""
        ...


class Trust(Protocol):
    """A trust policy, as `edgeserver.proxyheaders` makes it."""

    def bind(self, *, peer: str, peer_port: int | None, scheme: str, prelude: Any) -> BoundTrust:
        """Return the policy for one connection."""
        ...


class Auditor(Protocol):
    """Where the proof of each request's client goes, as `edgeserver.audit.log` takes it."""

    def record(
        self,
        explain: Callable[[], Any],
        method: str,
        target: str,
        now: float,
        *,
        pairs: Collection[tuple[bytes, bytes]],
        bound: Any,
    ) -> None:
        """Take a callable that gives the proof of `pairs`; it is called later, elsewhere."""
        ...


class HTTP1Endpoint:
    """The shared half of every connection.

    Args:
        settings: The limits.
        delegate: Who answers.
        trust: How the client's address is decided, or None to take the peer's.
        access_log: Called with each exchange that has ended, or None.
        audit_log: Gets the proof of each request's client to record, or None.
        strict_transport: The value of `Strict-Transport-Security` over TLS, or None.
        protocol: The scheme to report whatever the transport, or None.
        turns: The time of a turn of the event loop, or None for the loop's own.
        on_open: Called after each connection has been counted in, or None.
        on_close: Called after each has been counted out, or None.

    Attributes:
        budget: What is held of bodies and messages, over all connections.
        turns: The time of a turn of the event loop, over all connections; from the first one on.
    """

    turns: TurnBudget

    def __init__(
        self,
        settings: HTTP1Settings,
        delegate: ServerDelegate,
        *,
        trust: Trust | None = None,
        access_log: Callable[[Any], None] | None = None,
        audit_log: Auditor | None = None,
        strict_transport: str | None = None,
        protocol: str | None = None,
        turns: TurnBudget | None = None,
        on_open: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.delegate = delegate
        # What every request needs is one step away.
        self.start_request = delegate.start_request
        self.take_request = getattr(delegate, "take_request", None)
        self.keeps_limits = bool(getattr(delegate, "keeps_limits", False))
        self.max_header_fields = settings.max_header_fields
        self.decompresses = settings.decompress_request
        self.budget = HeldBudget(settings.max_held)
        self.idle_deadline = 0.0
        self.date_line = b""
        self.trust = trust
        self.access_log = access_log
        self.audit_log = audit_log
        self.strict_transport_line = (
            b""
            if strict_transport is None
            else encode_field("Strict-Transport-Security", strict_transport)
        )
        self.protocol = protocol
        self.draining = False
        self.must_close = settings.no_keep_alive
        self.connections: set[ExchangeEnds] = set()
        self._detached: weakref.WeakSet[Any] = weakref.WeakSet()
        self._turns = turns
        self._complaints = RateLimit()
        self._on_open = on_open
        self._on_close = on_close
        self._empty: asyncio.Future[None] | None = None
        self._bulk: memoryview | None = None
        self._ready: asyncio.Future[None] | None = None
        self._unflushed: list[Wire] = []
        self._unflushed_since = 0.0
        self._direct = 0
        self._next_warning_s = 0.0
        self.keeping: set[HTTP1Connection] = set()  # the fields of their last heads
        self._tick_s = min(LONGEST_TICK_S, max(SHORTEST_TICK_S, settings.shortest_timeout_s() / 8))
        self._ticker: asyncio.TimerHandle | None = None

    def ready_future(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done already; one serves all writes that need not wait."""
        ready = self._ready
        if ready is None or ready.get_loop() is not loop:
            ready = self._ready = loop.create_future()
            ready.set_result(None)
        return ready

    def bulk_buffer(self) -> memoryview:
        """Return the buffer that long bodies are read into, one for all connections."""
        if self._bulk is None:
            self._bulk = make_bulk_buffer()
        return self._bulk

    def flush_soon(self, connection: Wire) -> None:
        """Have `connection` flushed before the event loop waits again.

        The answers of one turn leave together: a peer on the same machine, such as a proxy or a
        load balancer, is woken once for all of them instead of once for each, and the kernel's
        half stays in the processor's caches. Where the application takes long for each request
        the first would wait for the others: then, for a while, each leaves at once.
        """
        now = perf_counter()
        unflushed = self._unflushed
        if unflushed:
            unflushed.append(connection)
            waited_s = now - self._unflushed_since
            if waited_s > FLUSH_WITHIN_S:
                if waited_s > SLOW_ANSWER_S * len(unflushed):
                    self._direct = DIRECT_AFTER_SLOW
                self.flush_all()
        elif self._direct:
            self._direct -= 1
            connection.flush()
        else:
            unflushed.append(connection)
            self._unflushed_since = now
            connection.loop.call_soon(self.flush_all)

    def flush_all(self) -> None:
        """Flush what waits for the end of the event loop's turn."""
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            try:
                connection.flush()
            except Exception:  # of one transport must not keep the answers of the others
                gen_log.error("Cannot write to %s", connection.context, exc_info=True)
                connection.abort()

    def opened(self, connection: ExchangeEnds, loop: asyncio.AbstractEventLoop) -> None:
        """Count a connection in."""
        self.connections.add(connection)
        self.turns = self._turns or turns_of(loop)
        if self._ticker is None:
            self._set_clock(loop.time())
            self._ticker = loop.call_later(self._tick_s, self._tick, loop)
        if self._on_open is not None:
            self._on_open()

    def closed(self, connection: ExchangeEnds) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        if self._on_close is not None:
            self._on_close()
        if not self.connections and self._empty is not None:
            if not self._empty.done():
                self._empty.set_result(None)
            self._empty = None

    def detached(self, stream: Any) -> None:
        """Remember a connection that was handed to the application, to count it."""
        self._detached.add(stream)

    def detached_count(self) -> int:
        """Return how many of these are still open; it looks at each, and forgets the others."""
        for stream in [stream for stream in self._detached if stream.closed()]:
            self._detached.discard(stream)
        return len(self._detached)

    def detached_at_most(self) -> int:
        """Return how many of these may still be open, without a look at any."""
        return len(self._detached)

    def note_full(self) -> None:
        """Say, now and then, that bodies are refused because so much is held."""
        now = time.monotonic()
        if now >= self._next_warning_s:
            self._next_warning_s = now + WARNING_EVERY_S
            gen_log.warning(
                "%d bytes of bodies and messages are held, of %d (max_held): bodies are told 503"
                " until some are let go",
                self.budget.held,
                self.budget.max_bytes,
            )

    def complain(self, now_s: float, address: str, text: str, *args: object) -> None:
        """Log a line about a peer that broke a rule or was late, unless it has had its share.

        Args:
            now_s: The loop's time.
            address: Who is to blame.
            text: The line, with `%` for each of `args`.
            args: What stands in it.
        """
        self._sum_up_complaints(now_s)
        if self._complaints.permits(now_s, address_key(address)):
            gen_log.info(text, *args)

    def _sum_up_complaints(self, now_s: float) -> None:
        missed = self._complaints.missed(now_s)
        if missed:
            gen_log.info(
                "Malformed HTTP messages and timeouts: %d more in the minute before were not"
                " logged one by one",
                missed,
            )

    def drain(self) -> None:
        """Close what is idle; let what is in flight finish, and close then."""
        self.draining = self.must_close = True
        for connection in list(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        """Close every connection, idle or busy."""
        for connection in list(self.connections):
            connection.close()

    def wait_empty(self) -> asyncio.Future[None]:
        """Return a future that is done once no connection is left, if only for a moment."""
        if not self.connections:
            return self.ready_future(asyncio.get_running_loop())
        if self._empty is None:
            self._empty = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._empty)

    def _set_clock(self, now_s: float) -> None:
        # Read by every request. Both are late by at most one tick; a deadline gets one more.
        self.date_line = date_line(time.time())
        self.idle_deadline = now_s + self.settings.idle_connection_timeout + self._tick_s

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        # One pass over all connections now and then costs less than a timer armed and cancelled for
        # each request.
        now = loop.time()
        self._set_clock(now)
        if self._complaints.suppressed:
            self._sum_up_complaints(now)
        # A connection that answers, or is closed, waits for nothing: its deadline is far.
        recent = self.idle_deadline - KEEP_FIELDS_S
        for kept in list(self.keeping):
            if not recent < kept.deadline < NEVER:
                self.keeping.discard(kept)
                kept.forget_fields()
        for connection in list(self.connections):
            if connection.deadline <= now or connection.write_deadline <= now:
                connection.check_deadlines(now)
        if self.connections:
            self._ticker = loop.call_later(self._tick_s, self._tick, loop)
        else:
            self._ticker = None
