"""A stream: one request as it comes in, and what follows its answer.

Decides which piece of a body the application gets when, what holds it back, and what a refusal or a
failure of one request means: its stream ends, and no other hears of it. It must not know frames nor
the other streams.

The states, and what leads from one to the next:

- `reading` until the request's END_STREAM has come.
- `_delivery` is set while a delegate has yet to hear one of `finish` and `on_connection_close`; it
  is `held` while the application's awaitable is pending. What comes meanwhile waits in `_untaken`,
  at most as much as the credit that the peer has.
- `tunnel` is set from the handshake of a WebSocket on, `is_detached` from when it was accepted and
  handed over: what comes is its then, and the stream is over when both directions have ended.
- `is_over` once the answer has left, or the stream was reset: the connection forgets it then.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Protocol, TypeVar

from edgeserver.errors import HTTPInputError, HTTPOutputError
from edgeserver.http.admission import Admission, NoRoomError, too_long
from edgeserver.http.delivery import Delivery
from edgeserver.http.exchange import DONE, FRESH, Exchange
from edgeserver.http.input_errors import as_input_error, is_input_error, render_rfc
from edgeserver.http.semantics import parse_expect_continue
from edgeserver.http.service import HTTPService
from edgeserver.http2.errors import CANCEL, INTERNAL_ERROR, PROTOCOL_ERROR, StreamError
from edgeserver.http2.exchange import HTTP2Exchange
from edgeserver.http2.extended_connect import as_handshake
from edgeserver.http2.head import RequestHead
from edgeserver.http2.hpack.encoder import Encoder
from edgeserver.http2.limits import STREAM_CREDIT
from edgeserver.http2.outgoing import Outgoing
from edgeserver.http2.sender import FrameSender
from edgeserver.http2.shared import HTTP2Shared
from edgeserver.http2.tunnel import Tunnel
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.iostream import closed_error
from edgeserver.support.held import HeldShare
from edgeserver.support.loggers import app_log

__all__ = ["Stream", "StreamHost"]

T = TypeVar("T")

NEVER: Final = math.inf

UNKNOWN_LENGTH: Final = -1

RETRY_AFTER: Final = (b"retry-after", b"5")
"""Said with each 503: in so many seconds whoever waited for room has got it, or has let go."""


class StreamHost(Protocol):
    """What a stream asks of its connection."""

    def reset_stream(self, stream: Any, code: int) -> None:
        """End a stream at once, and tell the peer why."""
        ...

    def stream_over(self, stream: Any) -> None:
        """Called when the answer has left."""
        ...

    def give_credit(self, stream: Any, size: int) -> None:
        """Called when the application has taken `size` bytes of a body."""
        ...

    def tunnel_wrote(self) -> None:
        """Called when something was written to a stream that is HTTP's no more."""
        ...


