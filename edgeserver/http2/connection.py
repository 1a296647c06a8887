"""One HTTP/2 connection: the asyncio protocol, and the state machine of its streams.

Decides what each frame leads to: which stream it opens, feeds or ends, what of it is an error of
the stream or of the connection, how much of what costs a peer nothing it may do, and how the
connection ends. It owns the parts that know how: `HeadReader`, `Encoder`, `FrameSender`,
`PeerSettings`, `ConnectionCredit`, `Farewell`, `Admission`, and a `Stream` for each request. It
must not know how a block is encoded nor what an application is.

The states of the connection:

- `_started` once the preface has come, `_settled` once the first SETTINGS has.
- `_block` is set from HEADERS without END_HEADERS to the CONTINUATION that has it: nothing else may
  come meanwhile.
- `_scheduled` is set while `_run` waits for its turn: input that comes meanwhile is only kept.
- `_farewell` has begun from the first GOAWAY of a drain to the second, and is said from then on: no
  stream is opened any more. When none is left the connection is closed.
- `_closing` is set when nothing is read any more.

The states of a stream are those of RFC 9113 section 5.1. It is in `_streams` until its answer has
left and its request has come, or it was reset. `_past` remembers those that were reset last: frames
that cross a RST_STREAM of ours on their way mean nothing. `_skipped` remembers which numbers were
passed over: all others up to `_last_id` are streams that are over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import struct
import time
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import Any, Final, Literal, cast

from edgeserver.errors import HTTPInputError
from edgeserver.http.admission import Admission
from edgeserver.http.service import TrustSource
from edgeserver.http2.budget import Budget
from edgeserver.http2.control_frames import (
    check_goaway,
    check_ping,
    check_priority,
    check_reset,
    is_acknowledgement,
    read_priority_update,
    read_window_update,
)
from edgeserver.http2.credit import ConnectionCredit
from edgeserver.http2.errors import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INADEQUATE_SECURITY,
    NAMES,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    HTTP2Error,
    StreamError,
    closed_stream,
    on_stream_zero,
)
from edgeserver.http2.exchange import HTTP2Exchange
from edgeserver.http2.farewell import Farewell
from edgeserver.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    MAX_FRAME_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    render_frame,
    render_goaway,
    render_reset,
    render_window_update,
    strip_padding,
    strip_priority,
)
from edgeserver.http2.head import RequestHead
from edgeserver.http2.head_reader import HeadReader, PendingBlock
from edgeserver.http2.hpack.encoder import Encoder
from edgeserver.http2.limits import (
    IDLE_FRAMES,
    IDLE_FRAMES_PER_ANSWER,
    IDLE_FRAMES_PER_S,
    IDLE_FRAMES_PER_WRITE,
    MAX_BLOCK_BYTES,
    OPENED_IN_A_ROW,
    RESETS_PER_S,
    SMALL_STEP,
    STREAM_CREDIT,
)
from edgeserver.http2.priority import EarlyPriorities, parse_priority
from edgeserver.http2.sender import FrameSender
from edgeserver.http2.settings import PeerSettings
from edgeserver.http2.shared import HTTP2Shared
from edgeserver.http2.stream import Stream
from edgeserver.http2.unreleased import Unreleased
from edgeserver.httputil.context import ConnectionContext, is_nameless
from edgeserver.support.escape import escape
from edgeserver.support.preludes import explain_prelude, is_part, prelude_version
from edgeserver.support.spelling import spelled

__all__ = ["HTTP2Connection"]

NEVER: Final = math.inf

HELD_INPUT: Final = 64 * 1024
"""Bytes of input kept while nobody takes them; beyond that reading pauses."""

KEPT_PAST: Final = 256
"""How many streams are remembered that were reset."""

KEPT_GAPS: Final = 64
"""How many gaps between the numbers of streams are remembered: clients leave none."""

WHOLE_REQUEST: Final = END_HEADERS | END_STREAM
"""The flags of HEADERS that are all there is of a request, with nothing in front of its block."""

_LONG: Final = struct.Struct(">I")

UNREAD: Final = RequestHead("-", "-", {}, None, -1, "")
"""What the access log says of a head that was not kept: `- - -`, and a peer."""


class HTTP2Connection(asyncio.Protocol):
    """The protocol of one connection; it is also the `server_conn` that delegates get.

    Args:
        shared: What all connections of the server share.
        prelude: The PROXY header that came first, or None.
        misdirected: Tells whether a request for a host may not be served on this connection;
            given the host that TLS was made for and the one asked for. None if any may.
        believed: Who is believed on this connection; None for whom the service believes.

    Attributes:
        transport: The transport; None once the connection is lost.
        sender: What is written to it.
        admission: Who gives requests to the application.
        deadline: When waiting for the preface or a request ends, in loop seconds.
    """

    __slots__ = (
        "_block",
        "_buffer",
        "_closing",
        "_connection_context",
        "_credit",
        "_encoder",
        "_eof",
        "_farewell",
        "_head_deadline",
        "_heads",
        "_idle_frames",
        "_kept_fields",
        "_last_id",
        "_last_served",
        "_left",
        "_most_streams",
        "_opened",
        "_past",
        "_peer",
        "_prelude",
        "_priorities",
        "_reading_paused",
        "_resets",
        "_scheduled",
        "_service",
        "_settled",
        "_shared",
        "_skipped",
        "_started",
        "_streams",
        "_unreleased",
        "admission",
        "deadline",
        "sender",
        "transport",
    )

    sender: FrameSender
    _connection_context: Context  # what each request's own is a copy of
    _most_streams: int  # that the peer was told, whatever limits there are by now
    _resets: Budget
    _idle_frames: Budget

    def __init__(
        self,
        shared: HTTP2Shared,
        prelude: Any = None,
        misdirected: Callable[[str, str], bool] | None = None,
        believed: TrustSource | None = None,
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.deadline = NEVER
        self._shared = shared
        service = self._service = shared.service
        self._prelude = prelude
        self.admission = Admission(service, self, misdirected, believed)
        limits = service.limits
        self._heads = HeadReader(
            max_list_bytes=limits.max_header_size, max_fields=limits.max_header_fields
        )
        self._encoder = Encoder()
        self._peer = PeerSettings()
        self._streams: dict[int, Stream] = {}
        self._past: dict[int, bool] = {}  # streams that were reset; whether by us
        self._skipped: list[tuple[int, int]] = []  # between which two of the peer's numbers
        # Of streams that the peer has not opened yet; None as long as it has said nothing of any.
        self._priorities: EarlyPriorities | None = None
        self._unreleased = Unreleased()  # reset, and not let go by the application
        self._last_id = 0  # the highest that the peer has used
        self._last_served = 0  # the highest of which the application may have heard
        self._buffer = b""  # what has come and was not taken
        self._started = False
        self._settled = False
        self._block: PendingBlock | None = None  # of a head that is not complete
        self._head_deadline = NEVER  # when what has begun of a frame or a block has to be there
        self._credit = ConnectionCredit()
        self._opened = 0  # streams that were opened in this turn
        self._kept_fields: dict[bytes, bytes] | None = None  # that admission has decided on
        self._scheduled = False
        self._closing = False
        self._eof = False  # whether the peer has closed its half
        self._reading_paused = False
        self._left = False  # whether it is the application's, for its WebSockets
        self._farewell = Farewell()

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called with a fresh transport, plain or TLS."""
        service = self._service
        info = service.meet(self, transport, self._prelude)
        if info is None:
            return
        self.admission.info = info
        self.transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        ready = service.ready_future(loop)
        self.sender = FrameSender(self.transport, loop, service.batch, ready, self)
        service.opened(self, loop)
        now = loop.time()
        self._most_streams = service.limits.max_streams
        self._resets = Budget(service.limits.max_resets, RESETS_PER_S, now)
        self._idle_frames = Budget(IDLE_FRAMES, IDLE_FRAMES_PER_S, now)
        self.deadline = min(now + service.limits.header_timeout, service.clock.idle_deadline)
        self._connection_context = copy_context()
        if not isinstance(info.address, tuple) and is_nameless(transport):
            self.abort()
            return
        self.sender.send(self._shared.preface)
        tls = info.tls
        if tls is not None and not is_adequate(tls):
            self._fail(
                HTTP2Error(
                    INADEQUATE_SECURITY,
                    f"{tls.version} with {tls.cipher}, which HTTP/2 does not allow",
                    "RFC 9113 section 9.2",
                )
            )
        elif service.closes_each:
            pass  # the first stream is the last
        elif service.must_close:
            self._begin_drain()

    def data_received(self, data: bytes) -> None:
        """Called with the next bytes."""
        if self._closing:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._scheduled:
            if len(self._buffer) > HELD_INPUT:
                self._pause_reading()
            return
        self._run()

    def eof_received(self) -> bool:
        """Called when the peer has sent its last byte; it may still read."""
        self._eof = True
        transport = self.transport
        if self._closing or transport is None:
            return False
        self.sender.flush()  # a transport that is told to close takes nothing more
        for stream in list(self._streams.values()):
            if stream.reading:
                stream.cut()
                self._forget(stream)
        if not self._streams or not transport.can_write_eof():
            return False  # nothing is owed; or without half-close there is nobody to answer
        self.deadline = self._now() + self._service.limits.write_timeout
        for stream in list(self._streams.values()):
            stream.exchange_left(stream.exchange)
        return True

    def pause_writing(self) -> None:
        """Called when the peer does not take what is written.

        Nothing is read until it does, so acknowledgements cannot pile up.
        """
        self.sender.output.pause()
        if not self._closing:
            self._pause_reading()

    def resume_writing(self) -> None:
        """Called when the peer has taken what was written."""
        self.sender.output.resume(closing=self._closing)
        self.sender.pump()
        self.sender.flush_soon()
        if not self._closing and not self._scheduled:
            self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone, however it went."""
        if self.transport is None:
            return
        if self._closing and isinstance(exc, TimeoutError):
            self._complain_of_writing()
        self.transport = None  # whoever is told now finds the connection closed
        self._closing = True
        self.deadline = NEVER
        self._farewell.forget()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.cut()
        self.sender.output.release()
        self._buffer = b""
        if not self._left:
            self._service.closed(self)

    # The loop.

    def _run(self) -> None:
        """Go through the input as far as there is any, then rest."""
        self._scheduled = False
        if self._closing or self.transport is None:
            return
        self._opened = 0
        sender = self.sender
        sender.cork()
        try:
            self._take_frames()
        except HTTP2Error as error:
            self._fail(error)
        finally:
            sender.uncork()
        self._rest()

    def _take_frames(self) -> None:
        """Act on each frame that is there.

        Raises:
            HTTP2Error: The peer breaks a rule of the connection.
        """
        data = self._buffer
        self._buffer = b""  # whatever goes wrong, nothing is acted upon twice
        position = 0
        size = len(data)
        turns = self._service.turns
        if not self._started:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                self._buffer = data  # for the log
                if is_part(data):
                    return
                raise HTTP2Error(
                    PROTOCOL_ERROR,
                    f"no HTTP/2 connection preface but '{escape(data[: len(PREFACE)])}'",
                    "RFC 9113 section 3.4",
                )
            if size < len(PREFACE):
                self._buffer = data
                return
            self._started = True
            position = len(PREFACE)
        while size - position >= HEADER_BYTES:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > MAX_FRAME_BYTES:
                raise HTTP2Error(
                    FRAME_SIZE_ERROR, f"a frame of {length} bytes", "RFC 9113 section 4.2"
                )
            start = position + HEADER_BYTES
            end = start + length
            if end > size:
                break
            position = end
            if self._block is None:
                self._head_deadline = NEVER
                if (
                    kind == HEADERS
                    and flags == WHOLE_REQUEST
                    and stream_id == self._last_id + 2  # which is odd, or 0
                    and 2 < stream_id <= MAX_STREAM_ID
                    and self._settled
                ):
                    # Nearly every frame is one of these.
                    self._last_id = stream_id
                    self._take_request(stream_id, data[start:end], True)
                else:
                    stream_id &= MAX_STREAM_ID
                    self._take_frame(kind, flags, stream_id, data, start, end)
            else:
                self._take_frame(kind, flags, stream_id & MAX_STREAM_ID, data, start, end)
            if self._closing:
                return
            if position < size and (self._opened >= OPENED_IN_A_ROW or turns.spent()):
                self._scheduled = True
                turns.wait(self._run)
                break
        self._buffer = data[position:] if position < size else b""

    def _take_frame(
        self, kind: int, flags: int, stream_id: int, data: bytes, start: int, end: int
    ) -> None:
        """Act on one frame, whose payload is `data[start:end]`."""
        if self._block is not None and (kind != CONTINUATION or stream_id != self._block.stream_id):
            raise HTTP2Error(
                PROTOCOL_ERROR, "a frame in the middle of a header block", "RFC 9113 section 4.3"
            )
        if not self._settled and kind != SETTINGS:
            raise HTTP2Error(PROTOCOL_ERROR, "a frame before SETTINGS", "RFC 9113 section 3.4")
        if kind == HEADERS:
            self._take_headers(flags, stream_id, data, start, end)
        elif kind == DATA:
            self._take_data(flags, stream_id, data, start, end)
        elif kind == WINDOW_UPDATE:
            self._take_window_update(stream_id, data[start:end])
        elif kind == RST_STREAM:
            self._take_reset(stream_id, data[start:end])
        elif kind == SETTINGS:
            self._take_settings(flags, stream_id, data[start:end])
        elif kind == PING:
            self._take_ping(flags, stream_id, data[start:end])
        elif kind == CONTINUATION:
            self._take_continuation(flags, stream_id, data[start:end])
        elif kind == PRIORITY:
            self._take_priority(stream_id, data[start:end])
        elif kind == PRIORITY_UPDATE:
            self._take_priority_update(stream_id, data[start:end])
        elif kind == GOAWAY:
            self._take_goaway(stream_id, end - start)
        elif kind == PUSH_PROMISE:
            raise HTTP2Error(PROTOCOL_ERROR, "PUSH_PROMISE from a client", "RFC 9113 section 8.4")
        else:
            self._count_idle_frame()  # "MUST ignore and discard frames of unknown types"

    def _rest(self) -> None:
        """Set what is waited for, now that the input is used up."""
        if self._closing or self.transport is None:
            return
        if self._block is None and not self._has_half_frame():
            self._head_deadline = NEVER
        elif self._head_deadline == NEVER:
            self._head_deadline = self._now() + self._service.limits.header_timeout
        if self._reading_paused and not self._scheduled and not self.sender.output.paused:
            self._resume_reading()

    def _has_half_frame(self) -> bool:
        """Tell whether a frame has begun but DATA of a body, which has its own time."""
        buffer = self._buffer
        if not buffer or self._scheduled:
            return False
        if len(buffer) < HEADER_BYTES or buffer[3] != DATA:
            return True
        stream = self._streams.get(_LONG.unpack_from(buffer, 5)[0] & MAX_STREAM_ID)
        return stream is None or not stream.reading

    def _pause_reading(self) -> None:
        if not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()

    # Frames: HEADERS and CONTINUATION.

    def _take_headers(self, flags: int, stream_id: int, data: bytes, start: int, end: int) -> None:
        if not stream_id:
            raise on_stream_zero("HEADERS", "6.2")
        if flags & PADDED:
            start, end = strip_padding(data, start, end)
        if flags & PRIORITY_FLAG:
            start = strip_priority(data, start, end, stream_id)
        ends = flags & END_STREAM != 0
        if flags & END_HEADERS:
            self._take_block(stream_id, data[start:end], ends)
            return
        self._block = PendingBlock(stream_id, data[start:end], ends=ends)

    def _take_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise HTTP2Error(
                PROTOCOL_ERROR, "CONTINUATION without HEADERS", "RFC 9113 section 6.10"
            )
        block.add(payload, max(MAX_BLOCK_BYTES, self._service.limits.max_header_size))
        if flags & END_HEADERS:
            self._block = None
            self._take_block(stream_id, bytes(block.content), block.ends)

    def _take_block(self, stream_id: int, block: bytes, ends: bool) -> None:
        """Act on a whole header block: a request, or the trailers of one."""
        last_id = self._last_id
        if stream_id <= last_id or not stream_id & 1:
            self._take_trailers(stream_id, block, ends)
            return
        if stream_id - last_id > 2:
            self._skipped.append((last_id, stream_id))
            if len(self._skipped) > KEPT_GAPS:
                del self._skipped[0]
        self._last_id = stream_id
        self._take_request(stream_id, block, ends)

    def _take_request(self, stream_id: int, block: bytes, ends: bool) -> None:
        streams = self._streams
        count = len(streams)
        service = self._service
        if self._unreleased.used:
            count += len(self._unreleased)
        if count >= self._most_streams or self._farewell.said:
            # Not even looked at: the peer may ask again, RFC 9113 section 8.7.
            self._heads.skip(block)
            if not self._farewell.said:
                service.count_shed("max-streams")
            self._send_reset(stream_id, REFUSED_STREAM)
            self._count_reset()
            return
        if service.closes_each:
            self._last_served = stream_id
            self._say_last()
        self._opened += 1
        try:
            head = self._heads.read(block)
        except StreamError as error:
            self._malformed(stream_id, error)
            self._close_soon()
            return
        except HTTPInputError as refusal:
            self._refuse_unread(stream_id, refusal, ends)
            return
        self._open(stream_id, head, ends)

    def _open(self, stream_id: int, head: RequestHead, ends: bool) -> None:
        admission = self.admission
        stream = Stream(
            stream_id,
            self,
            self._service,
            self.sender,
            admission.info,
            self._connection_context.copy(),
        )
        self._streams[stream_id] = stream
        self._last_served = stream_id
        fields = head.fields
        if fields is not self._kept_fields:
            if head.lines is None:
                self._kept_fields = fields
                admission.remember(fields)
            elif self._kept_fields is not None:
                self._kept_fields = None
                admission.remember(None)
        self.deadline = NEVER
        if self._priorities is not None:
            # What has come beforehand is newer than the field. Source: RFC 9218 section 7.
            early = self._priorities.take(stream_id)
            self._prioritize(stream, fields.get(b"priority") if early is None else early)
        elif head.priority is not None:
            stream.priority = head.priority
        try:
            stream.begin(head, ends, admission, self._encoder, self._shared)
        except StreamError as error:
            self._streams.pop(stream_id, None)
            self._malformed(stream_id, error)
            self._close_soon()

    @staticmethod
    def _prioritize(stream: Stream, value: bytes | None) -> None:
        if value is not None:
            stream.prioritize(parse_priority(value))

    def _new_stream(self, stream_id: int) -> Stream:
        return Stream(
            stream_id,
            self,
            self._service,
            self.sender,
            self.admission.info,
            self._connection_context.copy(),
        )

    def _refuse_unread(self, stream_id: int, error: HTTPInputError, ends: bool) -> None:
        """Answer a request whose head was too long to be kept."""
        stream = self._new_stream(stream_id)
        stream.reading = not ends
        self._streams[stream_id] = stream
        self._last_served = stream_id
        info = self.admission.info
        exchange = HTTP2Exchange(
            stream, self.sender, stream_id, self._encoder, self._shared, info, UNREAD
        )
        exchange.client = exchange.bound = None
        exchange.remote_ip, exchange.protocol = info.peer_ip, info.scheme
        exchange.version = "-"
        exchange.started_s = time.perf_counter()
        stream.exchange = exchange
        stream.refuse(error)

    def _take_trailers(self, stream_id: int, block: bytes, ends: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._heads.skip(block)
            if self._past.get(stream_id):
                self._count_idle_frame()  # it has crossed our RST_STREAM on the way
                return
            if not stream_id & 1 or any(low < stream_id < high for low, high in self._skipped):
                raise HTTP2Error(
                    PROTOCOL_ERROR,
                    f"HEADERS of stream {stream_id} after {self._last_id}",
                    "RFC 9113 section 5.1.1",
                )
            raise closed_stream("HEADERS", stream_id)
        if not stream.reading:
            self._heads.skip(block)
            self._break_stream(stream, STREAM_CLOSED, "HEADERS after END_STREAM")
            return
        try:
            self._heads.read_trailers(block)
            if not ends:
                raise StreamError(
                    PROTOCOL_ERROR,
                    "Malformed request: trailers without END_STREAM",
                    "RFC 9113 section 8.1",
                )
            stream.end()
        except StreamError as error:
            self._break_stream(stream, error.code, str(error), error.rfc)
        except HTTPInputError as refusal:
            stream.refuse(refusal)

    # Frames: DATA.

    def _take_data(self, flags: int, stream_id: int, data: bytes, start: int, end: int) -> None:
        if not stream_id:
            raise on_stream_zero("DATA", "6.1")
        size = end - start  # padding counts: RFC 9113 section 6.9.1
        if flags & PADDED:
            start, end = strip_padding(data, start, end)
        self._credit.spend(size)
        stream = self._streams.get(stream_id)
        if stream is None or not self._service.budget.exceeded:
            # A body that nobody takes holds back its own stream alone.
            self._give_connection_credit(size)
        else:
            # But where too much is held over all connections, nobody is asked for more.
            stream.withheld += size
        if stream is None:
            self._take_stray_data(stream_id)
            return
        if not stream.reading:
            self._break_stream(stream, STREAM_CLOSED, "DATA after END_STREAM")
            return
        stream.credit -= size
        if stream.credit < 0:
            self._break_stream(
                stream, FLOW_CONTROL_ERROR, "more DATA than allowed", "RFC 9113 section 6.9.1"
            )
            return
        self._feed(stream, data[start:end], size, ends=flags & END_STREAM != 0)

    def _feed(self, stream: Stream, piece: bytes, size: int, *, ends: bool) -> None:
        """Give a stream a piece of its body; `size` is what the frame has counted."""
        padding = size - len(piece)
        if not piece and not ends:
            self._count_idle_frame()
        if padding and not ends:
            self.give_credit(stream, padding)
        try:
            if piece:
                stream.receive(piece)
            if ends and not stream.is_over:
                stream.end()
        except StreamError as error:
            self._break_stream(stream, error.code, str(error), error.rfc)

    def _take_stray_data(self, stream_id: int) -> None:
        """Act on DATA of a stream that is not there."""
        if stream_id > self._last_id or not stream_id & 1:
            raise HTTP2Error(
                PROTOCOL_ERROR, f"DATA on idle stream {stream_id}", "RFC 9113 section 5.1"
            )
        self._count_idle_frame()
        self._reset_past(stream_id, STREAM_CLOSED)

    def _give_connection_credit(self, size: int) -> None:
        frame = self._credit.give(size)
        if frame:
            self.sender.send(frame)

    def give_credit(self, stream: Stream, size: int) -> None:
        """Called when the application has taken `size` bytes of a body; see `StreamHost`."""
        if stream.withheld:
            step = min(stream.withheld, size)
            stream.withheld -= step
            self._give_connection_credit(step)
        stream.untold += size
        if stream.untold >= STREAM_CREDIT // 2 and stream.reading and not stream.is_over:
            self.sender.send(render_window_update(stream.stream_id, stream.untold))
            stream.credit += stream.untold
            stream.untold = 0

    # Frames: the others.

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if is_acknowledgement(flags, stream_id, payload):
            if not self._settled:
                raise HTTP2Error(
                    PROTOCOL_ERROR, "an acknowledgement before SETTINGS", "RFC 9113 section 3.4"
                )
            self._count_idle_frame()
            return
        before = self._peer.window
        self._peer.apply(payload)
        self._encoder.limit_table(self._peer.table_bytes)
        step = self._peer.window - before
        if step:
            self._move_windows(step)
        if self._settled:
            self._count_idle_frame()
        else:
            self._settled = True
            self.deadline = self._service.clock.idle_deadline
        self.sender.send(render_frame(SETTINGS, ACK, 0, b""))

    def _move_windows(self, step: int) -> None:
        """Change the window of each stream, as a new initial one says; one pass, no sending."""
        self.sender.first_window = self._peer.window
        for stream in self._streams.values():
            out = stream.out
            if out is None:
                continue
            out.window += step
            if out.window > MAX_WINDOW:
                raise HTTP2Error(
                    FLOW_CONTROL_ERROR, "a window of more than 2^31-1", "RFC 9113 section 6.9.2"
                )

    def _take_window_update(self, stream_id: int, payload: bytes) -> None:
        step = read_window_update(stream_id, payload)
        if step < SMALL_STEP:
            self._count_idle_frame()
        if not stream_id:
            if not self.sender.widen(step):
                raise HTTP2Error(
                    FLOW_CONTROL_ERROR, "a window of more than 2^31-1", "RFC 9113 section 6.9.1"
                )
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_id or not stream_id & 1:
                raise HTTP2Error(
                    PROTOCOL_ERROR,
                    f"WINDOW_UPDATE on idle stream {stream_id}",
                    "RFC 9113 section 5.1",
                )
            self._count_idle_frame()
        elif not step:
            self._break_stream(stream, PROTOCOL_ERROR, "a step of 0", "RFC 9113 section 6.9")
        elif stream.outgoing().window + step > MAX_WINDOW:
            self._break_stream(
                stream, FLOW_CONTROL_ERROR, "a window of more than 2^31-1", "RFC 9113 section 6.9.1"
            )
        else:
            stream.outgoing().window += step

    def _take_reset(self, stream_id: int, payload: bytes) -> None:
        check_reset(stream_id, payload)
        stream = self._streams.get(stream_id)
        if stream is not None:
            half_closed = (
                stream.is_detached and stream.outgoing().complete
            )  # the rest is good manners
            self._end_stream(stream, reset=False)
            if not half_closed:
                self._count_reset()
        elif stream_id > self._last_id or not stream_id & 1:
            raise HTTP2Error(
                PROTOCOL_ERROR, f"RST_STREAM on idle stream {stream_id}", "RFC 9113 section 6.4"
            )
        else:
            self._count_idle_frame()

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_ping(stream_id, payload)
        self._count_idle_frame()
        if not flags & ACK:
            self.sender.send(render_frame(PING, ACK, 0, payload))
        elif self._farewell.is_heard(payload):
            self._say_last()

    def _take_priority(self, stream_id: int, payload: bytes) -> None:
        error = check_priority(stream_id, payload)
        self._count_idle_frame()
        if error is None:
            return
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._break_stream(stream, error.code, str(error), error.rfc)
        elif stream_id > self._last_id or not stream_id & 1:
            raise error
        else:
            self._reset_past(stream_id, error.code)

    def _take_priority_update(self, stream_id: int, payload: bytes) -> None:
        """Act on the other way to say a priority. Source: RFC 9218 section 7.1."""
        about = read_priority_update(stream_id, payload)
        self._count_idle_frame()
        stream = self._streams.get(about)
        if stream is not None:
            self._prioritize(stream, payload[4:])
            self.sender.flush_soon()
        elif about > self._last_id:
            if self._priorities is None:
                self._priorities = EarlyPriorities()
            self._priorities.keep(about, payload[4:])

    def _take_goaway(self, stream_id: int, size: int) -> None:
        check_goaway(stream_id, size)
        # The peer opens nothing more; what is in flight is answered.
        self._say_last()

    # What costs a peer nothing.

    def _count_idle_frame(self) -> None:
        if not self._idle_frames.spend(self._now()):
            raise HTTP2Error(ENHANCE_YOUR_CALM, "too many frames that do nothing")

    def _count_reset(self) -> None:
        """Count a stream that was reset before its end, by either side, or refused."""
        if not self._resets.spend(self._now()):
            # Not raised: an application may be in the middle of the call that has led here.
            self._fail(
                HTTP2Error(
                    ENHANCE_YOUR_CALM,
                    f"too many streams reset or refused ({spelled('max_resets')})",
                )
            )

    # Streams end.

    def answer_sent(self, stream_id: int) -> None:
        """Called when the END_STREAM of a stream has left; see `SentListener`."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.sent()

    def stream_over(self, stream: Stream) -> None:
        """Called when an answer has left that is complete; see `StreamHost`."""
        self._idle_frames.earned += IDLE_FRAMES_PER_ANSWER
        if stream.reading:
            # RFC 9113 section 8.1: "a server MAY request that the client abort transmission of a
            # request without error by sending a RST_STREAM with an error code of NO_ERROR".
            self._send_reset(stream.stream_id, NO_ERROR)
        self._forget(stream)

    def reset_stream(self, stream: Stream, code: int) -> None:
        """End a stream before its time; see `StreamHost`."""
        if stream.is_over or self.transport is None:
            return
        self._send_reset(stream.stream_id, code)
        self._end_stream(stream, reset=True)
        self._count_reset()

    def tunnel_wrote(self) -> None:
        """Called when something was written to a WebSocket; see `StreamHost`."""
        self._idle_frames.earn(IDLE_FRAMES_PER_WRITE)

    def _break_stream(self, stream: Stream, code: int, reason: str, rfc: str = "") -> None:
        """Reset a stream whose peer has broken a rule."""
        if not stream.is_over:
            self._complain_of(reason, rfc)
            self.reset_stream(stream, code)

    def _malformed(self, stream_id: int, error: StreamError) -> None:
        """Reset a stream before there is any."""
        self._complain_of(str(error), error.rfc)
        self._send_reset(stream_id, error.code)
        self._remember_past(stream_id, reset=True)
        self._count_reset()

    def _end_stream(self, stream: Stream, *, reset: bool) -> None:
        """End a stream that was reset, and count it until the application has let it go."""
        self._unreleased.add(stream.exchange)
        stream.cut()
        self._remember_past(stream.stream_id, reset=reset)
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """Have a stream no more; close the connection if it was the last."""
        self._streams.pop(stream.stream_id, None)
        if stream.withheld:
            self._give_connection_credit(stream.withheld)
            stream.withheld = 0
        if not self._streams and not self._closing:
            self.deadline = self._service.clock.idle_deadline
            if self._farewell.said or self._eof:
                self._close_soon()

    def _close_soon(self) -> None:
        """Close the connection, if this was the last of it; not in the middle of anything."""
        if not self._streams and (self._farewell.said or self._eof):
            self.sender.output.loop.call_soon(self._close_if_done)

    def _close_if_done(self) -> None:
        if not self._streams and not self._closing:
            self.linger()

    def _remember_past(self, stream_id: int, *, reset: bool) -> None:
        past = self._past
        past[stream_id] = reset
        if len(past) > KEPT_PAST:
            del past[next(iter(past))]

    def _reset_past(self, stream_id: int, code: int) -> None:
        """Tell a peer once that a stream is over on which it does what it must not."""
        if not self._past.get(stream_id, False):
            self._send_reset(stream_id, code)
            self._count_reset()

    def _send_reset(self, stream_id: int, code: int) -> None:
        self.sender.send(render_reset(stream_id, code))
        self._remember_past(stream_id, reset=True)

    # The connection fails.

    def _fail(self, error: HTTP2Error) -> None:
        """End the connection because its peer has broken a rule."""
        if self._closing or self.transport is None:
            return
        version = None if self._started else prelude_version(self._buffer)
        if version is None:
            name = NAMES.get(error.code, str(error.code))
            self._complain_of(f"{error} ({name})", error.rfc)
        else:
            self._complain_of_prelude(version)
        self._end_all(error.code, str(error))

    def _end_all(self, code: int, reason: str = "") -> None:
        """Say GOAWAY, end all streams, and close once that is flushed."""
        self.sender.pump()  # answers that are complete
        self.sender.send(render_goaway(self._last_served, code, reason))
        self._farewell.said = True
        streams, self._streams = self._streams, {}
        self.linger()
        for stream in streams.values():
            stream.cut()

    def _complain_of_prelude(self, version: Literal["v1", "v2"]) -> None:
        info = self.admission.info
        self._service.count_refused("proxy-protocol")
        self._service.complain(
            self.sender.output.loop.time(),
            info,
            "connection from %s refused: %s",
            info.peer,
            explain_prelude(version, info.peer, after=info.prelude is not None),
            level=logging.WARNING,
        )

    def _complain_of(self, reason: str, rfc: str) -> None:
        # The peer and not a client: until a head is resolved nobody knows whose it is.
        self._service.count_refused(rfc or "HTTP/2")
        rule = f" ({rfc})" if rfc else ""
        self.complain("HTTP/2 error from %s: %s%s", self.admission.info.peer, reason, rule)

    def complain(self, text: str, *args: object) -> None:
        """Log a line about the peer, within the service's limits."""
        self._service.complain(self._now(), self.admission.info, text, *args)

    def _complain_of_writing(self) -> None:
        self.complain("Timeout writing to %s: it takes no bytes", str(self.admission.info))

    def _now(self) -> float:
        return self.sender.output.loop.time()

    # Deadlines; see `ServedConnection`.

    @property
    def exchanges(self) -> Sequence[HTTP2Exchange]:
        """The exchanges of all streams that are still HTTP's."""
        return [each.exchange for each in self._streams.values() if not each.is_detached]

    @property
    def next_deadline(self) -> float:
        """When somebody may be late, in loop seconds."""
        if self._streams or self._farewell.has_begun:
            return 0.0
        return min(self.deadline, self._head_deadline, self.sender.output.deadline)

    def check_deadlines(self, now_s: float) -> None:
        """Act on what is overdue; the service calls this about once a second."""
        if self.transport is None:
            return
        if self.sender.output.is_stalled(now_s):
            self._complain_of_writing()
            self.abort()
            return
        if self._closing:
            return
        if self._farewell.due_s <= now_s:
            self._say_last()
        for stream in list(self._streams.values()):
            stream.check_deadline(now_s)
        if self.sender.waiting:
            self._check_stalled(now_s)
        if min(self.deadline, self._head_deadline) <= now_s and not self._closing:
            self._waited_too_long(now_s)

    def _check_stalled(self, now_s: float) -> None:
        """Give up answers of which the peer takes nothing."""
        late, are_all = self.sender.stalled(now_s, self._service.limits.write_timeout)
        if not late:
            return
        self._complain_of_writing()
        for out in late:
            stream = self._streams.get(out.stream_id)
            if stream is not None:
                self.reset_stream(stream, CANCEL)
        if are_all and not self._closing:
            self._say_last()

    def _waited_too_long(self, now_s: float) -> None:
        """Act on a peer that has not sent in time what it should have."""
        if self._head_deadline <= now_s:
            self._service.count_refused("header-timeout")
            self.complain("Timeout reading a frame from %s", self.admission.info.peer)
            self._end_all(ENHANCE_YOUR_CALM, "a frame did not come in time")
        elif self._eof:
            self.abort()
        elif not self._settled:
            self._service.count_refused("header-timeout")
            self.complain("Timeout reading the preface from %s", self.admission.info.peer)
            self._end_all(NO_ERROR, "no preface in time")
        else:
            self._end_all(NO_ERROR)

    # The end of the connection.

    @property
    def context(self) -> ConnectionContext:
        """The connection, as its peer has it."""
        info = self.admission.info
        return ConnectionContext(info, info.peer_ip, info.scheme)

    @property
    def closing(self) -> bool:
        """Whether nothing more will be read."""
        return self._closing or self.transport is None

    def close(self) -> None:
        """Close the connection, idle or busy, without waiting for the application."""
        transport = self.transport
        if transport is None or self._left:
            return
        tunnels = [each.tunnel for each in self._streams.values() if each.is_detached]
        if tunnels:
            self._leave([tunnel.get_protocol() for tunnel in tunnels if tunnel is not None])
        elif not self._streams and not transport.get_write_buffer_size():
            if not self._closing:
                self.sender.send(render_goaway(self._last_served, NO_ERROR))
                self._shut()
        else:
            self.abort()

    def _leave(self, protocols: list[asyncio.BaseProtocol]) -> None:
        """Leave the server: the connection goes on as its WebSockets, the application's."""
        self._left = True
        self._say_last()
        for stream in list(self._streams.values()):
            if not stream.is_detached:
                self.reset_stream(stream, CANCEL)
        self._service.detached(self, protocols[0])
        for protocol in protocols[1:]:
            self._service.connections.add_detached(protocol)

    def drain(self) -> None:
        """Let what is in flight finish, and close the connection then.

        The peer is told twice: what it sends before it has heard of it is still served. Source:
        RFC 9113 section 6.8.
        """
        if self.transport is None or self._closing:
            return
        if self._service.draining:
            self._say_last()
        else:
            self._begin_drain()

    def _begin_drain(self) -> None:
        frames = self._farewell.begin(self._now())
        if frames:
            self.sender.send(frames)

    def _say_last(self) -> None:
        """Say which stream is the last; no other is opened."""
        frame = self._farewell.say(self._last_served)
        if frame:
            self.sender.send(frame)
            self._close_soon()

    def _shut(self) -> None:
        """Close once all output has been delivered."""
        if self.transport is None:
            return
        self._closing = True
        self.deadline = NEVER
        self.sender.close()
        self.sender.output.close()

    def linger(self) -> None:
        """Close so that the peer receives the output, even if it is still sending."""
        if self.transport is None or self._closing:
            return
        if self._eof:
            self._shut()
            return
        self._closing = True
        self.deadline = NEVER
        self.sender.close()
        self.sender.output.linger(self)

    def abort(self) -> None:
        """Close at once; output that the peer has not taken is lost."""
        if self.transport is not None:
            self._closing = True
            self.sender.abort()


def is_adequate(tls: Any) -> bool:
    """Tell whether what TLS has negotiated is allowed with HTTP/2.

    Source: RFC 9113 section 9.2: TLS 1.2 at least, and no suite of Appendix A, which lists those
    that are not both ephemeral and authenticated encryption.
    """
    if tls.version == "TLSv1.3":
        return True
    cipher = str(tls.cipher)
    return (
        tls.version == "TLSv1.2"
        and cipher.startswith(("ECDHE-", "DHE-"))
        and ("GCM" in cipher or "CHACHA20" in cipher or "CCM" in cipher)
    )
