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
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, cast

from edgeserver.errors import HTTPInputError
from edgeserver.http1.endpoint import HTTP1Endpoint
from edgeserver.http1.exchange import StrictTransportExchange
from edgeserver.http1.head import Head, check_partial_head, parse_head, parse_lines
from edgeserver.http1.head_cache import KeptFields
from edgeserver.http1.opening import RequestOpening
from edgeserver.http1.output import NEVER
from edgeserver.httputil.context import AF_UNIX, ConnectionContext

__all__ = ["HTTP1Connection"]

BATCH: Final = 64
"""Requests, or pieces of a body, taken before the event loop gets its turn."""

HELD_INPUT: Final = 64 * 1024
"""Bytes of input kept while nobody takes them; beyond that reading pauses."""

SMALL_HEAD: Final = 8192
"""A head up to this many bytes may take the short road through `data_received`."""


class HTTP1Connection(RequestOpening):
    """The protocol of one connection; it is also the `server_conn` that delegates get.

    Args:
        endpoint: What all connections of the server share.
        prelude: The PROXY prelude that came first, or None.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
    """

    __slots__ = (
        "_checked",
        "_connection_context",
        "_keep_after",
        "_prelude",
        "_skipped",
        "_small_head",
    )

    def __init__(
        self,
        endpoint: HTTP1Endpoint,
        prelude: Any = None,
        misdirected: Callable[[str, str], bool] | None = None,
    ) -> None:
        super().__init__(endpoint, misdirected)
        self._checked = 0
        self._skipped = False
        self._prelude = prelude
        self._keep_after = 1  # a client that asks only once leaves nothing behind
        self._small_head = min(endpoint.settings.max_header_size, SMALL_HEAD)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a fresh transport, plain or TLS."""
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        secure = transport.get_extra_info("sslcontext") is not None
        address = transport.get_extra_info("peername")
        self.context = ConnectionContext(
            address,
            scheme=self.endpoint.protocol or ("https" if secure else "http"),
            tls=transport.get_extra_info("tls_info") if secure else None,
            prelude=self._prelude,
        )
        if self.context.tls is not None and self.endpoint.strict_transport_line:
            self._make_exchange = StrictTransportExchange
        self.endpoint.opened(self, self.loop)
        self.deadline = self.endpoint.idle_deadline
        self._ready = self.endpoint.ready_future(self.loop)
        self._connection_context = copy_context()
        if not isinstance(address, tuple):
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.family != AF_UNIX:
                # It was reset before it was accepted, and the event loop cannot say any more who
                # it was. Its request came through all the same, and with no address it would
                # look like one over a Unix socket, which a policy may trust.
                self.abort()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._buffer:
            self._append(data)
            self._run()
            return
        if (
            data
            and data[-1] == 0x0A
            and self.exchange is None
            and self._delegate is None
            and not self._closing
            and len(data) <= self._small_head
        ):
            # What nearly every segment is: one whole head, nobody at work on another. It takes
            # the same steps as the loop, without looking for what cannot be there.
            passing = self._keep_after
            if passing:
                self._keep_after = passing - 1
            else:
                kept = self._kept
                if kept is not None and data.endswith(kept.tail):
                    repeating = kept.read(data)
                    if repeating is not None:
                        self._take(repeating)
                        return
            lines = data.split(b"\r\n")
            if lines[0] and not lines[-1] and not lines[-2]:
                del lines[-2:]
                try:
                    head = parse_lines(lines, self.endpoint.max_header_fields)
                except HTTPInputError:
                    pass  # the loop says what is wrong, if anything: it may be a head and a body
                else:
                    if not passing:
                        self._keep_fields(data, head)
                    self._take(head)
                    return
        self._buffer = data
        self._position = self._checked = 0
        self._run()

    def _keep_fields(self, data: bytes, head: Head) -> None:
        """Keep the fields of a head for the next."""
        kept = self._kept
        if kept is None:
            kept = self._kept = KeptFields()
        self._keep_after = kept.replace(data, head)
        if kept.fields is not None:
            self.endpoint.keeping.add(self)

    def forget_fields(self) -> None:
        """Keep nothing of the last head: no request has come for a while."""
        if self._kept is not None:
            self._kept.forget()

    def _take(self, head: Head) -> None:
        """Serve the one head of a segment."""
        self._skipped = False
        context = self._request_context = self._connection_context.copy()
        self._corked = self._inside = True
        try:
            context.run(self._begin, head)
        finally:
            self._inside = False
            self._uncork()
        if self.exchange is None and self._delegate is None and not self._closing:
            self.deadline = self.endpoint.idle_deadline
        else:
            self._rest()

    def _begin_in_context(self, head: bytes) -> None:
        """Open an exchange in a fresh copy of the connection's context."""
        try:
            parsed = parse_head(head, self.endpoint.max_header_fields)
        except HTTPInputError as error:
            self._refuse(error)
            return
        # Never of the present one: that may be the context of the request before.
        context = self._request_context = self._connection_context.copy()
        self._inside = True
        try:
            context.run(self._begin, parsed)
        finally:
            self._inside = False

    def eof_received(self) -> bool:
        """Hear that the peer will send no more; it may still read."""
        self._eof = True
        if self._closing or self.transport is None:
            return False
        self.flush()  # a transport that is told to close takes nothing more
        if self._scheduled or self._held is not None:
            return self.transport.can_write_eof()
        if self.decoder is not None:
            self._truncated()
            return False
        exchange = self.exchange
        if exchange is None or not self.transport.can_write_eof():
            return False  # nothing is owed; or without half-close there is nobody to answer
        self._owe_answer(exchange)
        return True

    def pause_writing(self) -> None:
        """Hear that the peer does not take what is written: it may ask for no more until then."""
        super().pause_writing()
        if (self.exchange is None or self._corked) and not self._closing:
            self._pause_reading()  # `_rest` resumes it, if the present answer is not complete

    def resume_writing(self) -> None:
        """Hear that the peer has taken what was written."""
        super().resume_writing()
        if self.exchange is None and not self._closing:
            self._run_soon()

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
        closing = self._closing  # a local: what is called below may change it
        if self._corked or self.transport is None:
            return
        if closing:
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
        self._uncork()
        if self._position >= len(self._buffer):
            self._drop_input()
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
            elif self._eof and not self._paused:
                self.shut()  # half a head, and no more will come
            if self._paused:
                self._pause_reading()
            elif self._reading_paused:
                self._resume_reading()
            return
        if self.decoder is not None and self._held is None and self._eof:
            self._truncated()
            return
        if self.decoder is None or not self.body_pending:
            if not self._eof:
                self.deadline = NEVER
            elif self._held is None and self.exchange is not None:
                self._owe_answer(self.exchange)
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
        if start >= len(buffer) or self._paused:
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
