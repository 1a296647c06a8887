"""One HTTP/1.1 connection: the asyncio protocol, and the state machine of its exchanges.

Decides what is read when, who is told of it, and what follows an answer, a refusal, a failure, a
peer that is late or gone. It owns the parts that know how: `OutputBuffer`, `RequestReader`,
`BodyReader`, `Admission`, the present `HTTP1Exchange` and its `Delivery`. It must not know how a
head is parsed or an answer framed, nor what TLS or an application is.

The states, and what leads from one to the next:

- Between requests `exchange`, `body` and `_delivery` are None. `_begin` leads out of it, with each
  valid head.
- `exchange` is set until the answer is complete (`exchange_done`), cannot become so
  (`exchange_broken`), or is a refusal (`_answer_and_close`). Only then the next head is looked at.
- `body` is set until a body was read. An answer that is complete before that ends the connection.
- `_delivery` is set while a delegate has yet to hear one of `finish` and `on_connection_close`; it
  is `held` while the application's awaitable is pending.
- One loop, `_run`, goes through the input by offset and is never entered twice; what is written
  while it runs goes out in one piece when it rests (`_rest`). `_scheduled` is set while it is
  planned: input that comes meanwhile is only kept.
- `_closing` is set when nothing that follows is read as a request: after `shut`, `linger`, `abort`.
- `transport` is None once the connection is lost or handed on (`_leave`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from time import perf_counter
from typing import Any, TypeVar

from edgeserver.errors import HTTPInputError
from edgeserver.http.admission import Admission, NoRoomError
from edgeserver.http.delivery import Delivery
from edgeserver.http.exchange import Exchange
from edgeserver.http.input_errors import as_input_error, is_input_error
from edgeserver.http.output import NEVER, OutputBuffer
from edgeserver.http.service import TrustSource
from edgeserver.http.tally import QUICK_S
from edgeserver.http1.body_reader import BodyReader
from edgeserver.http1.bulk_reader import BULK_BODY, BulkReader
from edgeserver.http1.exchange import HTTP1Exchange, unread_exchange
from edgeserver.http1.framing import parse_body_length
from edgeserver.http1.head import Fields, Head, RawFields
from edgeserver.http1.refusal import log_refusal, render_refusal
from edgeserver.http1.request_reader import RequestReader
from edgeserver.http1.shared import HTTP1Shared
from edgeserver.httputil.context import ConnectionContext, is_nameless
from edgeserver.iostream import closed_error
from edgeserver.support.held import HeldShare
from edgeserver.support.loggers import app_log
from edgeserver.transport.handover import replace_layer

__all__ = ["HTTP1Connection"]

T = TypeVar("T")


class HTTP1Connection(asyncio.Protocol):
    """The protocol of one connection; it is also the `server_conn` that delegates get.

    Args:
        shared: What all connections of the server share.
        prelude: The PROXY header that came first, or None.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
        believed: Who is believed on this connection; None for whom the service believes.

    Attributes:
        transport: The transport; None once the connection is lost or handed on.
        output: What is written to it.
        requests: What has come of it, and the heads in that.
        admission: Who gives requests to the application.
        exchange: The present request's; None between requests, and once the answer is complete.
        body: What reads the body of the present request; None where it has none, or has come.
        deadline: When waiting for the peer's bytes ends, in loop seconds.
    """

    __slots__ = ("_bulk", "_closing", "_delivery", "_eof", "_inside",
                 "_prelude", "_request_context", "_scheduled", "_service", "_share", "_shared",
                 "admission", "body", "deadline", "exchange", "output", "requests",
                 "transport")  # fmt: skip

    output: OutputBuffer

    def __init__(
        self,
        shared: HTTP1Shared,
        prelude: Any = None,
        misdirected: Callable[[str, str], bool] | None = None,
        believed: TrustSource | None = None,
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.requests = RequestReader(shared)
        self.exchange: HTTP1Exchange | None = None
        self.body: BodyReader | None = None
        self.deadline = NEVER
        self._shared = shared
        service = self._service = shared.service
        self._prelude = prelude
        self.admission = Admission(service, self, misdirected, believed)
        self._delivery: Delivery | None = None  # to who hears the present request
        self._request_context: Context | None = None  # that the application is called in
        self._inside = False  # whether that is entered
        self._scheduled = False  # whether `_run` is planned
        self._closing = False  # whether nothing more is read as a request
        self._eof = False  # whether the peer has closed its half
        self._bulk: BulkReader | None = None  # who reads the body in this one's place
        self._share: HeldShare | None = None  # what is held for the present request

    # What the transport says.

    def connection_made(self, transport: Any) -> None:
        """Called with a fresh transport, plain or TLS; uvloop's is none of asyncio's."""
        service = self._service
        info = service.meet(self, transport, self._prelude)
        if info is None:
            return
        self.admission.info = info
        self.transport = transport
        loop = asyncio.get_running_loop()
        service.opened(self, loop)
        self.output = OutputBuffer(transport, loop, service.batch, service.ready)
        self.deadline = service.clock.idle_deadline
        if not isinstance(info.address, tuple) and is_nameless(transport):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Called with the next bytes."""
        requests = self.requests
        if requests.buffer:
            requests.keep(data)
            if self._scheduled and not self._closing:
                self._check_input()
            else:
                self._run()
            return
        if (self.exchange or self._delivery) is None and not self._closing:
            head = requests.read_segment(data, self)
            if head is not None:
                context = self._service.context.copy()
                output = self.output
                output.corked = self._inside = True
                try:
                    context.run(self._begin, head)
                finally:
                    output.corked = self._inside = False
                    if not output.planned:
                        output.uncork()
                if (self.exchange or self._delivery) is None and not self._closing:
                    self.deadline = self._service.clock.idle_deadline
                else:
                    self._request_context = context
                    self._rest()
                return
        requests.keep(data)
        self._run()

    def eof_received(self) -> bool:
        """Called when the peer has sent its last byte; it may still read."""
        self._eof = True
        transport = self.transport
        if self._closing or transport is None:
            return False
        self.output.flush()  # a transport that is told to close takes nothing more
        body = self.body
        if self._scheduled or self._is_held():
            return transport.can_write_eof()
        if body is not None and body.decoder is not None:
            self._truncated()
            return False
        exchange = self.exchange
        if exchange is None or not transport.can_write_eof():
            return False  # nothing is owed; or without half-close there is nobody to answer
        self._owe_answer(exchange)
        return True

    def pause_writing(self) -> None:
        """Called when the peer does not take what is written: it may ask for no more until then."""
        self.output.pause()
        if (self.exchange is None or self.output.corked) and not self._closing:
            # `_rest` resumes it, if the present answer is not complete.
            self.requests.pause(self.transport)

    def resume_writing(self) -> None:
        """Called when the peer has taken what was written."""
        self.output.resume(closing=self._closing)
        if self.exchange is None and not self._closing:
            self._run_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone, however it went."""
        if self.transport is None:
            return
        if exc is not None and self._closing and isinstance(exc, TimeoutError):
            self._complain_of_writing()
        self.transport = None  # whoever is told now finds the connection closed
        if self.exchange is not None or self._delivery is not None:
            self._tell_lost(self.exchange, self._delivery)
        self._leave()
        self._service.closed(self)

    def _tell_lost(self, exchange: HTTP1Exchange | None, delivery: Delivery | None) -> None:
        """Tell the application that the connection of the present request is gone."""
        if exchange is not None:
            exchange.end()
        if delivery is not None:
            self._in_request(delivery.close)
        elif exchange is not None:
            self._in_request(exchange.tell_closed)
        if exchange is not None:
            self._service.log_access(exchange)

    # The loop.

    def _run(self) -> None:
        """Go through the input as far as the state allows, then rest."""
        self._scheduled = False
        closing = self._closing  # a local: what is called below may change it
        if self.output.corked or self.transport is None:
            return
        requests = self.requests
        if closing:
            requests.drop()
            return
        self.output.corked = True
        while (
            self._next_request()
            if self.exchange is None and self._delivery is None
            else self._next_piece()
        ):
            if self._closing or self.transport is None:
                break
            if requests.position < len(requests.buffer) and self._service.turns.spent():
                self._scheduled = True
                self._service.turns.wait(self._run)
                self._check_input()
                break
        self.output.uncork()
        if requests.position >= len(requests.buffer):
            requests.drop()
        self._rest()

    def _run_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.output.loop.call_soon(self._run)

    def _rest(self) -> None:
        """Set what is waited for, now that the loop can go no further."""
        if self._closing or self.transport is None or self._scheduled:
            return
        requests = self.requests
        if self.exchange is None and self._delivery is None:
            if requests.buffer or self._eof or requests.paused or self.output.paused:
                self._rest_between()
                return
            self.deadline = self._service.clock.idle_deadline
            if self._service.draining:
                self.shut()
            return
        body, delivery = self.body, self._delivery
        held = delivery is not None and delivery.held is not None
        is_reading = body is not None and body.decoder is not None
        if is_reading and not held and self._eof:
            self._truncated()
            return
        if body is None or not is_reading or not body.pending:
            if not self._eof:
                self.deadline = NEVER
            elif not held and self.exchange is not None:
                self._owe_answer(self.exchange)
        elif (
            self._bulk is None
            and body.bulk_size > BULK_BODY
            and not requests.untaken
            and self.admission.info.tls is None
        ):
            self._bulk = BulkReader(self, body, self._shared.bulk_buffer())
            self._bulk.take_over(self.transport)
        if (held and self._bulk is not None) or (
            requests.buffer and requests.has_too_much and (held or not is_reading)
        ):
            self.held_share().count_untaken(requests.untaken)
            requests.pause(self.transport)
        elif requests.paused:
            self.held_share().count_untaken(0)
            requests.resume(self.transport)

    def _is_held(self) -> bool:
        """Return whether the application takes no more for now."""
        return self._delivery is not None and self._delivery.held is not None

    def _rest_between(self) -> None:
        """Wait for the next request, or the rest of its head; close where none may come."""
        paused = self.output.paused
        requests = self.requests
        if not requests.untaken:
            requests.drop()
            self.deadline = self._service.clock.idle_deadline
            if self._eof or self._service.draining:
                self.shut()
        elif self._eof and not paused:
            self.shut()  # half a head, and no more will come
        if paused:
            requests.pause(self.transport)
        else:
            requests.resume(self.transport)

    def _check_input(self) -> None:
        """Read no more while too much waits; `_rest` reads on."""
        if self.requests.has_too_much:
            self.requests.pause(self.transport)

    # A request begins.

    def _next_request(self) -> bool:
        """Take the next head from the input; say whether there was one."""
        if self.output.paused:
            return False
        requests = self.requests
        is_new = requests.checked <= requests.position
        try:
            head = requests.next_head()
        except HTTPInputError as error:
            if self._shared.other_version is None or not self._hand_over():
                self._refuse(error)
            return False
        if head is None:
            if is_new and requests.untaken:
                # Tornado's idle_connection_timeout is the time for the next head to be there.
                service = self._service
                until = self.output.loop.time() + service.limits.header_timeout
                self.deadline = min(until, service.clock.idle_deadline)
            return False
        # Never of the present one: that may be the context of the request before.
        context = self._request_context = self._service.context.copy()
        self._inside = True
        try:
            context.run(self._begin, head)
        finally:
            self._inside = False
        return True

    def _hand_over(self) -> bool:
        """Hand a connection to who speaks what its first bytes are; say whether there is one."""
        transport, make = self.transport, self._shared.other_version
        if self.requests.begun or make is None or transport is None:
            return False
        first = bytes(self.requests.buffer)
        protocol = make(first, self._prelude, self.admission.believed)
        if protocol is None:
            return False
        paused = self._leave()
        self._service.handed_over(self)
        replace_layer(transport, protocol, first, paused)
        return True

    def _begin(self, head: Head) -> None:
        """Open the exchange of one request; runs in the request's own context."""
        fields = head[4]
        admission = self.admission
        length = 0
        if (
            b"content-length" in fields
            or b"transfer-encoding" in fields
            or admission.misdirected is not None
        ):
            declared = self._read_framing(head[3], fields)
            if declared is None:
                return
            if declared:
                length = declared
                self.body = BodyReader(length)
        exchange = self.exchange = HTTP1Exchange(
            self, self.output, self._shared, admission.info, head, self.body
        )
        if self._service.timed:
            exchange.started_s = perf_counter()
        try:
            delegate = admission.admit(exchange, length)
        except NoRoomError:
            self.let_go()
            return
        except Exception as error:
            self.application_failed(error)
            return
        if delegate is not None:
            delivery = self._delivery = Delivery(delegate, self, self.output.loop)
            if delivery.give_head(exchange):
                self._head_taken()

    def _read_framing(self, lines: RawFields | None, fields: Fields) -> int | None:
        """Return the length of the body, or None where the head was refused."""
        try:
            length = parse_body_length(fields.items() if lines is None else lines)
            self.admission.check_direction(fields)
        except HTTPInputError as error:
            self._refuse(error)
            return None
        return length

    def fields_kept(self, fields: Fields | None) -> None:
        """Called when other fields are kept, or none: the next head may repeat them."""
        self.admission.remember(fields)
        if fields is not None:
            self._shared.keeping.add(self)

    def forget_fields_since(self, idle_deadline: float) -> bool:
        """Keep nothing of the last head if no request has come for a while; see `HTTP1Shared`."""
        if idle_deadline < self.deadline < NEVER:
            return False
        # A connection that answers, or is closed, waits for nothing: its deadline is far.
        self.requests.forget_fields()
        self.admission.remember(None)
        return True

    # Its body is read.

    def _head_taken(self) -> None:
        """Called when the application has taken the head."""
        body, exchange = self.body, self.exchange
        if body is None or not body.pending:
            self._end_request()
            return
        if exchange is None or self._closing:
            return  # answered already, or detached
        try:
            timeout = exchange.begin_body(body, has_come=self.requests.untaken > 0)
        except HTTPInputError as error:
            self._refuse(error)
            return
        self.deadline = NEVER if timeout is None else self.output.loop.time() + timeout

    def _next_piece(self) -> bool:
        """Give the application the next piece of the body; say whether to go on."""
        body = self.body
        if body is None or body.decoder is None or self._is_held():
            return False
        requests, service = self.requests, self._service
        start = requests.position
        try:
            piece, requests.position = body.next_piece(
                requests.buffer, start, service.limits.chunk_size, service.turns
            )
        except HTTPInputError as error:
            self._refuse(error)
            return False
        taken = requests.position > start  # before the delegate drops it all
        if piece:
            self._in_request(self.give_piece, body, piece)
        elif not body.pending:
            self._in_request(self._end_request)
        return taken and not self._is_held()

    def give_piece(self, body: BodyReader, piece: bytes) -> bool:
        """Give the application a piece, and the end where that was the last; see `BulkTaker`."""
        delivery = self._delivery
        if delivery is None or not delivery.give_piece(piece):
            return False
        if not body.pending:
            self._end_request()
        return not self.closing

    def application_ready(self, error: BaseException | None) -> None:
        """Called when what the application waited for is done, or has failed."""
        body = self.body
        if error is not None:
            self._in_request(self.application_failed, error)
        elif body is None or body.decoder is None:
            self._in_request(self._head_taken)
        elif not body.pending:
            self._in_request(self._end_request)
        if self.transport is not None:
            self._run()

    def _end_request(self) -> None:
        """Tell the delegate that its request is complete."""
        delivery = self._end_reading()
        if delivery is None:
            return
        if self.exchange is None:
            delivery.close()  # it has answered already
            return
        error = delivery.finish()
        if error is not None:
            self._delivery = delivery
            self.application_failed(error)

    def _end_reading(self) -> Delivery | None:
        """Forget the request that was being read; return whose delegate has yet to hear its end."""
        delivery, self._delivery = self._delivery, None
        body, self.body = self.body, None
        if body is not None:
            body.end()
        if delivery is not None:
            delivery.held = None
        return delivery

    def bulk_received(self, bulk: BulkReader) -> None:
        """Called when the `BulkReader` has read something; it is gone when this returns."""
        service = self._service
        self.output.corked = True
        self._in_request(bulk.give_pieces, service.limits.chunk_size, service.turns)
        rest = bulk.take_rest()
        if rest or bulk.has_ended:
            self._bulk = None
            bulk.make_way(self.transport, self)
        self.output.uncork()
        if rest:
            self.data_received(rest)
        else:
            self._rest()

    # What the exchange asks; see `ExchangeOwner`.

    def exchange_done(self, exchange: Exchange) -> None:
        """Called when an answer is complete: close, or make room for the next request."""
        service, answered = self._service, self.exchange
        if service.timed:
            tally = service.tally
            if tally is None:
                service.log_access(exchange)
            else:  # what `RequestTally.add` does, without a call for each request
                duration_s = perf_counter() - exchange.started_s
                tally.seconds += duration_s
                if duration_s > QUICK_S or exchange.status != 200:
                    tally.add_rare(exchange.status, duration_s)
                else:
                    tally.ok += 1
        self.exchange = None
        if self._share is not None:
            self._give_back()
        if self.body is not None and self.body.pending:
            # RFC 9112 section 9.3: "a server MUST read the entire request message body or close
            # the connection after sending its response".
            delivery = self._end_reading()
            if delivery is not None:
                # Not at once: the delegate may be in the middle of hearing of its body.
                self.output.loop.call_soon(delivery.close)
            self.linger()
        elif (answered is not None and not answered.keep_alive) or service.closes_each:
            if self.requests.buffer and self.requests.untaken and not self._eof:
                self.linger()
            else:
                self.shut()
        elif not self.output.corked:
            if self.requests.buffer and self.requests.untaken:
                # Never from in here: the next request would run inside this one's finish.
                self._run_soon()
            else:
                self._rest()

    def exchange_broken(self) -> None:
        """Called when the answer cannot be completed as it was declared: end the connection."""
        exchange = self._end_exchange()
        if exchange is not None and exchange.until_close:
            self.abort()  # an orderly end would make the cut body look complete
        elif not self._closing:
            self.shut()

    def _end_exchange(self) -> HTTP1Exchange | None:
        """Let nothing more be written to the present exchange; return it."""
        exchange, self.exchange = self.exchange, None
        self._give_back()
        if exchange is not None:
            exchange.end()
            self._service.log_access(exchange)
        return exchange

    def exchange_left(self, exchange: Exchange) -> None:
        """Called when nobody waits for the answer any more: tell the application."""
        self._in_request(exchange.tell_closed)

    def time_body(self, timeout_s: float) -> None:
        """Replace the time limit of the body that is being read."""
        if self.body is not None and self.body.decoder is not None:
            self.deadline = self.output.loop.time() + timeout_s

    def awaits_body(self) -> bool:
        """Return whether more of the body is to come, and would be taken."""
        return self.body is not None and self.body.pending and not self._is_held()

    def detach(self, exchange: Exchange, protocol: Any) -> None:
        """Hand the transport to `protocol`; see `HTTPConnection.detach_to`."""
        transport = self.transport
        if transport is None or self.exchange is not exchange or self._closing:
            raise closed_error()
        self.output.flush()
        leftover = self.requests.rest() if self._bulk is None else self._bulk.take_rest()
        self._service.log_access(exchange)
        paused = self._leave()
        self._service.detached(self, protocol)
        replace_layer(transport, protocol, leftover, paused)

    # What is held.

    def held_share(self) -> HeldShare:
        """Return what is held for the present request."""
        if self._share is None:
            self._share = HeldShare(self._service.budget, self)
        return self._share

    def let_go(self) -> None:
        """Refuse a body for which there is no room, before it begins or once it has waited."""
        self._answer_and_close(503, self._service.turn_away())

    def _give_back(self) -> None:
        """Let the present request hold nothing: it has ended."""
        share, self._share = self._share, None
        if share is not None:
            share.give_back()

    # Refusals and failures.

    def _refuse(self, error: HTTPInputError) -> None:
        """Answer a request that breaks a rule, and read no further."""
        self._log_refusal(error)
        self._answer_and_close(error.status, str(error))

    def _log_refusal(self, error: HTTPInputError) -> None:
        now_s, version = self.output.loop.time(), self.requests.prelude()
        log_refusal(error, self._service, self.admission.info, now_s, version)

    def _answer_and_close(self, status: int, reason: str) -> None:
        exchange, info = self.exchange, self.admission.info
        answer = render_refusal(status, reason, exchange, self._shared, info)
        if exchange is None and self._service.timed:
            unread = unread_exchange(self, self.output, self._shared, info, status, len(answer))
            self._service.log_access(unread)
        self._end_exchange()
        delivery = self._end_reading()
        self.requests.drop()
        if answer:
            self.output.send(answer)
        if delivery is not None:
            self._in_request(delivery.close)
        if exchange is not None and exchange.until_close:
            self.abort()
        else:
            self.linger()

    def application_failed(self, error: BaseException) -> None:
        """End the connection after an exception of the delegate."""
        if is_input_error(error):
            refusal = as_input_error(error)
            if self.exchange is not None:
                self._refuse(refusal)
                return
            self._log_refusal(refusal)  # a second answer would be taken for the next request's
        elif not isinstance(error, asyncio.CancelledError):
            app_log.error("Uncaught exception", exc_info=error)
        delivery = self._end_reading()
        if delivery is not None:
            delivery.close()
        self.exchange_broken()

    def _truncated(self) -> None:
        """End a connection whose peer stopped in the middle of a body."""
        delivery = self._end_reading()
        self.exchange_broken()
        if delivery is not None:
            self._in_request(delivery.close)

    def _owe_answer(self, exchange: HTTP1Exchange) -> None:
        """Go on with the answer to a peer that has closed its half, as long as it gets on.

        It may still wait for the answer, but one that went away looks the same: the application is
        told once, and has the time of a write for each piece.
        """
        exchange.sent_before = exchange.bytes_sent
        self.deadline = self.output.loop.time() + self._service.limits.write_timeout
        self._in_request(exchange.tell_closed)

    def complain(self, text: str, *args: object) -> None:
        """Log a line about the peer, within the service's limits."""
        self._service.complain(self.output.loop.time(), self.admission.info, text, *args)

    def _complain_of_writing(self) -> None:
        self.complain("Timeout writing to %s: it takes no bytes", self._render_client())

    def _render_client(self) -> str:
        return str(self.admission.info if self.exchange is None else self.exchange.context)

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

    # Deadlines; see `ServedConnection`.

    @property
    def exchanges(self) -> tuple[HTTP1Exchange, ...]:
        """The present exchange, if there is one."""
        return () if self.exchange is None else (self.exchange,)

    @property
    def next_deadline(self) -> float:
        """When somebody is late, in loop seconds."""
        return min(self.deadline, self.output.deadline)

    def check_deadlines(self, now_s: float) -> None:
        """Act on what is overdue; the service calls this about once a second."""
        if self.transport is None:
            return
        if self.output.is_stalled(now_s):
            self._complain_of_writing()
            self.abort()
        elif self.deadline <= now_s:
            self.deadline = NEVER
            self._waited_too_long()

    def _waited_too_long(self) -> None:
        """Act on a peer that has not sent in time what it should have."""
        exchange, body = self.exchange, self.body
        if exchange is not None and body is not None and body.decoder is not None:
            self.complain("Timeout reading body from %s", self._render_client())
            self._service.count_refused("body-timeout")
            self._answer_and_close(408, "the body did not come in time")
        elif exchange is None and self.requests.untaken:
            self.complain("Timeout reading head from %s", self.admission.info.peer)
            self._service.count_refused("header-timeout")
            self._answer_and_close(408, "the head did not come in time")
        elif exchange is not None and exchange.bytes_sent > exchange.sent_before:
            self._owe_answer(exchange)
        else:
            self.close()

    # The end of the connection.

    @property
    def context(self) -> ConnectionContext:
        """The connection, as its peer has it."""
        info = self.admission.info
        return ConnectionContext(info, info.peer_ip, info.scheme)

    @property
    def closing(self) -> bool:
        """Whether nothing more will be read as a request."""
        return self._closing or self.transport is None

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
        if self._is_idle():
            self.shut()

    def drain(self) -> None:
        """Close the connection if nothing is in flight on it, once it was silent for a while."""
        if self._service.draining:
            self.close_if_idle()
        elif self._is_idle():
            self.deadline = min(self.deadline, self._service.clock.idle_deadline)

    def _is_idle(self) -> bool:
        idle = self.exchange is None and self._delivery is None and not self._closing
        return idle and not self.requests.untaken

    def shut(self) -> None:
        """Close once all output has been delivered."""
        if self.transport is None:
            return
        self._closing = True
        self.deadline = NEVER
        self.output.close()

    def linger(self) -> None:
        """Close so that the peer receives the output, even if it is still sending."""
        if self._closing or self.transport is None:
            return
        if self._eof:
            self.shut()
            return
        self._closing = True
        self.deadline = NEVER
        self.output.linger(self)

    def abort(self) -> None:
        """Close at once; output that the peer has not taken is lost."""
        if self.transport is not None:
            self._closing = True
            self.output.abort()

    def _leave(self) -> bool:
        """Let the transport go, lost or somebody else's; say whether it takes no more for now."""
        output, requests = self.output, self.requests
        paused = output.paused
        if requests.paused:
            requests.resume(self.transport)
        self.transport = None
        self.deadline = NEVER
        output.release()
        self._closing = True
        if self.exchange is not None:
            self.exchange.end()
            self.exchange = None
        if self._share is not None:
            self._give_back()
        if self.body is not None or self._delivery is not None:
            self._end_reading()
        requests.drop()
        self._request_context = None
        return paused
