"""One HTTP/1.1 connection: bytes in, delegate calls out, in order.

Decides what is read when: heads, bodies, pipelined requests, back-pressure and refusals. It must
not know how a head is parsed or an answer framed, nor what TLS or an application is.

The rules of the state machine:

- `exchange` is None between requests. It is set when a head is valid, and None again when the
  answer is complete; only then is the next head looked at.
- `decoder` is set while the body of the present request is being read. An answer that is complete
  before its request is ends the connection.
- `_held` is set while the application keeps back more of the body, by an awaitable.
- `_delegate` is set from `headers_received` until it has heard one of `finish` and
  `on_connection_close`.
- One loop, `_run`, goes through the buffer by offset and is never entered twice; what is written
  while it runs goes out in one piece when it rests.
- After a refusal nothing that follows is read as a request: the connection lingers, and closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final, cast

from edgeserver.errors import HTTPInputError
from edgeserver.escaping import escape
from edgeserver.http1.body import ChunkedDecoder, LengthDecoder
from edgeserver.http1.bulk import BulkReader
from edgeserver.http1.decompress import DecompressingDelegate, consume_encoding
from edgeserver.http1.ending import ExchangeEnds
from edgeserver.http1.endpoint import BoundTrust, HTTP1Endpoint, Trust
from edgeserver.http1.exchange import FRESH, HTTP1Exchange
from edgeserver.http1.framing import (
    CHUNKED,
    parse_body_length,
    parse_connection,
    parse_expect_continue,
)
from edgeserver.http1.head import Fields, RawFields, check_partial_head, parse_head
from edgeserver.http1.targets import authority_of
from edgeserver.http1.wire import NEVER
from edgeserver.httputil.context import ConnectionContext
from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.httputil.startlines import RequestStartLine
from edgeserver.log import app_log
from edgeserver.tasks import start_task

__all__ = ["HTTP1Connection"]

BATCH: Final = 64
"""Requests, or pieces of a body, taken before the event loop gets its turn."""

HELD_INPUT: Final = 64 * 1024
"""Bytes of input kept while nobody takes them; beyond that reading pauses."""

BULK_BODY: Final = 64 * 1024
"""What is still to come of a body beyond this is read by a `BulkReader`."""

SMALL_HEAD: Final = 8192
"""A head up to this many bytes may take the short road through `data_received`."""

new_tuple: Final = tuple.__new__
"""Makes a named tuple without the Python function that its class calls for it."""

from_raw: Final = HTTPHeaders.from_raw

KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))
"""The values of Connection that nearly every client sends, and that change nothing."""

SPECIAL_METHODS: Final = frozenset(("HEAD", "CONNECT"))


class HTTP1Connection(ExchangeEnds):
    """The protocol of one connection; it is also the `server_conn` that delegates get.

    Args:
        endpoint: What all connections of the server share.
        prelude: The PROXY prelude that came first, or None.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
    """

    __slots__ = (
        "_bound",
        "_bulk",
        "_checked",
        "_length",
        "_misdirected",
        "_prelude",
        "_skipped",
        "_small_head",
        "_trust",
    )

    def __init__(
        self,
        endpoint: HTTP1Endpoint,
        prelude: Any = None,
        misdirected: Callable[[str, str], bool] | None = None,
    ) -> None:
        super().__init__(endpoint)
        self._misdirected = misdirected
        self._checked = 0
        self._bulk: BulkReader | None = None
        self._skipped = False
        self._length = 0
        self._prelude = prelude
        self._small_head = min(endpoint.settings.max_header_size, SMALL_HEAD)
        self._trust: Trust | None = None
        self._bound: BoundTrust | None = None

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a fresh transport, plain or TLS."""
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        secure = transport.get_extra_info("sslcontext") is not None
        self.context = ConnectionContext(
            transport.get_extra_info("peername"),
            scheme=self.endpoint.protocol or ("https" if secure else "http"),
            tls=transport.get_extra_info("tls_info") if secure else None,
            prelude=self._prelude,
        )
        self.endpoint.opened(self, self.loop)
        self.deadline = self.endpoint.idle_deadline
        self._ready = self.endpoint.ready_future(self.loop)

    def data_received(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._position < len(self._buffer):
            self._append(data)
            self._run()
            return
        end = data.find(b"\r\n\r\n")
        if (
            0 < end == len(data) - 4
            and self.exchange is None
            and self._delegate is None
            and not self._closing
            and end < self._small_head
            and data[0] != 0x0D
        ):
            # What nearly every segment is: one whole head, nobody at work on another. It takes
            # the same steps as the loop, without looking for what cannot be there.
            self._skipped = False
            self._corked = True
            self._begin_in_context(data[:end])
            self._corked = False
            out = self._out
            if len(out) == 1 and self.transport is not None:
                self._out_size = 0
                self.transport.write(out.pop())
            else:
                self.flush()
            if self.exchange is None and self._delegate is None and not self._closing:
                self.deadline = self.endpoint.idle_deadline
            else:
                self._rest()
            return
        self._buffer = data
        self._position = self._checked = 0
        self._run()

    def _begin_in_context(self, head: bytes) -> None:
        """Open an exchange in a fresh copy of the connection's context."""
        context = self._request_context = copy_context()
        self._inside = True
        context.run(self._begin, head)
        self._inside = False

    def eof_received(self) -> bool:
        """Hear that the peer will send no more; it may still read."""
        self._eof = True
        if self._closing or self.transport is None:
            return False
        if self._scheduled or self._held is not None:
            return self.transport.can_write_eof()
        if self.decoder is not None:
            self._truncated()
            return False
        exchange = self.exchange
        if exchange is None or not self.transport.can_write_eof():
            return False  # nothing is owed; or without half-close there is nobody to answer
        # A peer that has only closed its half still waits for the answer, but one that went away
        # looks the same: the application is told once, and the answer has its time.
        self.deadline = self.loop.time() + self.endpoint.settings.write_timeout
        self._in_request(self._tell_exchange, exchange)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is gone, however it went."""
        if self.transport is None:
            return
        exchange, delegate = self.exchange, self._delegate
        self.transport = None  # whoever is told now finds the connection closed
        if delegate is not None:
            self._in_request(self._close_delegate, delegate)
        elif exchange is not None:
            self._in_request(self._tell_exchange, exchange)
        if exchange is not None:
            self._log_access(exchange)
        self._leave()

    # The loop.

    def _run(self) -> None:
        """Go through the buffer as far as the state allows, then rest."""
        self._scheduled = False
        if self._corked or self.transport is None:
            return
        if self._closing:
            self._discard_input()
            return
        self._corked = True
        taken = 0
        while (
            self._next_request()
            if self.exchange is None and self._delegate is None
            else self._next_piece()
        ):
            if self._closing or self.transport is None:
                break
            taken += 1
            if taken == BATCH:
                self._run_soon()
                break
        self._corked = False
        if self._out:
            self.flush()
        self._rest()

    def _rest(self) -> None:
        """Set what is waited for, now that the loop can go no further."""
        if self._closing or self.transport is None or self._scheduled:
            return
        if self.exchange is None and self._delegate is None:
            if self._position >= len(self._buffer):
                self._drop_input()
                self.deadline = self.endpoint.idle_deadline
                if self._eof or self.endpoint.draining:
                    self.shut()
            elif self._eof:
                self.shut()  # half a head, and no more will come
            if self._reading_paused:
                self._resume_reading()
            return
        if self.decoder is not None and self._held is None and self._eof:
            self._truncated()
            return
        if not self._body_pending and not self._eof:
            self.deadline = NEVER
        elif self._bulk is None and self._position >= len(self._buffer):
            self._consider_bulk()
        untaken = len(self._buffer) - self._position > HELD_INPUT
        if self._held is not None:
            untaken = untaken or self._bulk is not None
        elif self.decoder is not None:
            untaken = False
        if untaken:
            self._pause_reading()
        elif self._reading_paused:
            self._resume_reading()

    def _append(self, data: bytes) -> None:
        buffer = self._buffer
        if type(buffer) is bytearray:
            if self._position:
                del buffer[: self._position]
        else:
            buffer = self._buffer = bytearray(memoryview(buffer)[self._position :])
        self._checked = max(self._checked - self._position, 0)
        self._position = 0
        buffer += data

    def _discard_input(self) -> None:
        size = len(self._buffer) - self._position
        self._drop_input()
        if self._linger_left and size:
            self._drain_input(size)

    # Heads.

    def _next_request(self) -> bool:
        """Take the next head from the buffer; say whether there was one."""
        buffer = self._buffer
        start = self._position
        if start >= len(buffer):
            return False
        if buffer[start] == 0x0D and not self._skipped and buffer.startswith(b"\r\n", start):
            # RFC 9112 section 2.2: "a server that is expecting to receive and parse a
            # request-line SHOULD ignore at least one empty line (CRLF) received prior".
            self._skipped = True
            self._position = start = start + 2
            if start >= len(buffer):
                return False
        end = buffer.find(b"\r\n\r\n", max(start, self._checked - 4))
        limit = self.endpoint.settings.max_header_size
        if (end if end >= 0 else len(buffer)) - start > limit:
            self._refuse(
                HTTPInputError(
                    f"request head over {limit} bytes (max_header_size)",
                    status=431,
                    rfc="RFC 6585 section 5",
                )
            )
            return False
        if end < 0:
            self._wait_for_head(start)
            return False
        self._position = end + 4
        head = buffer[start:end]
        if type(head) is not bytes:
            head = bytes(head)
        self._skipped = False
        self._begin_in_context(head)
        return True

    def _wait_for_head(self, start: int) -> None:
        """Refuse what can be no head already; else see that the rest comes in time."""
        buffer = self._buffer
        if self._checked <= start:
            self._checked = start
            self.deadline = self.loop.time() + self.endpoint.settings.header_timeout
        try:
            self._checked = check_partial_head(buffer, start, self._checked)
        except HTTPInputError as error:
            self._refuse(error)

    def _begin(self, head: bytes) -> None:
        """Open the exchange of one request; runs in the request's own context."""
        endpoint = self.endpoint
        try:
            method, target, version, raw, fields = parse_head(head, endpoint.max_header_fields)
            length = 0
            if b"content-length" in fields or b"transfer-encoding" in fields:
                length = parse_body_length(raw)
            if self._misdirected is not None:
                self._check_direction(target, fields)
        except HTTPInputError as error:
            self._refuse(error)
            return
        exchange = self.exchange = HTTP1Exchange(self, method, target, version)
        unique = len(fields) == len(raw)
        if (
            (b"connection" in fields and not (fields[b"connection"] in KEEP_ALIVE and unique))
            or length
            or version != "HTTP/1.1"
            or method in SPECIAL_METHODS
        ):
            self._prepare(exchange, length, raw, fields)
        trust = endpoint.trust
        if trust is not None:
            bound = self._bound
            if bound is None or self._trust is not trust:
                bound = self._bind(trust)
            client = bound.resolve(raw, fields if unique else None)
            exchange.trusted = (bound, raw, client)
            context = self.context
            context.remote_ip = client.remote_ip
            context.protocol = client.protocol
            if bound.strip:
                visible = bound.visible(raw, fields)
                unique = unique and visible is raw
                raw = visible
        delegate = None
        try:
            delegate = endpoint.start_request(self, exchange)
            if endpoint.decompresses and b"content-encoding" in fields:
                raw, delegate = self._decompress(raw, fields, delegate, exchange)
                unique = False
            headers = from_raw(raw, fields if unique else None)
            if endpoint.access_log is not None:
                exchange.headers = headers
                exchange.started_s = self.loop.time()
            self._delegate = delegate
            waiting = delegate.headers_received(
                new_tuple(RequestStartLine, (method, target, version)), headers
            )
            if waiting is None and not length and self.exchange is not None:
                self._delegate = None
                delegate.finish()
                return
        except Exception as error:
            self._delegate = delegate
            self._application_failed(error)
            return
        if waiting is not None:
            self._hold(waiting, self._head_taken)
        else:
            self._head_taken()

    def _prepare(
        self, exchange: HTTP1Exchange, length: int, raw: RawFields, fields: Fields
    ) -> None:
        """Note what the head says of the body and of the connection, where that is not plain."""
        self._length = length
        self._body_pending = length != 0
        close, keep_alive = parse_connection(raw)
        if exchange.version == "HTTP/1.0":
            exchange.plain = False
            # RFC 9112 section 6.1: chunked from a 1.0 client may be a misread framing; the
            # connection is closed "even if" the answer would let it go on.
            exchange.keep_alive = keep_alive and not close and length != CHUNKED
        else:
            exchange.keep_alive = not close
            if b"expect" in fields and length:
                exchange.expects_continue = parse_expect_continue(fields[b"expect"])
                exchange.plain = not exchange.expects_continue
        if exchange.method == "CONNECT":
            # RFC 9110 section 9.3.6: a CONNECT that succeeds makes a tunnel of the connection.
            exchange.keep_alive = False
        elif exchange.method == "HEAD":
            exchange.plain = False

    def _bind(self, trust: Trust) -> BoundTrust:
        """Return the policy in force, bound to this connection."""
        context = self.context
        self._trust = trust
        self._bound = trust.bind(
            peer=context.peer,
            peer_port=context.peer_port,
            scheme=context.scheme,
            prelude=context.prelude,
        )
        return self._bound

    def _check_direction(self, target: str, fields: Fields) -> None:
        """Refuse a request for a host that TLS would have treated differently.

        Source: RFC 9110 section 7.4, and section 15.5.20 for the status.
        """
        host = authority_of(target) or fields.get(b"host", b"").decode("latin-1")
        tls = self.context.tls
        if self._misdirected is not None and tls is not None and self._misdirected(tls.host, host):
            raise HTTPInputError(
                f"this connection was made for another host than '{escape(host)}': ask again on a"
                " new one",
                status=421,
                rfc="RFC 9110 section 15.5.20",
            )

    def _decompress(
        self,
        raw: RawFields,
        fields: Fields,
        delegate: HTTPMessageDelegate,
        exchange: HTTP1Exchange,
    ) -> tuple[RawFields, HTTPMessageDelegate]:
        if fields[b"content-encoding"].lower() != b"gzip":
            return raw, delegate
        settings = self.endpoint.settings
        if exchange.max_body_size is None:
            exchange.max_body_size = settings.max_body_size
        return consume_encoding(raw), DecompressingDelegate(delegate, exchange, settings.chunk_size)

    # Bodies.

    def _head_taken(self) -> None:
        """Go on after `headers_received` has let us."""
        if self._body_pending:
            self._begin_body()
        else:
            self._end_request()

    def _begin_body(self) -> None:
        exchange = self.exchange
        if exchange is None or self._closing:
            return  # answered already, or detached
        settings = self.endpoint.settings
        most = settings.max_body_size if exchange.max_body_size is None else exchange.max_body_size
        if self._length == CHUNKED:
            self.decoder = ChunkedDecoder(
                most, settings.max_header_size, settings.max_header_fields
            )
        elif self._length > most:
            self._refuse(
                HTTPInputError(
                    f"Content-Length too long: {self._length} bytes are more than {most}"
                    " (max_body_size)",
                    status=413,
                    rfc="RFC 9110 section 15.5.14",
                )
            )
            return
        else:
            self.decoder = LengthDecoder(self._length)
        if exchange.expects_continue and exchange.state == FRESH:
            exchange.expects_continue = False
            if self._position >= len(self._buffer):
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n", False)
        timeout = exchange.body_timeout
        if timeout is None:
            timeout = settings.body_timeout
        self.deadline = NEVER if timeout is None else self.loop.time() + timeout

    def _next_piece(self) -> bool:
        """Give the application the next piece of the body; say whether to go on."""
        decoder = self.decoder
        if decoder is None or self._held is not None:
            return False
        start = self._position
        try:
            piece, self._position = decoder.feed(
                self._buffer, start, self.endpoint.settings.chunk_size
            )
        except HTTPInputError as error:
            self._refuse(error)
            return False
        if decoder.complete:
            self._body_pending = False
        if piece:
            self._in_request(self._deliver, piece)
        elif decoder.complete:
            self._in_request(self._end_request)
        return self._position > start and self._held is None

    def _deliver(self, piece: bytes) -> None:
        delegate, decoder = self._delegate, self.decoder
        if delegate is None or decoder is None:
            return
        try:
            waiting = delegate.data_received(piece)
        except Exception as error:
            self._application_failed(error)
            return
        if waiting is not None:
            self._hold(waiting, self._piece_taken)
        elif decoder.complete and self.decoder is decoder:
            self._end_request()

    def _piece_taken(self) -> None:
        """Go on after `data_received` has let us."""
        if self.decoder is not None and self.decoder.complete:
            self._end_request()

    def _end_request(self) -> None:
        """Tell the delegate that its request is complete."""
        delegate, self._delegate = self._delegate, None
        self.decoder = None
        if delegate is None:
            return
        if self.exchange is None:
            self._close_delegate(delegate)  # it has answered already
            return
        try:
            delegate.finish()
        except Exception as error:
            self._delegate = delegate
            self._application_failed(error)

    # Bodies in bulk.

    def _consider_bulk(self) -> None:
        """Have the rest of a long body read by a `BulkReader`."""
        decoder = self.decoder
        if (
            type(decoder) is LengthDecoder
            and decoder.remaining > BULK_BODY
            and self.transport is not None
            and self.context.tls is None
        ):
            self._drop_input()
            self._bulk = BulkReader(self, self.endpoint.bulk_buffer())
            self.transport.set_protocol(self._bulk)

    def bulk_room(self) -> int:
        """Return how many bytes may be read at once."""
        decoder = self.decoder
        most = self.endpoint.settings.chunk_size
        return min(decoder.remaining, most) if type(decoder) is LengthDecoder else most

    def bulk_received(self, piece: bytes) -> None:
        """Take a piece that the `BulkReader` has read."""
        decoder = self.decoder
        if type(decoder) is not LengthDecoder or self._closing:
            self._end_bulk()
            self.data_received(piece)
            return
        decoder.take(len(piece))
        if decoder.complete:
            self._end_bulk()
            self._body_pending = False
        self._corked = True
        self._in_request(self._deliver, piece)
        self._corked = False
        self.flush()
        self._rest()

    def _end_bulk(self) -> None:
        bulk, self._bulk = self._bulk, None
        transport = self.transport
        if transport is not None and transport.get_protocol() is bulk:
            transport.set_protocol(self)

    # Waiting for the application.

    def _hold(self, waiting: Awaitable[None], go_on: Callable[[], None]) -> None:
        """Read no more of the body until `waiting` is done, then `go_on`."""
        if asyncio.iscoroutine(waiting):
            future: asyncio.Future[Any] = start_task(waiting, self.loop)
        else:
            future = asyncio.ensure_future(waiting)
        if future.done() and not future.cancelled() and future.exception() is None:
            go_on()
            return
        self._held = future

        def done(future: asyncio.Future[Any]) -> None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            if self._held is not future:
                if error is not None and not isinstance(error, asyncio.CancelledError):
                    app_log.error("Uncaught exception", exc_info=error)
                return
            self._held = None
            if error is None:
                self._in_request(go_on)
            else:
                self._in_request(self._application_failed, error)
            if self.transport is not None:
                self._run()

        future.add_done_callback(done)

    def _in_request(self, call: Callable[..., None], *args: Any) -> None:
        """Call in the context of the present request."""
        context = self._request_context
        if context is None:
            call(*args)
            return
        try:
            context.run(call, *args)
        except RuntimeError as error:
            if "cannot enter context" not in str(error):
                raise
            call(*args)  # we are in it already
