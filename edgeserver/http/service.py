"""The service: what all HTTP connections of one server share, whatever version they speak.

Decides what is one for a server: limits, delegate, policy, logs, what is held, who is connected. It
must not know how connections were accepted, nor a version of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final

from edgeserver.http.batching import WriteBatch
from edgeserver.http.clock import Clock, tick_for
from edgeserver.http.connections import ConnectionRegistry, ServedConnection
from edgeserver.http.exchange import Exchange
from edgeserver.http.limits import HTTPLimits
from edgeserver.http.protocols import (
    Auditor,
    ClientGate,
    ServerDelegate,
    TakesRequests,
    Trust,
)
from edgeserver.http.request_ids import RequestIds
from edgeserver.http.tally import RequestTally
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.support.counters import CounterRow
from edgeserver.support.held import HeldBudget
from edgeserver.support.loggers import app_log, gen_log
from edgeserver.support.ratelimit import RateLimit, address_key
from edgeserver.support.spelling import spelled
from edgeserver.support.turns import TurnBudget, turns_of

__all__ = ["HTTPService", "TrustSource"]

WARNING_EVERY_S: Final = 60.0
"""How often it is said at most that bodies are refused for want of room, in seconds."""


class TrustSource:
    """Who is believed on the connections of some listeners; it may change while they are open.

    Args:
        trust: How the client's address is decided, or None to take the peer's.

    Attributes:
        trust: The same, for each request that begins.
    """

    __slots__ = ("trust",)

    def __init__(self, trust: Trust | None) -> None:
        self.trust = trust


class HTTPService:
    """The shared half of every HTTP connection of one server.

    Args:
        limits: The limits.
        delegate: Who answers.
        trust: How the client's address is decided, or None to take the peer's.
        access_log: Called with each exchange that has ended, or None.
        audit_log: Gets the proof of each request's client to record, or None.
        request_ids: What gives each request an id, or None.
        strict_transport: The value of `Strict-Transport-Security` over TLS, or None.
        protocol: The scheme to report whatever the transport, or None.
        turns: The time of a turn of the event loop, or None for the loop's own.
        clients: Who limits how many connections one client has, or None.
        on_open: Called after each connection has been counted in, or None.
        on_close: Called after each has been counted out, or None.

    Attributes:
        start_request: The delegate's.
        take_request: The delegate's, where it `TakesRequests` and each is given to it as it came;
            else None.
        keeps_limits: Whether nothing behind the delegate replaces the limit of a body.
        serves_websockets: Whether what is behind the delegate may accept a WebSocket.
        believed: Who is believed where a listener has nobody of its own.
        budget: What is held of bodies and messages, over all connections.
        batch: Has the answers of one turn of the event loop leave together.
        connections: Who is connected.
        clock: The time, and whose deadline is over.
        on_tick: Called at each tick of the clock with the loop's time.
        on_limits: Called with other limits when they are set.
        turns: The time of a turn of the event loop, over all connections; from the first one on.
        context: What each request's own context is a copy of: that of the first connection, which
            knows nothing of any request; from then on.
        ready: A future of the loop that connected last that is done already; from then on.
        draining: Whether a connection that falls idle is closed.
        must_close: Whether each head of an answer says that it is the last of its connection.
        closes_each: Whether it is the last, whatever its head has said.
        plain_answers: Whether an answer has nothing added to it by a rule of the server.
        adds_lines: Whether an answer may have lines of the server's own.
        own_audit_log: What the server was given as `audit_log`, which for moments is another that
            hands on to it.
        timed: Whether it is asked when each request began and ended: for a log, the tally, or who
            looks for slow ones.
        tally: How many requests have ended, to be added to where no log hears of them either;
            None where one does, or nobody asks.
        counters: Where refusals and what was shed are counted, or None.
    """

    turns: TurnBudget
    context: Context
    ready: asyncio.Future[None]

    def __init__(
        self,
        limits: HTTPLimits,
        delegate: ServerDelegate,
        *,
        trust: Trust | None = None,
        access_log: Callable[[Any], None] | None = None,
        audit_log: Auditor | None = None,
        request_ids: RequestIds | None = None,
        strict_transport: str | None = None,
        protocol: str | None = None,
        turns: TurnBudget | None = None,
        clients: ClientGate | None = None,
        on_open: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.limits = limits
        self.delegate = delegate
        # What every request needs is one step away.
        self.start_request = delegate.start_request
        taking: TakesRequests | Any = delegate
        self.take_request: Callable[[object, Any], None] | None = (
            None if limits.decompress_request else getattr(taking, "take_request", None)
        )
        self.keeps_limits = bool(getattr(delegate, "keeps_limits", False))
        self.serves_websockets = bool(getattr(delegate, "serves_websockets", False))
        self.decompresses = limits.decompress_request
        self.believed = TrustSource(trust)
        self.access_log = access_log
        self.audit_log = audit_log
        self.own_audit_log = audit_log
        self.request_ids = request_ids
        self.strict_transport = strict_transport
        self.protocol = protocol
        self.clients = clients
        self.timed = access_log is not None
        self.counters: CounterRow | None = None
        self._keeps_times = False  # though no log may hear of them
        self._tally: RequestTally | None = None
        self.tally: RequestTally | None = None
        self.draining = False
        self.must_close = limits.no_keep_alive
        self.closes_each = limits.no_keep_alive
        self.adds_lines = strict_transport is not None or request_ids is not None
        self.plain_answers = not self.must_close and not self.adds_lines
        self.budget = HeldBudget(limits.max_held)
        self.batch = WriteBatch(limits.write_timeout)
        self.connections = ConnectionRegistry(on_open, on_close)
        self.clock = Clock(
            tick_for(limits.shortest_timeout_s()), limits.idle_connection_timeout, self._tick
        )
        self.on_tick: list[Callable[[float], None]] = []
        self.on_limits: list[Callable[[HTTPLimits], None]] = []
        self._turns = turns  # those that were asked for; None for the loop's own
        self._complaints = RateLimit()  # of lines about peers that broke a rule
        self._next_warning_s = 0.0  # when it may be said again that no body has room
        self._loop: asyncio.AbstractEventLoop | None = None  # that connected last

    @property
    def trust(self) -> Trust | None:
        """Who is believed where a listener has nobody of its own."""
        return self.believed.trust

    @trust.setter
    def trust(self, trust: Trust | None) -> None:
        self.believed.trust = trust

    def set_delegate(
        self, delegate: ServerDelegate, access_log: Callable[[Any], None] | None
    ) -> None:
        """Have others answer, and hear of what has ended, from the next request on.

        Args:
            delegate: Who answers.
            access_log: Called with each exchange that has ended, those in flight now too, or None.
        """
        taking: TakesRequests | Any = delegate
        self.delegate = delegate
        self.start_request = delegate.start_request
        self.take_request = None if self.decompresses else getattr(taking, "take_request", None)
        self.keeps_limits = bool(getattr(delegate, "keeps_limits", False))
        self.access_log = access_log
        self.timed = access_log is not None or self._keeps_times
        self.tally = None if access_log is not None else self._tally
        if self.timed:
            self._note_times()

    def set_limits(self, limits: HTTPLimits) -> None:
        """Hold what begins from now on to other limits, on open connections, too.

        Whether connections are kept and bodies decompressed stays as it was.
        """
        self.limits = limits
        self.budget.max_bytes = limits.max_held
        self.batch.write_timeout_s = limits.write_timeout
        self.clock.set_times(tick_for(limits.shortest_timeout_s()), limits.idle_connection_timeout)
        for call in self.on_limits:
            call(limits)

    def ready_future(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done already; one serves all writes that need not wait."""
        if loop is not self._loop:
            self._enter(loop)
        return self.ready

    def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make what all connections of a loop share."""
        self._loop = loop
        self.context = copy_context()
        self.ready = loop.create_future()
        self.ready.set_result(None)
        self.turns = self._turns or turns_of(loop)

    # Connections come and go.

    def meet(
        self, connection: ServedConnection, transport: asyncio.BaseTransport, prelude: Any
    ) -> ConnectionInfo | None:
        """Return the ends of a fresh connection; None where its client has too many, and it goes.

        Args:
            connection: The connection.
            transport: Its transport, plain or TLS.
            prelude: The PROXY header that came first, or None.
        """
        if self.clients is not None and not self.clients.enter(connection, transport, prelude):
            return None
        tls = transport.get_extra_info("tls_info")
        secure = tls is not None or transport.get_extra_info("sslcontext") is not None
        return ConnectionInfo(
            transport.get_extra_info("peername"),
            scheme=self.protocol or ("https" if secure else "http"),
            tls=tls,
            prelude=prelude,
        )

    def accepted(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave `loop` time to accept further connections before long work goes on."""
        if loop is not self._loop:
            self._enter(loop)
        self.turns.accepted()

    def opened(self, connection: ServedConnection, loop: asyncio.AbstractEventLoop) -> None:
        """Count a connection in."""
        if loop is not self._loop:
            self._enter(loop)
        self.clock.start(loop)
        self.connections.add(connection)

    def closed(self, connection: ServedConnection) -> None:
        """Count a connection out, and tell the delegate."""
        self.connections.remove(connection)
        if self.clients is not None:
            self.clients.leave(connection)
        try:
            self.delegate.on_close(connection)
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)

    def detached(self, connection: ServedConnection, stream: Any) -> None:
        """Count a connection out that goes on as `stream`, the application's."""
        if self.clients is not None:
            self.clients.detached(connection, stream)
        self.closed(connection)
        self.connections.add_detached(stream)

    def handed_over(self, connection: ServedConnection) -> None:
        """Count a connection out that goes on in another version of HTTP, which counts it in."""
        self.connections.remove(connection)
        if self.clients is not None:
            self.clients.leave(connection)

    def drain(self, idle_s: float = 0.0) -> None:
        """Let what is in flight finish, and each connection bring at most one more request.

        Answers whose heads are written from now on say that they are the last.

        Args:
            idle_s: How long a connection may be silent before it is closed, from now on or from
                the end of an answer that did not say so; 0 takes no further request.
        """
        self.must_close = True
        self.plain_answers = False
        self.draining = self.closes_each = not idle_s
        self.clock.shorten(idle_s)
        self.connections.drain()

    # What is counted and said in logs.

    def keep_tally(self) -> RequestTally:
        """Return how many requests have ended since this was first called."""
        self.keep_times()
        if self._tally is None:
            self._tally = RequestTally()
            if self.access_log is None:
                self.tally = self._tally
        return self._tally

    def keep_times(self) -> None:
        """Ask from now on when each request begins; nobody knows when those in flight did."""
        self.timed = self._keeps_times = True
        self._note_times()

    def _note_times(self) -> None:
        now_s = time.perf_counter()
        for connection in self.connections.open:
            for exchange in connection.exchanges:
                exchange.started_s = getattr(exchange, "started_s", now_s)

    def count_refused(self, rule: str) -> None:
        """Count a request that was refused; `rule` is where the rule stands, or the setting."""
        if self.counters is not None:
            self.counters.add("refused_total", rule)

    def count_shed(self, reason: str) -> None:
        """Count a request or connection turned away for want of room; `reason` is the setting."""
        if self.counters is not None:
            self.counters.add("shed_total", reason)

    def turn_away(self) -> str:
        """Count, and say now and then, that a body is refused because so much is held already.

        Returns:
            What its client is told.
        """
        self.count_shed("max-held")
        now = time.monotonic()
        if now >= self._next_warning_s:
            self._next_warning_s = now + WARNING_EVERY_S
            gen_log.warning(
                "%d bytes of bodies and messages are held, of %d (%s): bodies are told 503"
                " until some are let go",
                self.budget.held,
                self.budget.max_bytes,
                spelled("max_held"),
            )
        return f"no room for more bodies at present ({spelled('max_held')}): try again"

    def complain(
        self,
        now_s: float,
        info: ConnectionInfo,
        text: str,
        *args: object,
        level: int = logging.INFO,
    ) -> None:
        """Log a line about a peer that broke a rule or was late, unless it has had its share.

        Whom a PROXY header names has lines of its own; whom the fields of a request name has not.

        Args:
            now_s: The loop's time.
            info: Whose connection it is.
            text: The line, with `%` for each of `args`.
            args: What stands in it.
            level: `logging.WARNING` for what somebody has set up wrong.
        """
        named: str | None = None if info.prelude is None else info.prelude.source
        self._sum_up_complaints(now_s)
        if self._complaints.permits(now_s, address_key(named or info.peer)):
            gen_log.log(level, text, *args)

    def _sum_up_complaints(self, now_s: float) -> None:
        missed = self._complaints.missed(now_s)
        if missed:
            gen_log.info(
                "Malformed HTTP messages and timeouts: %d more in the minute before were not"
                " logged one by one",
                missed,
            )

    def log_access(self, exchange: Exchange) -> None:
        """Have an exchange counted and logged that has ended; once."""
        if exchange.ended_s or not self.timed:
            return
        ended_s = exchange.ended_s = time.perf_counter()
        tally, log = self._tally, self.access_log
        if tally is not None:
            tally.add(exchange.status, ended_s - exchange.started_s)
        if log is not None:
            try:
                log(exchange)
            except Exception:
                app_log.error("Uncaught exception in the access log", exc_info=True)

    def _tick(self, now_s: float) -> bool:
        """Called when the clock ticks; says whether somebody still needs it."""
        if self._complaints.suppressed:
            self._sum_up_complaints(now_s)
        for call in self.on_tick:
            call(now_s)
        self.connections.check_deadlines(now_s)
        return bool(self.connections.open)
