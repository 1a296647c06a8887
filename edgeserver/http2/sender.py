"""The frame sender: what leaves when, within the windows of the peer and the room of the transport.

Decides which stream's DATA is next, when an application has to wait before it writes more, and
whose peer takes nothing. It must not know what is received, nor what the bytes say.

HEADERS leave in the order in which they were encoded, since HPACK's tables depend on it; DATA waits
at its stream until the turn's end, so that END_STREAM stands in its last frame.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from edgeserver.http.batching import Flushed, WriteBatch
from edgeserver.http.output import OutputBuffer
from edgeserver.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADERS,
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    data_header,
    render_headers,
)
from edgeserver.http2.outgoing import Outgoing
from edgeserver.http2.settings import DEFAULT_WINDOW

__all__ = ["STREAM_HELD", "FrameSender", "SentListener"]

STREAM_HELD: Final = 64 * 1024
"""Bytes that wait on a stream beyond which `write` waits, too."""

CONNECTION_HELD: Final = 1024 * 1024
"""The same of all streams of a connection."""

SMALL_DATA: Final = 1024
"""DATA that is shorter because of a window waits for more of it, unless it is the rest."""

_pack: Final = FRAME_HEADER.pack


class SentListener(Protocol):
    """Who is told of what has left."""

    def answer_sent(self, stream_id: int) -> None:
        """Called when the END_STREAM of a stream has left."""
        ...


class FrameSender(Flushed):
    """The outgoing frames of one connection.

    Args:
        transport: Where they go.
        loop: Its event loop.
        batch: What flushes the outputs of one turn.
        ready: A future of that loop that is done.
        listener: Who is told when an answer has left.

    Attributes:
        output: Where the bytes go.
        window: How many bytes of DATA the peer takes on all streams together.
        first_window: How many it takes on a new stream.
        waiting: The streams of which something waits.
        ready: A future that is done.
    """

    __slots__ = (
        "_batch",
        "_blocked",
        "_closed",
        "_corked",
        "_listener",
        "_planned",
        "_queued",
        "first_window",
        "output",
        "ready",
        "waiting",
        "window",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        batch: WriteBatch,
        ready: asyncio.Future[None],
        listener: SentListener,
    ) -> None:
        self.output = OutputBuffer(transport, loop, batch, ready)
        self.window = DEFAULT_WINDOW
        self.first_window = DEFAULT_WINDOW
        self.waiting: dict[int, Outgoing] = {}
        self._batch = batch
        self.ready = ready
        self._listener = listener
        self._blocked: dict[int, Outgoing] = {}  # the streams that somebody waits for
        self._planned = False  # whether the batch has this sender
        self._closed = False  # whether nothing leaves any more
        self._corked = False  # whether whoever reads flushes later
        self._queued = 0  # the bytes that wait on all streams

    # What is to leave.

    def send(self, frame: bytes) -> None:
        """Have a frame leave that no window holds back."""
        if not self._closed:
            self.output.collect(frame)
            self.flush_soon()

    def send_head(self, out: Outgoing, block: bytes, *, ends: bool) -> None:
        """Have a header block leave; `ends` says that nothing follows it."""
        if self._closed:
            return
        self.output.collect(render_headers(out.stream_id, block, ends=ends))
        if not (self._corked or self._planned):
            self.flush_soon()
        if ends:
            self._complete(out)

    def begin(self, out: Outgoing, block: bytes, data: bytes) -> asyncio.Future[None]:
        """Have a header block leave, and its first DATA; see `write`."""
        size = len(block)
        if size > MAX_FRAME_BYTES or self._closed or out.complete:
            self.send_head(out, block, ends=False)
            return self.write(out, data)
        stream_id = out.stream_id
        self.output.collect(_pack(size >> 8, size & 255, HEADERS, END_HEADERS, stream_id) + block)
        out.add(data)
        self._queued += len(data)
        self.waiting[stream_id] = out
        if not (self._corked or self._planned):
            self.flush_soon()
        return self.room(out)

    def send_whole(self, stream_id: int, block: bytes, data: bytes) -> bool:
        """Have a whole short answer leave, head and DATA and end; say whether it could.

        Nobody is told: whoever writes it knows. It could not, and nothing was done, where a window,
        the transport or others stand in its way. That of the stream is taken for as wide as it was
        at first: it can only be wider.
        """
        size = len(data)
        head = len(block)
        if (
            self._queued
            or size > self.first_window
            or size > self.window
            or size > MAX_FRAME_BYTES
            or head > MAX_FRAME_BYTES
            or self.output.paused
            or self._closed
        ):
            return False
        self.output.collect(
            b"".join(
                (
                    _pack(head >> 8, head & 255, HEADERS, END_HEADERS, stream_id),
                    block,
                    _pack(size >> 8, size & 255, DATA, END_STREAM, stream_id),
                    data,
                )
            )
        )
        if self._planned:
            self._batch.answers += 1
        else:
            self._plan_answer()
        self.window -= size
        return True

    def write(self, out: Outgoing, data: bytes) -> asyncio.Future[None]:
        """Have DATA leave; return a future that is done when more may be written."""
        size = len(data)
        if size and not (out.complete or self._closed):
            out.add(data)
            self._queued += size
            self.waiting[out.stream_id] = out
            if not (self._corked or self._planned):
                self.flush_soon()
        return self.room(out)

    def end(self, out: Outgoing) -> bool:
        """Have the stream end after what was written; say whether it has, at once.

        Then `answer_sent` is not called: whoever ends it knows.
        """
        if out.complete or out.ended or self._closed:
            return False
        out.ended = True
        size = out.queued
        if (
            self._queued == size  # no other stream's waits
            and size <= out.window
            and size <= self.window
            and size <= MAX_FRAME_BYTES
            and not out.trailers
            and not self.output.paused
        ):
            self._send_all(out, size)
        elif not size and not out.trailers and not self.output.paused:
            self._send_all(out, 0)
        else:
            self.waiting[out.stream_id] = out
        if self._planned:
            self._batch.answers += 1
        else:
            self._plan_answer()
        return out.complete

    def finish(self, out: Outgoing) -> None:
        """Have the stream end after what was written, and be told when it has."""
        if self.end(out):
            self._listener.answer_sent(out.stream_id)

    def _send_all(self, out: Outgoing, size: int) -> None:
        """Send all of a short answer at once: nothing stands in its way, and nobody before it."""
        stream_id = out.stream_id
        last = _pack(size >> 8, size & 255, DATA, END_STREAM, stream_id)
        if out.only and not out.position:
            self.output.collect(last + out.only)
            out.only = b""
        else:
            self.output.collect(last)
            for piece in out.line_up():
                self.output.collect(piece[out.position :] if out.position else piece)
                out.position = 0
            out.pieces = None
        if size:
            out.queued = 0
            self.window -= size
            self._queued -= size
            self.waiting.pop(stream_id, None)
        out.complete = True
        if out.waiters is not None:
            self._blocked.pop(stream_id, None)
            out.release()

    def drop(self, out: Outgoing) -> None:
        """Let nothing more leave of a stream."""
        self._queued -= out.queued
        self.waiting.pop(out.stream_id, None)
        self._blocked.pop(out.stream_id, None)
        out.drop()

    def _complete(self, out: Outgoing) -> None:
        out.ended = out.complete = True
        if out.waiters is not None:
            self._blocked.pop(out.stream_id, None)
            out.release()
        self._listener.answer_sent(out.stream_id)

    # When it leaves.

    def cork(self) -> None:
        """Only collect for now: `uncork` follows."""
        self._corked = True

    def uncork(self) -> None:
        """End a stretch in which output was only collected."""
        self._corked = False
        self.flush_soon()

    def flush_soon(self) -> None:
        """Have what waits leave before the event loop's next turn."""
        if not (self._corked or self._planned):
            self._planned = True
            self._batch.flush_soon(self, self.output.loop)

    def _plan_answer(self) -> None:
        """Have an answer that is complete leave so, or count it where others wait for it."""
        if self._planned:
            self._batch.answers += 1
        elif not self._corked:
            self._planned = True
            self._batch.flush_soon(self, self.output.loop)

    def flush(self) -> None:
        """Give the transport all that windows and room allow."""
        self._planned = False
        if self._closed:
            return
        if self.waiting:
            self.pump()
        self.output.flush()

    def close(self) -> None:
        """Give the transport all that may leave, and nothing from now on."""
        self.flush()
        self._closed = True

    def abort(self) -> None:
        """Close at once; output that the peer has not taken is lost."""
        self.output.abort()

    def render_peer(self) -> str:
        """Return the peer's address, for the log."""
        return self.output.render_peer()

    def pump(self) -> None:
        """Send what the windows allow: the most urgent first, in turns those that share."""
        order = list(self.waiting.values())
        if len(order) > 1:
            order.sort(key=_rank)
        while order and not self.output.paused:
            urgency = order[0].urgency
            level = [out for out in order if out.urgency == urgency]
            order = order[len(level) :]
            while level and not self.output.paused:
                level = [out for out in level if self._send_some(out)]
        self._let_write()

    def _send_some(self, out: Outgoing) -> bool:
        """Send a frame of `out`, or all that goes where it does not share; say whether to go on."""
        while not out.complete:
            if not out.queued:
                if out.ended:
                    self._end(out)
                self.waiting.pop(out.stream_id, None)
                return False
            room = self._room_for(out)
            if room <= 0:
                return False
            self._send_data(out, room)
            if out.complete or self.output.paused:
                return False
            if out.incremental:
                # Behind the others that share, in the next turn of the event loop too.
                if self.waiting.pop(out.stream_id, None) is not None:
                    self.waiting[out.stream_id] = out
                return True
        return False

    def _room_for(self, out: Outgoing) -> int:
        """Return how many bytes of DATA the next frame of `out` may have."""
        room = min(out.queued, out.window, self.window, MAX_FRAME_BYTES)
        if room < SMALL_DATA and room < out.queued and self.first_window >= 2 * SMALL_DATA:
            return 0
        return room

    def _send_data(self, out: Outgoing, room: int) -> None:
        pieces = out.line_up()
        parts = []
        left = room
        while left:
            piece = pieces[0]
            start = out.position
            if len(piece) - start > left:
                parts.append(piece[start : start + left])
                out.position = start + left
                break
            pieces.popleft()
            out.position = 0
            parts.append(piece[start:] if start else piece)
            left -= len(piece) - start
        out.queued -= room
        out.sent += room
        out.window -= room
        self.window -= room
        self._queued -= room
        ends = out.ended and not out.queued and not out.trailers
        self.output.collect(data_header(room, out.stream_id, ends=ends))
        self.output.collect(parts[0] if len(parts) == 1 else b"".join(parts))
        if ends:
            self.waiting.pop(out.stream_id, None)
            self._complete(out)

    def _end(self, out: Outgoing) -> None:
        if out.trailers:
            self.output.collect(render_headers(out.stream_id, out.trailers, ends=True))
        else:
            self.output.collect(data_header(0, out.stream_id, ends=True))
        self._complete(out)

    # What the peer says of its windows.

    def widen(self, step: int) -> bool:
        """Add to the connection's window; say whether it is still one."""
        self.window += step
        return self.window <= MAX_WINDOW

    # Back-pressure.

    def room(self, out: Outgoing) -> asyncio.Future[None]:
        """Return a future that is done when more may be written to a stream."""
        if out.complete or not (
            out.queued > STREAM_HELD or self._queued > CONNECTION_HELD or self.output.paused
        ):
            return self.ready  # mostly; else it is looked at closely
        if not self.is_full(out):
            return self.ready
        waiter = self.output.loop.create_future()
        if out.waiters is None:
            out.waiters = []
            self._blocked[out.stream_id] = out
        out.waiters.append(waiter)
        return waiter

    def is_full(self, out: Outgoing) -> bool:
        """Tell whether who writes to a stream has to wait."""
        return (
            out.queued > STREAM_HELD
            or (out.queued > 0 and self._queued > CONNECTION_HELD)
            or self.output.paused
        )

    def _let_write(self) -> None:
        """Let those write on for whom there is room again."""
        if self._blocked:
            for out in list(self._blocked.values()):
                if not self.is_full(out):
                    del self._blocked[out.stream_id]
                    out.release()

    # Who takes nothing.

    def stalled(self, now_s: float, timeout_s: float) -> tuple[list[Outgoing], bool]:
        """Return the streams whose peer has taken nothing in time, and whether these are all.

        Those that wait for their turn while others get on are not late.
        """
        late = []
        overdue = 0
        for out in self.waiting.values():
            if out.since_s == 0 or out.sent != out.seen:
                out.seen = out.sent
                out.since_s = now_s
            elif now_s - out.since_s >= timeout_s:
                overdue += 1
                if out.queued and out.window < min(out.queued, SMALL_DATA):
                    late.append(out)
        if overdue and overdue == len(self.waiting):
            return list(self.waiting.values()), True
        return late, False


def _rank(out: Outgoing) -> tuple[int, int]:
    """Return what streams are sorted by; those that share keep the order that they have."""
    return out.urgency, MAX_WINDOW if out.incremental else out.stream_id