class Stream:
    """One request; the owner of its exchange.

    Args:
        stream_id: Its number.
        host: The connection.
        service: What all connections of the server share.
        sender: Where its frames go.
        info: Who is at the other end.
        context: What the application is called in.

    Attributes:
        stream_id: The same.
        exchange: The request's; not there any more once the stream is over.
        out: What the sender knows of it; None as long as nobody has asked for it.
        priority: Urgency, and whether it takes turns; None where nothing was said.
        reading: Whether more of the request may come.
        is_over: Whether the connection has forgotten it.
        is_detached: Whether it is HTTP's no more.
        credit: How many bytes of a body the peer may still send.
        tunnel: What a WebSocket is handed, or one that is asked for; None for other requests.
        untold: How many the application has taken of which the peer has not been told.
        withheld: How many the connection has no credit for until the application takes them.
        deadline: When the body has to be there, in loop seconds.
    """

    __slots__ = (
        "_begun",
        "_context",
        "_delivered",
        "_delivery",
        "_host",
        "_info",
        "_inside",
        "_length",
        "_owed",
        "_received",
        "_sender",
        "_service",
        "_share",
        "_untaken",
        "credit",
        "deadline",
        "exchange",
        "is_detached",
        "is_over",
        "out",
        "priority",
        "reading",
        "stream_id",
        "tunnel",
        "untold",
        "withheld",
    )

    # When it is over: each has the other, and the memory of both would wait for a collector.
    __deletable__ = ("exchange",)

    exchange: HTTP2Exchange

    def __init__(
        self,
        stream_id: int,
        host: StreamHost,
        service: HTTPService,
        sender: FrameSender,
        info: ConnectionInfo,
        context: Context,
    ) -> None:
        self.stream_id = stream_id
        self.out: Outgoing | None = None
        self.priority: tuple[int, bool] | None = None
        self.reading = False
        self.is_over = False
        self.is_detached = False
        self.credit = STREAM_CREDIT
        self.untold = 0
        self.withheld = 0
        self.deadline = NEVER
        self._share: HeldShare | None = None  # what is held for the request
        self._host = host
        self._service = service
        self._sender = sender
        self._info = info
        self._context = context
        self._inside = False  # whether that is entered
        self._delivery: Delivery | None = None  # to who hears the request
        self._begun = False  # whether the delegate takes the body
        self._length = UNKNOWN_LENGTH  # of the body, as declared
        self._received = 0  # how much of it has come
        self._delivered = 0  # how much of that was given to the application
        self._owed = 0  # how much of that is credit once the application goes on
        self._untaken: bytearray | None = None  # what nobody takes for now
        self.tunnel: Tunnel | None = None

    # The request begins.

    def begin(
        self,
        head: RequestHead,
        ends: bool,
        admission: Admission,
        encoder: Encoder,
        shared: HTTP2Shared,
    ) -> None:
        """Give the request to the application.

        Args:
            head: What it says.
            ends: Whether nothing follows.
            admission: The connection's.
            encoder: The connection's.
            shared: What the server's connections share.

        Raises:
            StreamError: It declares a body and has none.
        """
        self.reading = not ends
        self._length = head.length
        if ends and head.length > 0:
            raise self._wrong_length()
        self.exchange = HTTP2Exchange(
            self, self._sender, self.stream_id, encoder, shared, self._info, head
        )
        self._inside = True
        try:
            self._context.run(self._begin, admission, head, ends)
        finally:
            self._inside = False

    def _begin(self, admission: Admission, head: RequestHead, ends: bool) -> None:
        exchange = self.exchange
        if self._service.timed:
            exchange.started_s = time.perf_counter()
        if not ends and b"expect" in head.fields:
            exchange.expects_continue = parse_expect_continue(head.fields[b"expect"])
        if head.protocol or admission.misdirected is not None:
            # Until it is admitted nobody knows whose it is.
            exchange.client = exchange.bound = None
            exchange.remote_ip, exchange.protocol = self._info.peer_ip, self._info.scheme
            if head.protocol and not self._begin_handshake(head):
                return
            if not self._is_directed(admission, head):
                return
        size = 0
        if not ends and self.tunnel is None:
            size = head.length if head.length > 0 else UNKNOWN_LENGTH
        try:
            delegate = admission.admit(exchange, size)
        except NoRoomError:
            self.let_go()
            return
        except Exception as error:
            self.application_failed(error)
            return
        if delegate is not None:
            delivery = self._delivery = Delivery(delegate, self, self._sender.output.loop)
            if delivery.give_head(exchange):
                self._head_taken()

    def _begin_handshake(self, head: RequestHead) -> bool:
        """Have the application see the handshake of a WebSocket; say whether it is one."""
        exchange = self.exchange
        try:
            lines = as_handshake(head, served=self._service.serves_websockets)
        except HTTPInputError as error:
            self.refuse(error)
            return False
        exchange.begin_handshake(lines)
        self.tunnel = Tunnel(self, self._sender, self.outgoing(), self._service.budget)
        if not self.reading:
            self.tunnel.receive_eof()
        return True

    def _is_directed(self, admission: Admission, head: RequestHead) -> bool:
        try:
            admission.check_direction(head.fields)
        except HTTPInputError as error:
            self.refuse(error)
            return False
        return True

    def _head_taken(self) -> None:
        """Called when the application has taken the head."""
        if self.is_over or self._delivery is None:
            return
        exchange = self.exchange
        if exchange.state == DONE:
            return
        if self.tunnel is None and (self.reading or self._untaken):
            most = self._most()
            if self._length > most:
                self.refuse(too_long(self._length, most))
                return
            if exchange.expects_continue and exchange.state == FRESH:
                exchange.expects_continue = False
                if not self._received:
                    exchange.write_headers(("", 100, ""), [])
            timeout = exchange.body_timeout
            if timeout is None:
                timeout = self._service.limits.body_timeout
            if timeout is not None:
                self.deadline = self._sender.output.loop.time() + timeout
        self._begun = True
        self._deliver()

    def _most(self) -> int:
        most = self.exchange.max_body_size
        return self._service.limits.max_body_size if most is None else most

    # Its body.

    def receive(self, data: bytes) -> None:
        """Take a piece of the body.

        Raises:
            StreamError: It is more than was declared.
        """
        size = len(data)
        if self.tunnel is not None:
            self.in_request(self.tunnel.receive, data)
            return
        self._received += size
        if 0 <= self._length < self._received:
            raise self._wrong_length()
        if self._delivery is None:
            return  # answered already: nobody takes it, and the peer gets no credit for more
        if self._untaken is None:
            if self._takes_more() and size <= self._service.limits.chunk_size:
                self.in_request(self._give, data)
                return
            self._untaken = bytearray()
        self._untaken += data
        self.held_share().count(size)
        if self._takes_more():
            self.in_request(self._deliver)

    def end(self) -> None:
        """Called with the request's END_STREAM.

        Raises:
            StreamError: It is less than was declared.
        """
        self.reading = False
        self.deadline = NEVER
        if self.tunnel is not None:
            self.in_request(self.tunnel.receive_eof)
            return
        if self._length >= 0 and self._received != self._length:
            raise self._wrong_length()
        if self._takes_more():
            self.in_request(self._deliver)

    def _takes_more(self) -> bool:
        """Return whether the application takes the next piece, or the end, at once."""
        return self._begun and self._delivery is not None and self._delivery.held is None

    def _wrong_length(self) -> StreamError:
        return StreamError(
            PROTOCOL_ERROR,
            f"Malformed request: content-length says {self._length} bytes, and the body has"
            f" {self._received if not self.reading else 'more'}",
            "RFC 9113 section 8.1.1",
        )

    def _deliver(self) -> None:
        """Give the application what waits, and the end where that was the last."""
        most = self._service.limits.chunk_size
        while self._untaken and self._takes_more():
            piece = bytes(self._untaken[:most])
            del self._untaken[:most]
            self.held_share().count(-len(piece))
            self._give(piece)
        if not self._untaken:
            self._untaken = None
            ended = not self.reading or self.tunnel is not None  # a handshake has no body
            if ended and self._takes_more():
                self._end_request()

    def _give(self, piece: bytes) -> None:
        """Give the delegate a piece."""
        delivery = self._delivery
        if delivery is None:
            return
        size = len(piece)
        self._delivered += size
        most = self._most()
        if self._delivered > most:
            self.refuse(too_much(most))
            return
        if delivery.give_piece(piece):
            self._host.give_credit(self, size)
        elif delivery.held is not None:
            self._owed += size

    def application_ready(self, error: BaseException | None) -> None:
        """Called when what the application waited for is done, or has failed."""
        if error is not None:
            self.in_request(self.application_failed, error)
        elif not self._begun:
            self.in_request(self._head_taken)
        else:
            size, self._owed = self._owed, 0
            if size:
                self._host.give_credit(self, size)
            self.in_request(self._deliver)

    def _end_request(self) -> None:
        """Tell the delegate that its request is complete."""
        delivery = self._end_reading()
        if delivery is None:
            return
        if self.is_over or self.exchange.state == DONE:
            delivery.close()  # it has answered already
            return
        error = delivery.finish()
        if error is not None:
            self._delivery = delivery
            self.application_failed(error)

    def _end_reading(self) -> Delivery | None:
        """Give nobody more of the request; return whose delegate has yet to hear its end."""
        delivery, self._delivery = self._delivery, None
        self._untaken = None
        self.deadline = NEVER
        if delivery is not None:
            delivery.held = None
        return delivery

    # What the exchange asks; see `OutgoingOwner`.

    def outgoing(self) -> Outgoing:
        """Return what the sender knows of the stream."""
        out = self.out
        if out is None:
            # Whatever the window was when the stream began, it has moved with all others' since.
            out = self.out = Outgoing(self.stream_id, self._sender.first_window)
            if self.priority is not None:
                out.urgency, out.incremental = self.priority
        return out

    def prioritize(self, priority: tuple[int, bool]) -> None:
        """Have the answer be sent with this urgency, and in turns or not."""
        self.priority = priority
        if self.out is not None:
            self.out.urgency, self.out.incremental = priority

    def awaits_body(self) -> bool:
        """Return whether more of the body is to come, and would be taken."""
        return self.reading and (self._delivery is None or self._delivery.held is None)

    def exchange_done(self, exchange: Exchange) -> None:
        """Called when an answer is complete, though it may not have left."""
        if self._share is not None:
            self._give_back()
        if self._delivery is not None:
            delivery = self._end_reading()
            if delivery is not None:
                # Not at once: the delegate may be in the middle of hearing of its body.
                self._sender.output.loop.call_soon(delivery.close)
        self.sent()

    def sent(self) -> None:
        """Called when END_STREAM has left: the stream is over if its answer is complete."""
        if self.is_over:
            return
        exchange = self.exchange
        if exchange.state != DONE or not (
            exchange.was_sent_whole or (self.out is not None and self.out.complete)
        ):
            return
        if self.tunnel is not None:
            if not self.tunnel.has_ended:
                return
            self.tunnel.lost(None)
        self.is_over = True
        if self._service.timed and not self.is_detached:  # its request ended when it was accepted
            self._service.log_access(exchange)
        del self.exchange
        self._host.stream_over(self)

    def exchange_broken(self) -> None:
        """Called when the answer cannot be completed as it was declared: reset the stream."""
        if self.is_over:
            return
        # Who breaks it knows, and need not be told; its delegate may be in the middle of a call.
        self.exchange.set_close_callback(None)
        delivery = self._end_reading()
        if delivery is not None:
            self._sender.output.loop.call_soon(delivery.close)
        self._host.reset_stream(self, INTERNAL_ERROR)

    def exchange_left(self, exchange: Exchange) -> None:
        """Called when nobody waits for the answer any more: tell the application."""
        self.in_request(exchange.tell_closed)

    def time_body(self, timeout_s: float) -> None:
        """Replace the time limit of the body that is being read."""
        if self._begun and self.reading:
            self.deadline = self._sender.output.loop.time() + timeout_s

    def detach(self, exchange: Exchange, protocol: Any) -> None:
        """Hand an accepted WebSocket to `protocol`; see `HTTPConnection.detach_to`.

        Raises:
            HTTPOutputError: It is any other request.
            StreamClosedError: The stream is over.
        """
        tunnel = self.tunnel
        if tunnel is None:
            raise HTTPOutputError(
                "a request that came over HTTP/2 cannot be detached, but for a WebSocket: its"
                " connection carries others, too"
            )
        if self.is_over or self.exchange is not exchange or self.is_detached:
            raise closed_error()
        if not self.exchange.is_upgraded:
            raise HTTPOutputError("a WebSocket over HTTP/2 is detached once its 101 was written")
        self.is_detached = True
        self._service.log_access(exchange)
        exchange.set_close_callback(None)
        exchange.end()
        self._give_back()
        delivery = self._end_reading()
        if delivery is not None:
            self._sender.output.loop.call_soon(delivery.close)
        tunnel.attach(protocol)

    # What the tunnel says; see `TunnelOwner`.

    def tunnel_read(self, size: int) -> None:
        """Called when `size` bytes were taken."""
        self._host.give_credit(self, size)

    def tunnel_wrote(self) -> None:
        """Called when something was written."""
        self._host.tunnel_wrote()

    def tunnel_ended(self) -> None:
        """Called when one direction has ended: the stream is over if both have."""
        self.sent()

    def tunnel_aborted(self) -> None:
        """Called to have the stream reset."""
        self._host.reset_stream(self, CANCEL)

    def complain(self, text: str, *args: object) -> None:
        """Log a line about the peer, within the service's limits."""
        self._service.complain(self._sender.output.loop.time(), self._info, text, *args)

    # What is held.

    def held_share(self) -> HeldShare:
        """Return what is held for the request."""
        if self._share is None:
            self._share = HeldShare(self._service.budget, self)
        return self._share

    def let_go(self) -> None:
        """Refuse a body for which there is no room, before it begins or once it has waited."""
        self.answer(503, self._service.turn_away())

    def _give_back(self) -> None:
        """Let the request hold nothing: it has ended."""
        share, self._share = self._share, None
        if share is not None:
            share.give_back()

    # Refusals, failures and the end.

    def refuse(self, error: HTTPInputError) -> None:
        """Answer a request that breaks a rule, and take no more of it."""
        self._service.count_refused(error.rfc or f"status {error.status}")
        self.complain(
            "Malformed HTTP message from %s: %s%s", self._info.peer, error, render_rfc(error)
        )
        self.answer(error.status, str(error))

    def answer(self, status: int, reason: str) -> None:
        """Answer in the application's place; where its answer has begun, reset the stream.

        Args:
            status: The status code.
            reason: One line, ASCII, already escaped.
        """
        if self.is_over:
            return
        exchange = self.exchange
        delivery = self._end_reading()
        if exchange.state == FRESH:
            body = reason.encode("ascii", "replace") + b"\n"
            fields = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
            ]
            if status == 503:
                fields.append(RETRY_AFTER)
            if exchange.method == "HEAD":
                body = b""
            exchange.write_headers(("", status, ""), fields, body or None, whole=bool(body))
            exchange.end()
            if not exchange.was_sent_whole:
                self._sender.finish(self.outgoing())
            self.exchange_done(exchange)
        else:
            self._host.reset_stream(self, PROTOCOL_ERROR if status != 503 else INTERNAL_ERROR)
        if delivery is not None:
            self.in_request(delivery.close)

    def application_failed(self, error: BaseException) -> None:
        """End the stream after an exception of the delegate."""
        if is_input_error(error) and not self.is_over:
            self.refuse(as_input_error(error))
            return
        if not isinstance(error, asyncio.CancelledError):
            app_log.error("Uncaught exception", exc_info=error)
        delivery = self._end_reading()
        if delivery is not None:
            delivery.close()
        if not self.is_over:
            self.exchange_broken()

    def check_deadline(self, now_s: float) -> None:
        """Refuse a body that has not come in time."""
        if self.reading and self.deadline <= now_s:
            self.deadline = NEVER
            self._service.count_refused("body-timeout")
            self.complain("Timeout reading body from %s", str(self.exchange.context))
            self.answer(408, "the body did not come in time")

    def cut(self) -> None:
        """End at once: the stream was reset, or its connection is lost. Tell the application."""
        if self.is_over:
            return
        self.is_over = True
        self.reading = False
        exchange = self.exchange
        was_done = exchange.state == DONE
        exchange.end()
        if self.out is not None:
            self._sender.drop(self.out)
        self._give_back()
        delivery = self._end_reading()
        if self.tunnel is not None:
            self.tunnel.lost(ConnectionResetError("the stream was reset, or its connection lost"))
        if delivery is not None:
            self.in_request(delivery.close)
        elif not was_done:
            self.in_request(exchange.tell_closed)
        if not self.is_detached:
            self._service.log_access(exchange)
        del self.exchange

    def in_request(self, call: Callable[..., T], *args: Any) -> T:
        """Call in the context of the request."""
        if self._inside:
            return call(*args)
        self._inside = True
        try:
            return self._context.run(call, *args)
        finally:
            self._inside = False


def too_much(most: int) -> HTTPInputError:
    """Return the refusal of a body that has become longer than it may be."""
    return HTTPInputError(
        f"Content too long: more than {most} bytes (max_body_size)",
        status=413,
        rfc="RFC 9110 section 15.5.14",
    )
