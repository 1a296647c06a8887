"""`HTTPServer`: joins the listener, TLS, proxy headers, HTTP and the application.

Decides how the rooms are put together for one server, and nothing of what any of them does.

Source: `tornado.httpserver`, whose constructor, methods and ways to start these are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from edgeserver.adapters.callback import RequestCallback
from edgeserver.adapters.detect import delegate_for
from edgeserver.audit.log import AuditLog
from edgeserver.audit.samples import ChainSamples
from edgeserver.config.model import library_default
from edgeserver.http.limits import HTTPLimits
from edgeserver.http.request_ids import RequestIds
from edgeserver.http.service import HTTPService
from edgeserver.http.tally import RequestTally
from edgeserver.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)
from edgeserver.httputil.interfaces import StartsRequests
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.server.arguments import (
    check_logs,
    check_timeout,
    client_limit,
    connection_limit,
    known_http2,
    known_protocol,
    limits_given,
    require_policy,
    shedding_options,
    slow_limit,
    trust_of,
)
from edgeserver.server.capacity import Capacity
from edgeserver.server.front import Front, SheddingGate
from edgeserver.server.shedding import Shedding
from edgeserver.server.slow_requests import SlowRequests
from edgeserver.server.stack import ALPN, ProtocolStack
from edgeserver.server.tls import TLSService
from edgeserver.support.counters import CounterRow
from edgeserver.support.escape import escape
from edgeserver.support.validate import require_seconds
from edgeserver.tcpserver import INHERIT, Listener, SSLOptions, TCPServer
from edgeserver.tls import ReloadResult
from edgeserver.util import Configurable, initialized_by

__all__ = ["HTTPRequest", "HTTPServer"]

HTTPRequest = HTTPServerRequest
"""Tornado's older name of `HTTPServerRequest`."""

SPREAD_S = 1.0
"""Over how many seconds WebSockets are closed at most, when a server stops."""

STREAM_S = 1.0
"""How long an answer without a known length goes on before its application is told of the end."""

ACCEPTING_TURNS = 3
"""Within how many turns of the event loop an accepted connection has its protocol."""

_FIXED_LIMITS = frozenset(("no_keep_alive", "decompress_request"))
"""Limits that connections have taken over when they were made."""

OPENING_POLL_S = 0.02
"""How soon is looked again whether handshakes have ended."""


