"""How an exchange ends, and with it perhaps the connection.

Decides what follows a complete answer, a broken one, a refusal, a failure of the application, a
peer that is late or gone: who is told, what is still written, and whether the connection goes on.
It must not know how requests are read; that is the subclass's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Literal, TypeVar

from edgeserver.errors import HTTPInputError
from edgeserver.http1.body_decoders import BodyDecoder, ChunkedDecoder
from edgeserver.http1.endpoint import HTTP1Endpoint
from edgeserver.http1.exchange import HTTP1Exchange
from edgeserver.http1.output import Wire
from edgeserver.http1.raw_stream import RawStream
from edgeserver.http1.response_head import plain_answer
from edgeserver.http1.state import FRESH, ExchangeState
from edgeserver.httputil.context import ConnectionContext
from edgeserver.httputil.interfaces import HTTPMessageDelegate
from edgeserver.iostream import closed_error
from edgeserver.support.escape import escape
from edgeserver.support.loggers import app_log
from edgeserver.support.preludes import explain_prelude, prelude_version
from edgeserver.transport.handover import replace_layer

__all__ = ["ExchangeEnds", "is_input_error"]

T = TypeVar("T")

RETRY_AFTER: Final = b"Retry-After: 5\r\n"
"""Said with each 503: in so many seconds whoever waited for room has got it, or has let go."""


class ExchangeEnds(Wire):
    """The state of the present request, and all the ways in which it ends.

    Attributes:
        exchange: The present request's; None between requests, and once the answer is complete.
        body_pending: Whether the body of the present request has not been read to its end.
        decoder: What reads the body of the present request; None before and after.
        held_bytes: How many bytes are held for the present request; see `HeldBudget`.
    """

    __slots__ = (
        "_buffer",
        "_delegate",
        "_held",
        "_inside",
        "_position",
        "_request_context",
        "_scheduled",
        "_sent_before",
        "_untaken",
        "body_pending",
        "decoder",
        "exchange",
        "held_bytes",
    )

    def __init__(self, endpoint: HTTP1Endpoint) -> None:
        super().__init__(endpoint)
        self.exchange: HTTP1Exchange | None = None
        self.decoder: BodyDecoder | None = None
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._delegate: HTTPMessageDelegate | None = None
        self._held: asyncio.Future[Any] | None = None
        self.body_pending = False
        self._request_context: Context | None = None
        self._inside = False
        self._scheduled = False
        self._sent_before = 0
        self._untaken = 0
        self.held_bytes = 0

    def _run(self) -> None:
        """Go through the buffer as far as the state allows; the subclass says how."""
        raise NotImplementedError  # the reading half

    def _rest(self) -> None:
        """Set what is waited for; the subclass says how."""
        raise NotImplementedError  # the reading half

    def eof_received(self) -> bool:
        """Hear that the peer will send no more; the subclass says what is still owed."""
        raise NotImplementedError  # the reading half

    def _run_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._run)

    def _in_request(self, call: Callable[..., T], *args: Any) -> T:
        """Call in the context of the present request."""
        context = self._request_context
        if context is None or self._inside:
            return call(*args)
        self._inside = True
        try:
            return context.run(call, *args)
        finally:
            self._inside = False

    def _drop_input(self) -> None:
        self._buffer = b""
        self._position = 0

    def _end_reading(self) -> HTTPMessageDelegate | None:
        """Forget the request that was being read; return who has yet to hear of its end."""
        delegate, self._delegate = self._delegate, None
        self._held = self.decoder = None
        self.body_pending = False
        return delegate

    # As the exchange says.

    def finish_exchange(self, exchange: HTTP1Exchange) -> None:
        """Take the end of an answer: close, or make room for the next request."""
        if self.endpoint.access_log is not None:
            self._log_access(exchange)
        self.exchange = None
        if self.held_bytes:
            self._give_back()
        if self.body_pending:
            # RFC 9112 section 9.3: "a server MUST read the entire request message body or close
            # the connection after sending its response".
            delegate = self._end_reading()
            if delegate is not None:
                # Not at once: the delegate may be in the middle of hearing of its body.
                self.loop.call_soon(self._close_delegate, delegate)
            self.linger()
        elif not exchange.keep_alive or self.endpoint.must_close:
            if self._position < len(self._buffer) and not self._eof:
                self.linger()
            else:
                self.shut()
        elif not self._corked:
            if self._position < len(self._buffer):
                # Never from in here: the next request would run inside this one's finish.
                self._run_soon()
            else:
                self._rest()

    def break_off(self) -> None:
        """End the connection because the answer cannot be completed as it was declared."""
        exchange, self.exchange = self.exchange, None
        self._give_back()
        if exchange is not None:
            self._log_access(exchange)
        if exchange is not None and exchange.until_close:
            self.abort()  # an orderly end would make the cut body look complete
        elif not self._closing:
            self.shut()

    def apply_body_limit(self, max_body_size: int) -> None:
        """Replace the limit of the body that is being read."""
        if isinstance(self.decoder, ChunkedDecoder):
            self.decoder.max_size = max_body_size

    def apply_body_timeout(self, timeout_s: float) -> None:
        """Replace the time limit of the body that is being read."""
        if self.decoder is not None:
            self.deadline = self.loop.time() + timeout_s

    def raw_stream(self, exchange: ExchangeState) -> RawStream | None:
        """Return the bytes below HTTP for `exchange`, or None once it has been detached."""
        return None if self.transport is None else RawStream(self, exchange)

    def detach(self, exchange: ExchangeState, protocol: Any) -> None:
        """Hand the transport to `protocol`; see `HTTPConnection.detach_to`."""
        transport = self.transport
        if transport is None or self.exchange is not exchange or self._closing:
            raise closed_error()
        self.flush()
        leftover = bytes(memoryview(self._buffer)[self._position :])
        paused = self._paused
        self._resume_reading()
        self._log_access(exchange)
        self._leave()
        self.endpoint.detached(protocol)
        replace_layer(transport, protocol, leftover, paused)

    # What is held.

    def hold(self, size: int) -> None:
        """Count `size` bytes more as held for the present request; fewer, where it is negative."""
        self.held_bytes += size
        if size > 0:
            self.endpoint.budget.take(size)
        else:
            self.endpoint.budget.give(-size)

    def let_go(self) -> None:
        """Refuse a body for which there is no room, before it begins or once it has waited."""
        self.endpoint.note_full()
        self._answer_and_close(503, "no room for more bodies at present (max_held): try again")

    def _count_untaken(self, size: int) -> None:
        """Count `size` bytes of input that nobody takes for now, in place of those before."""
        self.hold(size - self._untaken)
        self._untaken = size

    def _give_back(self) -> None:
        """Let the present request hold nothing: it has ended."""
        size, self.held_bytes = self.held_bytes, 0
        self._untaken = 0
        if size:
            self.endpoint.budget.leave(self, size)

    # The end of the connection.

    def close(self) -> None:
        """Close the connection, idle or busy, without waiting for the application."""
        transport = self.transport
        if transport is None:
            return
        if self.exchange is None and not transport.get_write_buffer_size():
            self.shut()
        else:
            self.abort()

    def close_if_idle(self) -> None:
        """Close the connection if nothing is in flight on it."""
        idle = self.exchange is None and self._delegate is None
        if idle and not self._closing and self._position >= len(self._buffer):
            self.shut()

    def _leave(self) -> None:
        """Leave the server: the connection is lost, or somebody else's from now on."""
        self._forget_transport()
        self._closing = True
        self.exchange = None
        self._give_back()
        self._end_reading()
        self._drop_input()
        self._request_context = None
        self.endpoint.closed(self)
        try:
            self.endpoint.delegate.on_close(self)
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)

    def _refuse(self, error: HTTPInputError) -> None:
        """Answer a request that breaks a rule, and read no further."""
        self._log_refusal(error)
        self._answer_and_close(error.status, str(error))

    def _log_refusal(self, error: HTTPInputError) -> None:
        version = prelude_version(self._buffer)
        if version is not None:
            self._log_prelude(version)
            return
        rule = f" ({error.rfc})" if error.rfc else ""
        self.complain("Malformed HTTP message from %s: %s%s", self._render_peer(), error, rule)

    def _log_prelude(self, version: Literal["v1", "v2"]) -> None:
        """Say what was taken for a malformed request: a PROXY header, where none is expected."""
        peer = self._render_peer()
        self.endpoint.complain(
            self.loop.time(),
            peer,
            "connection from %s refused: %s",
            peer,
            explain_prelude(version, peer, after=self.context.prelude is not None),
            level=logging.WARNING,
        )

    def _render_peer(self) -> str:
        # Not the context's client: until a head is resolved that is the one of the request before.
        return self.context.peer

    def _answer_and_close(self, status: int, reason: str) -> None:
        exchange, self.exchange = self.exchange, None
        self._give_back()
        delegate = self._end_reading()
        self._drop_input()
        answer = b""
        if exchange is None or exchange.state == FRESH:
            # RFC 6797 section 7.1: the header is in every answer over a secure transport.
            more = self.endpoint.strict_transport_line if self.context.tls is not None else b""
            if status == 503:
                more += RETRY_AFTER
            answer = plain_answer(status, reason, more)
            if exchange is not None:
                if exchange.method == "HEAD":
                    # RFC 9110 section 9.3.2: "the server MUST NOT send content in the response".
                    answer = answer[: answer.index(b"\r\n\r\n") + 4]
                exchange.status = status
                exchange.bytes_sent += len(answer)
            self._out.append(answer)
        if exchange is not None:
            self._log_access(exchange)
        elif self.endpoint.access_log is not None:
            self._log_access(self._unread_exchange(status, len(answer)))
        if delegate is not None:
            self._in_request(self._close_delegate, delegate)
        if exchange is not None and exchange.until_close:
            self.abort()
        else:
            self.linger()

    def _unread_exchange(self, status: int, sent: int) -> HTTP1Exchange:
        """Return what the access log says of a head that could not be read: `- - -`, and a peer."""
        exchange = HTTP1Exchange(self, "-", "-", "-")
        known = self.context
        # Not the connection's own context: that may still say who the request before was from.
        exchange.context = ConnectionContext(
            known.address, scheme=known.scheme, tls=known.tls, prelude=known.prelude
        )
        exchange.fields = {}
        exchange.lines = None
        exchange.status, exchange.bytes_sent = status, sent
        exchange.started_s = time.perf_counter()
        return exchange

    def _application_failed(self, error: BaseException) -> None:
        """End the connection after an exception of the delegate."""
        if is_input_error(error):
            refusal = _as_input_error(error)
            if self.exchange is not None:
                self._refuse(refusal)
                return
            self._log_refusal(refusal)  # a second answer would be taken for the next request's
        elif not isinstance(error, asyncio.CancelledError):
            app_log.error("Uncaught exception", exc_info=error)
        delegate = self._end_reading()
        if delegate is not None:
            self._close_delegate(delegate)
        self.break_off()

    def _truncated(self) -> None:
        """End a connection whose peer stopped in the middle of a body."""
        delegate = self._end_reading()
        self.break_off()
        if delegate is not None:
            self._in_request(self._close_delegate, delegate)

    def _owe_answer(self, exchange: HTTP1Exchange) -> None:
        """Go on with the answer to a peer that has closed its half, as long as it gets on.

        It may still wait for the answer, but one that went away looks the same: the application is
        told once, and has the time of a write for each piece.
        """
        self._sent_before = exchange.bytes_sent
        self.deadline = self.loop.time() + self.endpoint.settings.write_timeout
        self._in_request(self._tell_exchange, exchange)

    def _waited_too_long(self) -> None:
        if self.exchange is not None and self.decoder is not None:
            self.complain("Timeout reading body from %s", self.context)
            self._answer_and_close(408, "the body did not come in time")
        elif self.exchange is None and self._position < len(self._buffer):
            self.complain("Timeout reading head from %s", self._render_peer())
            self._answer_and_close(408, "the head did not come in time")
        elif self.exchange is not None and self.exchange.bytes_sent > self._sent_before:
            self._owe_answer(self.exchange)
        else:
            self.close()

    def _close_delegate(self, delegate: HTTPMessageDelegate) -> None:
        on_close: Callable[[], object] = delegate.on_connection_close
        try:
            on_close()
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)

    def _tell_exchange(self, exchange: HTTP1Exchange) -> None:
        callback: Callable[[], object] | None = exchange.take_close_callback()
        if callback is None:
            return
        try:
            callback()
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)

    def _log_access(self, exchange: ExchangeState) -> None:
        log = self.endpoint.access_log
        if log is not None and not exchange.ended_s:
            exchange.ended_s = time.perf_counter()
            try:
                log(exchange)
            except Exception:
                app_log.error("Uncaught exception in the access log", exc_info=True)


def is_input_error(error: BaseException) -> bool:
    """Tell whether `error` is an `HTTPInputError`, ours or another package's of that name."""
    return any(cls.__name__ == "HTTPInputError" for cls in type(error).__mro__)


def _as_input_error(error: BaseException) -> HTTPInputError:
    text = str(error)
    if isinstance(error, HTTPInputError) and text.isascii() and text.isprintable():
        return error
    return HTTPInputError(escape(text), status=getattr(error, "status", 400))
