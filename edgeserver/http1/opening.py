"""How a request begins: from a valid head to a delegate that has heard of it.

Decides, in this order, what the head says of its body and of the connection, whether it may be
served here, who its client is, and what of it the application sees. It must not know how heads are
found in the input; that is the subclass's.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http.decompress import DecompressingDelegate, consume_encoding
from edgeserver.http1.body_reader import BodyReading
from edgeserver.http1.endpoint import Auditor, BoundTrust, HTTP1Endpoint, Trust
from edgeserver.http1.exchange import HTTP1Exchange
from edgeserver.http1.framing import (
    CHUNKED,
    parse_body_length,
    parse_connection,
    parse_expect_continue,
)
from edgeserver.http1.head import FieldPairs, Fields, Head, RawFields
from edgeserver.http1.head_cache import KeptFields
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.httputil.startlines import RequestStartLine
from edgeserver.support.escape import escape

__all__ = ["RequestOpening"]

KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))
"""The values of Connection that nearly every client sends, and that change nothing."""

SPECIAL_METHODS: Final = frozenset(("HEAD", "CONNECT"))


class RequestOpening(BodyReading):
    """The opening of one exchange after the other.

    Args:
        endpoint: What all connections of the server share.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
    """

    __slots__ = (
        "_bound",
        "_kept",
        "_make_exchange",
        "_misdirected",
        "_trust",
    )

    def __init__(
        self, endpoint: HTTP1Endpoint, misdirected: Callable[[str, str], bool] | None
    ) -> None:
        super().__init__(endpoint)
        self._misdirected = misdirected
        self._make_exchange: type[HTTP1Exchange] = HTTP1Exchange
        self._trust: Trust | None = None
        self._bound: BoundTrust | None = None
        self._kept: KeptFields | None = None  # from the second request on

    def _begin(self, head: Head) -> None:
        """Open the exchange of one request; runs in the request's own context."""
        method, target, version, lines, fields = head
        pairs = fields.items() if lines is None else lines
        length = 0
        if (
            b"content-length" in fields
            or b"transfer-encoding" in fields
            or self._misdirected is not None
        ):
            declared = self._read_framing(pairs, fields)
            if declared is None:
                return
            length = declared
        endpoint = self.endpoint
        exchange = self.exchange = self._make_exchange(self, method, target, version)
        if (
            (b"connection" in fields and (fields[b"connection"] not in KEEP_ALIVE or lines))
            or length
            or version != "HTTP/1.1"
            or method in SPECIAL_METHODS
        ):
            self._prepare(exchange, length, lines, fields)
        exchange.fields = fields
        exchange.lines = lines
        if endpoint.access_log is not None:
            exchange.started_s = time.perf_counter()
        trust = endpoint.trust
        if trust is not None:
            bound = self._bound
            if bound is None or self._trust is not trust:
                bound = self._bind(trust)
            kept = self._kept
            if kept is not None and fields is not kept.fields:
                kept = None  # this head does not repeat them
            if kept is not None and kept.client is not None:
                client = kept.client
                exchange.fields = kept.visible
                bound.count(client)
            else:
                client = bound.resolve(pairs, fields if lines is None else None)
                if bound.strip is not None:
                    hidden = bound.strip.among(fields)
                    if hidden:
                        exchange.hide_fields(hidden)
                if kept is not None:
                    kept.client, kept.visible = client, exchange.fields
            exchange.trusted = (bound, pairs, client)
            context = self.context
            context.remote_ip = client.remote_ip
            context.protocol = client.protocol
            if endpoint.audit_log is not None:
                self._audit(endpoint.audit_log, exchange, pairs)
        if length or endpoint.take_request is None or endpoint.decompresses:
            self._open(exchange)
            return
        try:
            endpoint.take_request(self, exchange)
        except Exception as error:
            self._application_failed(error)

    def _read_framing(self, pairs: FieldPairs, fields: Fields) -> int | None:
        """Return the length of the body, or None where the head was refused."""
        try:
            length = parse_body_length(pairs)
            if self._misdirected is not None:
                self._check_direction(fields)
        except HTTPInputError as error:
            self._refuse(error)
            return None
        return length

    def _audit(self, audit_log: Auditor, exchange: HTTP1Exchange, pairs: FieldPairs) -> None:
        """Have the proof of the request's client recorded."""
        bound = self._bound
        if bound is not None:
            # Not exchange.explain: what waits must not keep a connection and its buffers.
            explain = functools.partial(bound.report, pairs)
            audit_log.record(
                explain, exchange.method, exchange.target, time.time(), pairs=pairs, bound=bound
            )

    def _open(self, exchange: HTTP1Exchange) -> None:
        """Have a delegate made, and give it the head."""
        endpoint = self.endpoint
        if self.body_pending and not self._may_begin():
            return
        try:
            delegate = endpoint.start_request(self, exchange)
            if endpoint.decompresses and b"content-encoding" in exchange.fields:
                delegate = self._decompress(delegate, exchange)
            self._delegate = delegate
            start_line = RequestStartLine(exchange.method, exchange.target, exchange.version)
            waiting = delegate.headers_received(start_line, exchange.headers)
        except Exception as error:
            self._application_failed(error)
            return
        if waiting is not None:
            self._hold(waiting, self._head_taken)
        else:
            self._head_taken()

    def _prepare(
        self, exchange: HTTP1Exchange, length: int, lines: RawFields | None, fields: Fields
    ) -> None:
        """Note what the head says of the body and of the connection, where that is not plain."""
        self._length = length
        self.body_pending = length != 0
        if length:
            exchange.plain = False
        close, keep_alive = parse_connection(lines, fields)
        if exchange.version == "HTTP/1.0":
            exchange.plain = False
            # RFC 9112 section 6.1: chunked from a 1.0 client may be a misread framing; the
            # connection is closed "even if" the answer would let it go on.
            exchange.keep_alive = keep_alive and not close and length != CHUNKED
        else:
            exchange.keep_alive = not close
            # RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received
            # in an HTTP/1.0 request."
            exchange.upgrades = b"upgrade" in fields
            if b"expect" in fields and length:
                exchange.expects_continue = parse_expect_continue(fields[b"expect"])
        if exchange.method == "CONNECT":
            # RFC 9110 section 9.3.6: a CONNECT that succeeds makes a tunnel of the connection.
            exchange.keep_alive = False
        elif exchange.method == "HEAD":
            exchange.plain = False

    def _bind(self, trust: Trust) -> BoundTrust:
        """Return the policy in force, bound to this connection."""
        context = self.context
        self._trust = trust
        if self._kept is not None:
            self._kept.client = None
        self._bound = trust.bind(
            peer=context.peer,
            peer_port=context.peer_port,
            scheme=context.scheme,
            prelude=context.prelude,
        )
        return self._bound

    def _check_direction(self, fields: Fields) -> None:
        """Refuse a request for a host that TLS would have treated differently.

        Source: RFC 9110 section 7.4, and section 15.5.20 for the status.
        """
        host = fields.get(b"host", b"").decode("latin-1")
        tls = self.context.tls
        if self._misdirected is not None and tls is not None and self._misdirected(tls.host, host):
            raise HTTPInputError(
                f"this connection was made for another host than '{escape(host)}': ask again on a"
                " new one",
                status=421,
                rfc="RFC 9110 section 15.5.20",
            )

    def _decompress(
        self, delegate: HTTPMessageDelegate, exchange: HTTP1Exchange
    ) -> HTTPMessageDelegate:
        """Have the body decompressed before `delegate` gets it, if it is gzip."""
        raw = exchange.raw
        if [value.lower() for name, value in raw if name == b"content-encoding"] != [b"gzip"]:
            return delegate
        settings = self.endpoint.settings
        if exchange.max_body_size is None:
            exchange.max_body_size = settings.max_body_size
        exchange.replace_fields(consume_encoding(raw))
        return DecompressingDelegate(delegate, exchange, settings.chunk_size, self.endpoint.turns)
