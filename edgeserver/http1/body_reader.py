"""How the body of a request is read, and at whose pace.

Decides what an application is given of a body and when: pieces of at most `chunk_size`, held back
while an awaitable of the application's is pending, and the end exactly once. It must not know how
heads are read; that is the subclass's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from edgeserver.errors import HTTPInputError
from edgeserver.http1.body_decoders import ChunkedDecoder, LengthDecoder
from edgeserver.http1.bulk_reader import BulkReader, keep_freed_memory
from edgeserver.http1.ending import ExchangeEnds, is_input_error
from edgeserver.http1.endpoint import HTTP1Endpoint
from edgeserver.http1.framing import CHUNKED
from edgeserver.http1.output import NEVER
from edgeserver.http1.state import FRESH
from edgeserver.support.loggers import app_log
from edgeserver.support.tasks import start_task

__all__ = ["BodyReading"]

BULK_BODY: Final = 64 * 1024
"""What is still to come of a body beyond this is read by a `BulkReader`."""


class BodyReading(ExchangeEnds):
    """The reading of one body after the other."""

    __slots__ = ("_bulk", "_length")

    def __init__(self, endpoint: HTTP1Endpoint) -> None:
        super().__init__(endpoint)
        self._bulk: BulkReader | None = None
        self._length = 0

    def _head_taken(self) -> None:
        """Go on after `headers_received` has let us."""
        if self.body_pending:
            self._begin_body()
        else:
            self._end_request()

    def _begin_body(self) -> None:
        exchange = self.exchange
        if exchange is None or self._closing:
            return  # answered already, or detached
        settings = self.endpoint.settings
        most = settings.max_body_size if exchange.max_body_size is None else exchange.max_body_size
        if self._length == CHUNKED or self._length > BULK_BODY:
            keep_freed_memory()
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
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        timeout = exchange.body_timeout
        if timeout is None:
            timeout = settings.body_timeout
        self.deadline = NEVER if timeout is None else self.loop.time() + timeout

    def _next_piece(self) -> bool:
        """Give the application the next piece of the body; say whether to go on."""
        decoder, held = self.decoder, self._held  # locals: what is called below may change both
        if decoder is None or held is not None:
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
            self.body_pending = False
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
        finish: Callable[[], object] = delegate.finish  # whatever an application's returns
        try:
            finish()
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
        """Return how many bytes of the body may be read, and no byte of what follows it."""
        decoder = self.decoder
        return decoder.remaining if type(decoder) is LengthDecoder else BULK_BODY

    def bulk_received(self, data: memoryview) -> None:
        """Take what the `BulkReader` has read, piece by piece; it is gone when this returns."""
        self._corked = True
        taken = self._in_request(self._deliver_pieces, data)
        if taken < len(data):
            self._corked = False
            self._end_bulk()
            self.data_received(bytes(data[taken:]))
            return
        self._uncork()
        self._rest()

    def _deliver_pieces(self, data: memoryview) -> int:
        """Give the application what it takes of `data`; return how many bytes that were."""
        most = self.endpoint.settings.chunk_size
        size = len(data)
        taken = 0
        while taken < size:
            decoder = self.decoder
            if type(decoder) is not LengthDecoder or self._closing or self._held is not None:
                break
            piece = bytes(data[taken : taken + most])
            taken += len(piece)
            decoder.take(len(piece))
            if decoder.complete:
                self._end_bulk()
                self.body_pending = False
            self._deliver(piece)
        return taken

    def _end_bulk(self) -> None:
        bulk, self._bulk = self._bulk, None
        transport = self.transport
        if transport is not None and transport.get_protocol() is bulk:
            transport.set_protocol(self)

    # Waiting for the application.

    def _hold(self, waiting: Awaitable[None], go_on: Callable[[], None]) -> None:
        """Read no more of the body until `waiting` is done, then `go_on`."""
        try:
            if asyncio.iscoroutine(waiting):
                future: asyncio.Future[Any] = start_task(waiting, self.loop)
            else:
                future = asyncio.ensure_future(waiting)
        except TypeError as error:  # neither None nor awaitable
            self._application_failed(error)
            return
        if future.done() and not future.cancelled() and future.exception() is None:
            go_on()
            return
        self._held = future

        def done(future: asyncio.Future[Any]) -> None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            if self._held is not future:
                if error is not None and not isinstance(error, asyncio.CancelledError):
                    if is_input_error(error):
                        return  # what is left of a body that nobody reads any more
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
