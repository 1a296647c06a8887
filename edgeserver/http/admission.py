"""Request admission: from a valid head to a delegate.

Decides, for whatever version of HTTP, whether a request may be served here, who its client is, what
of it the application sees, that its proof is recorded, and which delegate hears it. It must not
know how heads are read nor how answers are framed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from edgeserver.errors import HTTPInputError
from edgeserver.http.decompress import DecompressingDelegate, consume_encoding
from edgeserver.http.exchange import Exchange
from edgeserver.http.protocols import Auditor, BoundTrust, Trust
from edgeserver.http.service import HTTPService, TrustSource
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.support.escape import escape
from edgeserver.support.spelling import spelled

__all__ = ["Admission", "NoRoomError", "too_long"]


class NoRoomError(Exception):
    """There is no room for another body at present (`max_held`): to be told with 503."""


class Admission:
    """The admission of the requests of one connection, however many of them are open at once.

    Args:
        service: What all connections of the server share.
        server_conn: What delegates are told to know the connection by.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
        believed: Who is believed on this connection; None for whom the service believes.

    Attributes:
        believed: Who is believed on this connection.
        info: Who is at the other end; set when that is known, before the first request.
    """

    __slots__ = (
        "_bound",
        "_client",
        "_fields",
        "_server_conn",
        "_service",
        "_trust",
        "_visible",
        "believed",
        "info",
        "misdirected",
    )

    info: ConnectionInfo
    _bound: BoundTrust  # `_trust`, bound to this connection

    def __init__(
        self,
        service: HTTPService,
        server_conn: object,
        misdirected: Callable[[str, str], bool] | None = None,
        believed: TrustSource | None = None,
    ) -> None:
        self.misdirected = misdirected
        self.believed = service.believed if believed is None else believed
        self._service = service
        self._server_conn = server_conn
        self._trust: Trust | None = None  # the policy in force at the last request
        self._fields: dict[bytes, bytes] | None = None  # those of a head that may be repeated
        self._client: Any = None  # who has sent them; None where that is not decided
        # What of them the application sees, where that is not all.
        self._visible: dict[bytes, bytes] | None = None

    def check_direction(self, fields: dict[bytes, bytes]) -> None:
        """Refuse a request for a host that TLS would have treated differently.

        Raises:
            HTTPInputError: It is one (421).

        Source: RFC 9110 section 7.4, and section 15.5.20 for the status.
        """
        tls = self.info.tls
        if self.misdirected is None or tls is None:
            return
        host = fields.get(b"host", b"").decode("latin-1")
        if self.misdirected(tls.host, host):
            raise HTTPInputError(
                f"this connection was made for another host than '{escape(host)}': ask again on a"
                " new one",
                status=421,
                rfc="RFC 9110 section 15.5.20",
            )

    def admit(self, exchange: Exchange, body_size: int) -> HTTPMessageDelegate | None:
        """Find out whose request it is, and give it to the application; in the request's context.

        Args:
            exchange: The request; its head is valid.
            body_size: How long its body is; negative where only its end can say, 0 without one.

        Returns:
            The delegate that is to hear the head, the body and the end; None where the
            application has the whole request already.

        Raises:
            HTTPInputError: Its body is too long (413).
            NoRoomError: There is no room for a body.
            Exception: Whatever the application raises.
        """
        service = self._service
        trust = self.believed.trust
        if trust is not None:
            bound = self._bound if trust is self._trust else self._bind(trust, exchange)
            client, fields = self._client, exchange.fields
            if client is not None and fields is self._fields:
                bound.count(client)
                if self._visible is not None:
                    exchange.fields = self._visible
            else:
                client = bound.resolver.resolve(exchange.lines, fields)
                strip = bound.strip
                if strip is not None:
                    hidden = strip.among(fields)
                    if hidden:
                        exchange.hide_fields(hidden)
                if fields is self._fields:
                    self._client = client
                    self._visible = None if exchange.fields is fields else exchange.fields
            exchange.client = client
            exchange.bound = bound
            exchange.remote_ip = client.remote_ip
            exchange.protocol = client.protocol
            if service.audit_log is not None:
                self._audit(service.audit_log, exchange, bound)
        else:
            exchange.client = exchange.bound = None
            exchange.remote_ip = self.info.peer_ip
            exchange.protocol = self.info.scheme
        take_request = service.take_request
        if body_size or take_request is None:
            return self._make_delegate(exchange, body_size)
        take_request(self._server_conn, exchange)
        return None

    def remember(self, fields: dict[bytes, bytes] | None) -> None:
        """Decide only once on these very fields: the connection's next heads may repeat them."""
        self._fields = fields
        self._client = self._visible = None

    def _make_delegate(self, exchange: Exchange, body_size: int) -> HTTPMessageDelegate:
        service = self._service
        if body_size:
            limit = service.limits.max_body_size
            if service.keeps_limits and body_size > limit:
                raise too_long(body_size, limit)
            if service.budget.exceeded:
                raise NoRoomError
        delegate = service.start_request(self._server_conn, exchange)
        if service.decompresses and b"content-encoding" in exchange.fields:
            delegate = self._decompress(delegate, exchange)
        return delegate

    def _audit(self, audit_log: Auditor, exchange: Exchange, bound: BoundTrust) -> None:
        """Have the proof of the request's client recorded."""
        ids = self._service.request_ids
        if ids is not None:
            ids.give(exchange)
        pairs = exchange.head_pairs
        # Not exchange.explain: what waits must not keep a connection and its buffers.
        explain = functools.partial(bound.report, pairs)
        audit_log.record(
            explain,
            exchange.method,
            exchange.target,
            time.time(),
            pairs=pairs,
            bound=bound,
            policy=self._trust,
            request_id=exchange.request_id,
        )

    def _bind(self, trust: Trust, exchange: Exchange) -> BoundTrust:
        """Return the policy in force, bound to this connection, of which this is a request."""
        info = self.info
        self._client = None
        bound = self._bound = trust.bind(
            peer=info.peer, peer_port=info.peer_port, scheme=info.scheme, prelude=info.prelude
        )
        self._trust = trust
        bound.begin(exchange.fields)
        return bound

    def _decompress(self, delegate: HTTPMessageDelegate, exchange: Exchange) -> HTTPMessageDelegate:
        """Have the body decompressed before `delegate` gets it, if it is gzip."""
        raw = exchange.raw
        if [value.lower() for name, value in raw if name == b"content-encoding"] != [b"gzip"]:
            return delegate
        limits = self._service.limits
        if exchange.max_body_size is None:
            exchange.max_body_size = limits.max_body_size
        exchange.replace_fields(consume_encoding(raw))
        return DecompressingDelegate(delegate, exchange, limits.chunk_size, self._service.turns)


def too_long(length: int, most: int) -> HTTPInputError:
    """Return the refusal of a body that declares more bytes than it may have."""
    return HTTPInputError(
        f"Content-Length too long: {length} bytes are more than {most}"
        f" ({spelled('max_body_size')})",
        status=413,
        rfc="RFC 9110 section 15.5.14",
    )