class HTTPServer(TCPServer, Configurable, HTTPServerConnectionDelegate):
    """A non-blocking, single-threaded HTTP server.

    Start it in one of three ways: `listen(8888)`; `bind(8888)` and then `start(0)`, which forks
    one process per core; or `add_sockets(bind_sockets(8888))` after `fork_processes(0)`.

    Args:
        request_callback: An `HTTPServerConnectionDelegate`, anything else with `start_request`,
            or a plain or coroutine function that takes an `HTTPServerRequest`.
        no_keep_alive: Close after every answer.
        xheaders: Take the client's address and scheme from X-Real-Ip, X-Forwarded-For, X-Scheme
            and X-Forwarded-Proto, whoever sends them (Tornado's contract).
        ssl_options: An `ssl.SSLContext`, or a dict of TLS options.
        protocol: `"http"` or `"https"`, to be reported whatever the transport is.
        decompress_request: Give gzip bodies to the application decompressed.
        chunk_size: Most bytes of a body given to the application at once; 64 KiB.
        max_header_size: Most bytes of a head; 64 KiB.
        idle_connection_timeout: Seconds that a connection may wait for a request; 3600.
        body_timeout: Seconds that a body may take; None for no limit.
        max_body_size: Most bytes of a body; `max_buffer_size` where it is None.
        max_buffer_size: Most bytes of input held for a connection; 100 MiB.
        trusted_downstream: With `xheaders`, the proxies to skip in X-Forwarded-For, as addresses
            or CIDR ranges.
        header_timeout: Seconds from the first byte of a head to its last; 60.
        write_timeout: Seconds in which a client that has bytes to read takes none; 60.
        max_header_fields: Most field lines of a head; 256.
        max_connections: Most connections at a time; beyond that accepting pauses. 80 % of the
            limit of open files where it is None. Plain asyncio accepts up to `backlog` connections
            in one turn of its loop before it can pause.
        max_connections_per_client: Most connections at a time of one client: the peer, or whom
            its PROXY prelude names, IPv6 by /64. Beyond it a connection is closed at once. Proxies
            that `trust` lists and Unix sockets are exempt. None for no limit.
        max_held: How many bytes of bodies and messages, as they are after decompression, may be
            held for all connections together before a new body is told 503; 512 MiB.
        trust: A `TrustPolicy`: who may say who the client is. Not together with `xheaders`.
        proxy_protocol: `"v1"`, `"v2"` or `"any"`: every listener expects a PROXY prelude.
        http2: Whether HTTP/2 may be spoken: over TLS where ALPN chooses it, on plain listeners with
            clients that begin with it (prior knowledge). `"only"` speaks nothing else. On.
        max_streams: HTTP/2: most requests of a connection at a time; 100.
        max_resets: HTTP/2: most streams that a connection may see reset or refused in a row; 200.
        access_log: Called with each exchange that has ended.
        audit_log: An `AuditLog`, which gets the proof of each request's client.
        https_redirect: Answer plain HTTP on a TLS port with 308 to https instead of with 400.
        strict_transport_security: The value of `Strict-Transport-Security`, such as
            `"max-age=31536000"`, sent with every answer over TLS that ends here.
        request_id_header: The field of each request's id, such as `"X-Request-ID"`: that of a
            listed proxy is believed, else one is made. It stands in the answer, in the access and
            audit logs and in what the application is told. None for no ids.
        slow_request: Seconds after which it is logged what a request waits for that still runs;
            None for never.
        max_in_flight: Most requests that are served at once; more are told 503. None for no limit.
        client_rate: How many requests one client may have, such as `"20/s,burst=40"`; more are
            told 429. The client is the resolved one, IPv6 by /64. None for no limit.
        client_connections: Most connections of one client; a request on another is told 429. None
            for no limit.

    Raises:
        ConfigurationError: A limit or a combination cannot work.
        TypeError: `request_callback` cannot be called with a request alone: an ASGI or WSGI
            application needs its adapter, or `edgeserver.listen`; or `trust` is no `TrustPolicy`.

    Source: `tornado.httpserver.HTTPServer`; the keyword-only arguments are ours.
    """

    def initialize(
        self,
        request_callback: StartsRequests | RequestCallback,
        no_keep_alive: bool = False,
        xheaders: bool = False,
        ssl_options: SSLOptions | None = None,
        protocol: Literal["http", "https"] | None = None,
        decompress_request: bool = False,
        chunk_size: int | None = None,
        max_header_size: int | None = None,
        idle_connection_timeout: float | None = None,
        body_timeout: float | None = None,
        max_body_size: int | None = None,
        max_buffer_size: int | None = None,
        trusted_downstream: list[str] | None = None,
        *,
        header_timeout: float = library_default("header_timeout"),
        write_timeout: float = library_default("write_timeout"),
        max_header_fields: int = library_default("max_header_fields"),
        max_connections: int | None = None,
        max_connections_per_client: int | None = None,
        max_held: int | None = None,
        trust: TrustPolicy | None = None,
        proxy_protocol: Literal["v1", "v2", "any"] | None = None,
        http2: bool | Literal["only"] = library_default("http2"),
        max_streams: int = library_default("max_streams"),
        max_resets: int = library_default("max_resets"),
        access_log: Callable[[Any], None] | None = None,
        audit_log: AuditLog | None = None,
        https_redirect: bool = False,
        strict_transport_security: str | None = None,
        request_id_header: str | None = None,
        slow_request: float | None = None,
        max_in_flight: int | None = None,
        client_rate: str | None = None,
        client_connections: int | None = None,
    ) -> None:
        """Take the constructor's arguments; see the class."""
        self.http2 = known_http2(http2)
        self.max_connections = connection_limit(max_connections)
        self._capacity = Capacity(
            self.max_connections,
            self._count_opening,
            functools.partial(self.pause_accepting, by="max_connections"),
            functools.partial(self.resume_accepting, by="max_connections"),
        )
        on_begin = self._capacity.count_begun
        self._tls = TLSService(redirect=https_redirect, on_begin=on_begin, alpn=ALPN)
        check_logs(access_log, audit_log)
        policy = trust_of(trust, xheaders=xheaders, trusted_downstream=trusted_downstream)
        if proxy_protocol:
            ProtocolStack.check_prelude(proxy_protocol, policy)
        TCPServer.__init__(
            self,
            ssl_options=ssl_options,
            max_buffer_size=max_buffer_size,
            read_chunk_size=chunk_size,
            proxy_protocol=proxy_protocol,
        )
        self.xheaders = xheaders
        self.protocol = known_protocol(protocol)
        self.trusted_downstream = trusted_downstream
        self.max_connections_per_client = client_limit(max_connections_per_client)
        limits = HTTPLimits(
            no_keep_alive=no_keep_alive,
            decompress_request=decompress_request,
            body_timeout=body_timeout,
            header_timeout=header_timeout,
            write_timeout=write_timeout,
            max_header_fields=max_header_fields,
            max_streams=max_streams,
            max_resets=max_resets,
            **limits_given(
                chunk_size=chunk_size,
                max_header_size=max_header_size,
                idle_connection_timeout=idle_connection_timeout,
                max_buffer_size=max_buffer_size,
                max_held=max_held,
                max_body_size=max_buffer_size if max_body_size is None else max_body_size,
            ),
        )
        request_ids = None if request_id_header is None else RequestIds(request_id_header)
        self._shed_by = {
            "max_in_flight": max_in_flight,
            "client_rate": client_rate,
            "client_connections": client_connections,
        }
        bounds = shedding_options(**self._shed_by)
        self._shedding = Shedding(**bounds) if bounds else None
        slow_s = slow_limit(slow_request)
        self._access_log = access_log
        self._delegate: Any = self._take_callback(request_callback)
        self._join(
            limits,
            self._delegate,
            policy,
            request_ids=request_ids,
            access_log=access_log,
            audit_log=audit_log,
            strict_transport=strict_transport_security,
            # Tornado's programs that say nothing of proxies have no warning of them, either: what
            # strangers send would stand among their own.
            claims_level=logging.INFO if trust is None else logging.WARNING,
        )
        self._always_in_front = request_ids is not None
        self._place_front()
        self._slow: SlowRequests | None = None
        self._watch_slow(slow_s)

    @initialized_by(initialize)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Configurable calls initialize() with the arguments; nothing is left to do.
        pass

    def _join(
        self,
        limits: HTTPLimits,
        delegate: Any,
        policy: TrustPolicy,
        *,
        request_ids: RequestIds | None,
        access_log: Callable[[Any], None] | None,
        audit_log: AuditLog | None,
        strict_transport: str | None,
        claims_level: int,
    ) -> None:
        """Put the rooms together: HTTP with whom it calls and tells, and the stack below it."""
        self._service = HTTPService(
            limits,
            delegate,
            trust=policy,
            access_log=access_log,
            audit_log=audit_log,
            request_ids=request_ids,
            strict_transport=strict_transport,
            protocol=self.protocol,
            on_open=self._capacity.count_begun,
            on_close=self._capacity.count_ended,
        )
        self._capacity.watch(self._service.connections)
        self._stack = ProtocolStack(
            self._service,
            self._tls,
            policy,
            self._capacity.count_begun,
            self.max_connections_per_client,
            claims_level=claims_level,
        )

    def _place_front(self) -> None:
        """Have what is asked for stand before the delegate; nothing where nothing is."""
        service, shedding = self._service, self._shedding
        delegate, access_log = self._delegate, self._access_log
        if self._always_in_front or shedding is not None:
            front = Front(
                delegate,
                request_ids=service.request_ids,
                shedding=shedding,
                access_log=access_log,
            )
            front.count_shed = service.count_shed
            delegate, access_log = front, front.ended
        service.set_delegate(delegate, access_log)
        gate = self._stack.set_client_limit(self.max_connections_per_client)
        if shedding is not None and shedding.connections is not None:
            service.clients = SheddingGate(shedding, gate)

    def _watch_slow(self, limit_s: float | None) -> None:
        """Have it said what requests wait for that run for longer than that; None for of none."""
        service, connections = self._service, self._service.connections
        if self._slow is not None:
            self._slow.limit_s = limit_s
        elif limit_s is not None:
            self._slow = SlowRequests(
                limit_s,
                lambda: [each for connection in connections.open for each in connection.exchanges],
                self._where_is,
            )
            service.keep_times()
            service.on_tick.append(self._slow.look)

    def _take_callback(self, request_callback: Any) -> HTTPServerConnectionDelegate:
        """Keep what requests are given to; return whom the connections call."""
        self.request_callback = request_callback
        delegate = delegate_for(request_callback)
        self._go_away = getattr(delegate, "go_away", None)
        self._where_is = getattr(delegate, "where_is", lambda connection: "")
        self._start_request = delegate.start_request
        self._on_close = getattr(delegate, "on_close", None)
        # A subclass may override start_request, as Tornado allows; else nothing is between.
        overridden = type(self).start_request is not HTTPServer.start_request
        return self if overridden else delegate

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        """Return the top of the hierarchy."""
        return HTTPServer

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        """Return the default implementation."""
        return HTTPServer

    # The stack: a connection is accepted.

    def build_protocol(self, listener: Listener) -> asyncio.Protocol:
        """Return the protocol for a connection that `listener` has accepted."""
        return self._stack.build(listener)

    def _check_ssl_options(self, ssl_options: Mapping[str, Any] | ssl.SSLContext | None) -> None:
        """Read the certificates before any socket is there; see `TCPServer`."""
        if ssl_options is not None:
            self._tls.prepare(ssl_options, self.http2)

    def _loop_ssl(self, listener: Listener) -> None:
        """Make a listener's layers ready; TLS is one of them, not the loop's own."""
        self._stack.prepare(listener)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the delegate for one request; a subclass may wrap it."""
        return self._start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Hear that a connection has closed."""
        if self._on_close is not None:
            self._on_close(server_conn)

    # Who is believed.

    @property
    def trust(self) -> TrustPolicy:
        """The trust policy in force; `TrustPolicy.off()` where no header is read."""
        return self._stack.policy

    def set_trust(self, policy: TrustPolicy, *, listener: Listener | None = None) -> None:
        """Put another trust policy in force, from the next request on, live connections included.

        A listener is warned of on which nobody can be believed any more, as at its start.

        Args:
            policy: The new policy; `TrustPolicy.off()` to read no header.
            listener: One of `listeners`, for whose connections alone it is from now on; None for
                all that were not given one of their own.

        Raises:
            ConfigurationError: A listener expects PROXY preludes, or did, which the policy
                cannot judge.
        """
        require_policy(policy)
        self._stack.set_policy(policy, self.listeners, listener)

    def add_sockets(
        self,
        sockets: Iterable[socket.socket],
        *,
        ssl_options: SSLOptions | None = INHERIT,
        proxy_protocol: Any = INHERIT,
        trust: TrustPolicy = INHERIT,
        http2: Any = INHERIT,
    ) -> None:
        """Accept connections on listening `sockets`, which belong to the server from now on.

        Args:
            sockets: Such as those of `bind_sockets`.
            ssl_options: TLS settings of their connections; None for plain ones.
            proxy_protocol: The PROXY prelude of their connections; None for none.
            trust: Who may say who the client of their connections is, where that is another
                `TrustPolicy` than the server's: `TrustPolicy.off()` for a public port beside a
                private one, say.
            http2: Whether HTTP/2 may be spoken on them: a bool, or `"only"`.

        Raises:
            ValueError: The settings are wrong.
            OSError: A socket cannot be used. After any error nothing is accepted on any of them.
        """
        if trust is not INHERIT:
            require_policy(trust)
        super().add_sockets(
            sockets,
            ssl_options=ssl_options,
            proxy_protocol=proxy_protocol,
            trust=trust,
            http2=http2,
        )

    # Limits.

    def set_limits(self, **limits: Any) -> None:
        """Put other limits in force, from the next head or body on, on open connections, too.

        A connection of HTTP/2 keeps `max_streams`, which its client was told, and `max_resets`.

        Args:
            **limits: Arguments of the constructor: `chunk_size`, `max_header_size`,
                `max_header_fields`, `max_body_size`, `max_buffer_size`, `max_held`,
                `max_connections`, `max_connections_per_client`, `max_in_flight`, `client_rate`,
                `client_connections`, `max_streams`, `max_resets`, `slow_request` and the timeouts.
                What is not given stays as it is.

        Raises:
            ConfigurationError: A limit cannot work; nothing has changed.
            TypeError: There is no such limit, or it cannot change while the server runs.
        """
        most, per_client = self.max_connections, self.max_connections_per_client
        if "max_connections" in limits:
            most = connection_limit(limits.pop("max_connections"))
        if "max_connections_per_client" in limits:
            per_client = client_limit(limits.pop("max_connections_per_client"))
        watches_slow = "slow_request" in limits
        slow_s = slow_limit(limits.pop("slow_request", None))
        shed_by = {name: limits.pop(name, value) for name, value in self._shed_by.items()}
        bounds = shedding_options(**shed_by)
        wrong = limits.keys() & _FIXED_LIMITS
        if wrong:
            raise TypeError(f"{min(wrong)} cannot change while the server runs")
        changed = dataclasses.replace(self._service.limits, **limits)
        self._service.set_limits(changed)
        if watches_slow:
            self._watch_slow(slow_s)
        if most != self.max_connections:
            self.max_connections = most
            self._capacity.set_most(most)
        if (per_client, shed_by) != (self.max_connections_per_client, self._shed_by):
            self.max_connections_per_client, self._shed_by = per_client, shed_by
            self._bound_requests(bounds)
            self._place_front()

    def _bound_requests(self, bounds: dict[str, Any]) -> None:
        """Bound other numbers; what is in flight counts in any case."""
        if not bounds:
            self._shedding = None
        elif self._shedding is not None:
            self._shedding.change(**bounds)
        else:
            self._shedding = Shedding(**bounds)
            for connection in self._service.connections.open:
                self._shedding.adopt(connection.exchanges)

    # Logs.

    def set_access_log(self, access_log: Callable[[Any], None] | None) -> None:
        """Have another hear of each exchange that ends from now on; None for nobody.

        Args:
            access_log: As for the constructor. The one before is the caller's to close.
        """
        check_logs(access_log, None)
        self._access_log = access_log
        self._place_front()

    def set_audit_log(self, audit_log: AuditLog | None) -> None:
        """Have another log get the proof of each request's client from now on; None for none.

        Args:
            audit_log: As for the constructor. The one before is the caller's to close.
        """
        check_logs(None, audit_log)
        self._service.audit_log = audit_log

    # TLS.

    @property
    def tls(self) -> TLSService:
        """The TLS of this server: contexts, handshakes, their status and counts."""
        return self._tls

    async def reload_tls(self) -> tuple[ReloadResult, ...]:
        """Read all certificates, keys and lists again; what is good serves new connections.

        Returns:
            For each set of `ssl_options`, which hosts were replaced and which kept their last
            good files, and why. Nothing raises: a wrong file changes nothing but the status.
        """
        return self._tls.reload()

    def set_tls(self, ssl_options: SSLOptions, *, listener: Listener) -> None:
        """Put other TLS options in force on a listener that has some, for new connections.

        Args:
            ssl_options: As for the constructor.
            listener: One of `listeners`.

        Raises:
            TLSConfigurationError: An option or a file is wrong; nothing has changed.
        """
        self._tls.prepare(ssl_options, listener.http2)
        listener.ssl_options = ssl_options
        self._tls.keep_only([each.ssl_options for each in self.listeners])
        self._tls.start(listener.loop)

    # The end.

    async def close_all_connections(self) -> None:
        """Close every connection, idle or busy, and wait until they are closed.

        Connections that were detached (WebSockets) are the application's, and stay.

        Source: `tornado.httpserver.HTTPServer.close_all_connections`.
        """
        self._stack.preludes.abort_all()
        self._tls.abort_handshakes()
        self._service.connections.close()
        await self._service.connections.wait_empty()

    async def drain(self, timeout: float = 30, *, idle: float = 1.0) -> bool:
        """Stop accepting, wait for what is in flight, then close.

        A client cannot know that the server stops: each connection, those still in their
        handshake too, may bring one more request until it was silent for `idle` seconds. It is
        answered like those in flight, with `Connection: close`. WebSockets are closed with 1012.
        An answer that has begun and does not say its length may never end: after a second its
        application is told that the client has left, and a second later it is cut. What is left
        after `timeout` seconds is cut.

        Args:
            timeout: How many seconds to wait; 0 to cut at once what is in flight.
            idle: How long a connection may be silent before it is closed; 0 to close at once what
                is idle. At most `timeout`.

        Returns:
            Whether everything in flight was finished in time.

        Raises:
            ConfigurationError: `timeout` or `idle` is not a time; nothing was stopped.
        """
        check_timeout(timeout)
        require_seconds("drain(idle)", idle, zero=True)
        if timeout is not None:
            idle = min(idle, max(timeout, 0))
        for listener in self.listeners:
            listener.accept_queued()
        self.stop()
        self._service.drain(idle)
        if self._go_away is not None:
            self._go_away(min(idle, SPREAD_S))
        try:
            # Idle connections have only to hear that they are closed; what was accepted just now is
            # a connection some turns of the event loop later.
            for _ in range(ACCEPTING_TURNS):
                await asyncio.sleep(0)
            async with asyncio.timeout(timeout):
                await self._finish(idle)
        except TimeoutError:
            await self.close_all_connections()
            return False
        return True

    async def _finish(self, idle_s: float) -> None:
        """Wait until no connection is left, and end what would never end by itself."""
        loop = asyncio.get_running_loop()
        opening_until = loop.time() + idle_s
        streams_at = loop.time() + STREAM_S
        told: list[Any] = []
        while self._count_opening() or self._service.connections.open:
            now = loop.time()
            if now >= opening_until:
                self._stack.preludes.abort_all()
                self._tls.abort_handshakes()
            if now >= streams_at:
                streams_at = now + STREAM_S
                for exchange in told:
                    if exchange.is_open_ended:
                        exchange.abort()
                told = self._service.connections.streaming()
                for exchange in told:
                    exchange.leave()
            if self._service.connections.open:
                until = min(streams_at, opening_until) if self._count_opening() else streams_at
                empty = self._service.connections.wait_empty()
                await asyncio.wait([empty], timeout=max(until - now, OPENING_POLL_S))
            else:
                await asyncio.sleep(OPENING_POLL_S)

    def in_flight(self) -> list[str]:
        """Return the requests in flight as people read them: `GET /sse 40 s`."""
        return [
            f"{escape(method, 20)} {escape(target, 80)}" + (f" {age_s:.0f} s" if age_s else "")
            for method, target, age_s in self._service.connections.requests()
        ]

    def stop(self) -> None:
        """Stop listening at once; connections go on. Later calls do nothing."""
        super().stop()
        self._tls.stop()

    @property
    def open_connections(self) -> int:
        """How many connections are open, those in their handshake and detached ones too."""
        return self._capacity.open_connections

    @property
    def opened_connections(self) -> int:
        """How many connections have come as far as HTTP since the start."""
        return self._service.connections.opened

    @property
    def requests_in_flight(self) -> int:
        """How many requests are being served; it looks at each connection."""
        return self._service.connections.in_flight

    def keep_tally(self) -> RequestTally:
        """Return the numbers of requests that have ended since this was first called."""
        return self._service.keep_tally()

    def count_into(self, counters: CounterRow) -> None:
        """Have refusals, and what is shed for want of room, counted in `counters` from now on."""
        self._service.counters = counters

    def sample_chains(self, samples: ChainSamples | None = None) -> ChainSamples:
        """Return what looks at some of the requests, and have it look at the next ones.

        Args:
            samples: What this has returned before; None for the first time.
        """
        if samples is None:
            samples = ChainSamples(self._end_samples, self._service.own_audit_log)
        self._service.audit_log = samples
        return samples

    def _end_samples(self) -> None:
        """Called when enough requests were looked at."""
        self._service.audit_log = self._service.own_audit_log

    @property
    def held_bytes(self) -> int:
        """How many bytes of bodies and messages are held at present; see `max_held`."""
        return self._service.budget.held

    @property
    def shed(self) -> dict[str, int]:
        """How many requests were told to come back later, by the reason.

        They are `max-in-flight`, `client-rate` and `client-connections`; empty where nothing is
        bounded.
        """
        return {} if self._shedding is None else dict(self._shedding.counts)

    def _count_opening(self) -> int:
        """Return how many connections have not come as far as HTTP."""
        return len(self._stack.preludes.layers) + self._tls.handshaking
