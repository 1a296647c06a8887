"""A WebSocket connection: frames in and out, pings, limits, and the end.

Decides what is read and written when, over the sans-IO layer of `websockets`. It must not know
what an application does with messages, nor how frames make one: `assembler.py` has what has come.

Bounds: a message is at most `max_size` bytes once decompressed, and of so many fragments. Frames
are decoded one at a time, and the next only while the application has room, the peer takes its
bytes (else pongs for its pings would pile up), the server holds not too much, and the turn of the
event loop has time left. What is not decoded stays as it came, and reading pauses. A peer that is
silent for `ping_timeout` after a ping is cut, and so is one that does not close in time.

Source: RFC 6455; RFC 7692 for permessage-deflate.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.httputil.interfaces import Detached
from edgeserver.iostream import closed_error
from edgeserver.support.held import HeldBudget
from edgeserver.support.ratelimit import LimitedLog
from edgeserver.support.spelling import spelled
from edgeserver.support.tasks import notify_all
from edgeserver.support.turns import TurnBudget, turns_of
from edgeserver.websocket.assembler import MessageAssembler
from edgeserver.websocket.frame_reader import FrameReader
from edgeserver.websocket.settings import (
    CLOSE_TIMEOUT_S,
    HELD_BYTES,
    HELD_RETRY_S,
    LINGER_S,
    SMALL_BYTES,
    UNFINISHED_S,
    Excess,
    WebSocketSettings,
)

__all__ = ["ABNORMAL", "INTERNAL_ERROR", "WebSocketConnection"]

ABNORMAL: Final = 1006
"""What is reported where no Close frame came. Source: RFC 6455 section 7.1.5."""

_TEXT: Final = 0x80 | int(Opcode.TEXT)  # of one frame
_BINARY: Final = 0x80 | int(Opcode.BINARY)
_CONTROL: Final = int(Opcode.CLOSE)  # and beyond. Source: RFC 6455 section 5.5.

INVALID_DATA: Final = 1007
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013


class WebSocketConnection(Detached):
    """A connection that has become a WebSocket.

    Args:
        protocol: The sans-IO layer, whose handshake has been accepted.
        settings: Limits and keepalive.
        held: What the server holds of bodies and messages, this WebSocket's own included.
        log: Where it is said that the peer broke a rule, or was silent.
        turns: The event loop's time for frames; that of the running loop where it is None.
        name: The peer, for the log.

    Attributes:
        messages: What has come and was not received: `str` or `bytes` each.
        close_code: Why the WebSocket is closed; None while it is open.
        close_reason: What was said of it.
    """

    __slots__ = (
        "__weakref__",
        "_assembler",
        "_counted_bytes",
        "_frames",
        "_has_closed",
        "_has_come",
        "_held",
        "_keepalive",
        "_last_write_size",
        "_log",
        "_loop",
        "_name",
        "_planned",
        "_protocol",
        "_reading_paused",
        "_receivers",
        "_retry",
        "_settings",
        "_timer",
        "_transport",
        "_turns",
        "_unfinished",
        "_writers",
        "_writing_paused",
        "close_code",
        "close_reason",
        "messages",
    )

    def __init__(
        self,
        protocol: ServerProtocol,
        settings: WebSocketSettings,
        *,
        held: HeldBudget,
        log: LimitedLog,
        turns: TurnBudget | None = None,
        name: str = "a client",
    ) -> None:
        self._assembler = assembler = MessageAssembler()
        self.messages = assembler.messages
        self.close_code: int | None = None
        self.close_reason = ""
        # The sans-IO layer, and what cuts its input into frames.
        self._protocol = protocol
        self._settings = settings
        self._loop = loop = asyncio.get_running_loop()
        self._frames = FrameReader(protocol, loop.time, settings.max_size)
        self._turns = turns_of(loop) if turns is None else turns
        # The server's budget, and how much of it is counted for this WebSocket.
        self._held = held
        self._counted_bytes = 0
        self._name = name
        self._log = log
        # None before connection_made and after connection_lost.
        self._transport: asyncio.Transport | None = None
        # Whether another turn of the event loop will go on with what has come.
        self._planned = False
        # Whether this has told the transport to wait, and whether the transport has told this to.
        self._reading_paused = False
        self._writing_paused = False
        # Who waits in receive(), and who in send().
        self._receivers: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.Future[None]] = []
        # Whether this end has sent its Close frame because the application wanted to.
        self._has_closed = False
        # Whether anything came since the last ping; and what was not taken then.
        self._has_come = True
        self._last_write_size = 0
        # The next ping, or the look at what came after it.
        self._keepalive: asyncio.TimerHandle | None = None
        # The end of the time that the peer has to close.
        self._timer: asyncio.TimerHandle | None = None
        # The next look whether the server holds less.
        self._retry: asyncio.TimerHandle | None = None
        # The end of the time that a message may take while the server holds too much.
        self._unfinished: asyncio.TimerHandle | None = None

    def closed(self) -> bool:
        """Return whether the connection is closed."""
        return self._transport is None

    # What the application wants.

    async def receive(self) -> str | bytes | None:
        """Return the next message; None once the WebSocket is closed and all were received."""
        messages = self.messages
        while not messages:
            if self.close_code is not None:
                return None
            waiter = self._loop.create_future()
            self._receivers.append(waiter)
            await waiter
        message = self._assembler.pop()
        self._count_held()
        if self._reading_paused:
            self._resume_reading()
        return message

    def let_go(self) -> None:
        """Forget what has come and nobody will receive: the application has ended."""
        self._assembler.clear()
        self._count_held()
        self._resume_reading()

    async def send(self, message: str | bytes) -> None:
        """Send a message; done when more may be sent.

        Raises:
            StreamClosedError: The WebSocket is closed, or closing.
        """
        protocol, transport = self._protocol, self._transport
        if transport is None or protocol.state is not State.OPEN:
            raise closed_error()
        is_text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        if protocol.extensions:  # they may compress it
            if is_text:
                protocol.send_text(data)
            else:
                protocol.send_binary(data)
            self._write()
        else:
            # What the sans-IO layer would make of it, which has nothing else to say now: `_write`
            # has followed whatever it was told.
            # One write: two cost more, even of 64 KiB.
            transport.write(_frame_head(_TEXT if is_text else _BINARY, len(data)) + data)
        if self._writing_paused:
            waiter = self._loop.create_future()
            self._writers.append(waiter)
            await waiter

    def close(self, code: int, reason: str = "") -> None:
        """Send a Close frame; the peer has `CLOSE_TIMEOUT_S` to answer it.

        Args:
            code: 1000, 1001, or another that may be sent.
            reason: At most 123 bytes of UTF-8.

        Raises:
            websockets.exceptions.ProtocolError: The code or the reason may not be sent.
        """
        if self._transport is None or self._protocol.state is not State.OPEN:
            return
        self._has_closed = True
        self._protocol.send_close(code, reason)
        self._write()
        self._resume_reading()  # the answer is to be seen
        self._end_within(CLOSE_TIMEOUT_S)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection has been taken over from HTTP."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HELD_BYTES)
        if not self._transport.is_reading():
            self._transport.resume_reading()
        if self._settings.ping_interval is not None:
            self._keepalive = self._loop.call_later(self._settings.ping_interval, self._ping)

    def data_received(self, data: bytes) -> None:
        """Called with bytes that have come; what may be taken now is taken."""
        self._has_come = True
        if self.close_code is not None or self._protocol.eof_sent:
            return  # nothing is read any more
        self._frames.put(data)
        if self._reading_paused:  # the transport had it already; there is an order to keep
            self._count_held()
        else:
            self._take()

    def _take_later(self) -> None:
        if not self._planned:
            self._planned = True
            self._turns.wait(self._take_in_turn)

    def _take_in_turn(self) -> None:
        """Go on with what has come, unless it has to wait for something else by now."""
        self._planned = False
        if self._transport is not None and not self._protocol.eof_sent:
            self._take()

    def _take(self) -> None:
        """Take frames until one has to wait, and read on unless one does."""
        protocol = self._protocol
        out_of_time = False
        try:
            out_of_time = self._take_frames()
        except UnicodeDecodeError as error:
            # RFC 6455 section 8.1: "that endpoint MUST _Fail the WebSocket Connection_".
            self._fail(INVALID_DATA, f"{error.reason} at {error.start}")
        except Excess as error:
            self._fail(error.code, error.reason)
        self._write()
        if self._receivers and self.messages:
            notify_all(self._receivers)
        self._count_held()
        if protocol.state is not State.OPEN:
            self._note_close()
            if protocol.eof_sent:
                return
        if out_of_time:
            self._pause_reading()
            self._take_later()
        elif not self._may_take():
            self._pause_reading()
            if self._held.exceeded:
                self._retry_later()
        elif self._reading_paused:
            self._read_on()

    def _take_frames(self) -> bool:
        """Take frames while they may be taken; return whether it is time that was not enough."""
        protocol, frames, assembler = self._protocol, self._frames, self._assembler
        while self._may_take():
            frame = frames.next()
            if frame is None:
                break
            if frame.opcode >= _CONTROL:
                self._write()  # the answer: whether the peer takes it is to be known
            else:
                if protocol.state is not State.OPEN and (
                    assembler.is_full() or self._held.exceeded
                ):
                    assembler.stop()  # the end is waited for, not what comes before it
                assembler.put(frame)
            if not frames.has_more():
                break
            if self._turns.spent():
                return True
        return False

    def _may_take(self) -> bool:
        """Return whether one more frame may be decoded."""
        if self._writing_paused:
            return False
        if self._protocol.state is not State.OPEN:
            return not self._protocol.eof_sent
        if self._assembler.is_full():
            return False
        return not self._held.exceeded or not self._must_wait()

    def _must_wait(self) -> bool:
        """Return whether the server holds too much for what comes next.

        Where nothing waits, a small message goes on: others that hold much do not silence all.
        """
        if not self._held.exceeded:
            return False
        assembler = self._assembler
        return bool(
            self.messages or assembler.begun_bytes or not self._frames.is_small(SMALL_BYTES)
        )

    def eof_received(self) -> bool:
        """Called when the peer sends no more, with or without a Close frame before."""
        return False

    def pause_writing(self) -> None:
        """Called when the peer takes no more: senders wait, and answers to pings with them."""
        self._writing_paused = True
        self._last_write_size = 0
        self._pause_reading()

    def resume_writing(self) -> None:
        """Called when the peer takes more again: senders go on."""
        self._writing_paused = False
        notify_all(self._writers)
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone."""
        self._transport = None
        for timer in (self._keepalive, self._timer, self._retry, self._unfinished):
            if timer is not None:
                timer.cancel()
        self._stop_taking()
        received = self._protocol.close_rcvd
        if self.close_code is None:
            self.close_code = ABNORMAL if received is None else received.code
            self.close_reason = "" if received is None else received.reason
        notify_all(self._receivers)
        notify_all(self._writers)

    def _write(self) -> None:
        """Give the transport what the sans-IO layer has to say, its end included."""
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is None:
                return
            if data:
                transport.write(data)
            else:
                self._stop_taking()
                self._end_within(LINGER_S)
                self._half_close(transport)

    def _half_close(self, transport: asyncio.Transport) -> None:
        # A full close with input unread would make the kernel send a reset, which may overtake
        # the Close frame.
        self._reading_paused = False
        try:
            if transport.can_write_eof():
                transport.write_eof()
                if not transport.is_reading():
                    transport.resume_reading()
            else:
                transport.close()
        except OSError:
            transport.abort()  # the peer was faster

    # The end.

    def _note_close(self) -> None:
        """Tell the application once a Close frame came, or the connection was failed."""
        protocol = self._protocol
        if self.close_code is not None:
            return
        if protocol.close_rcvd is not None:
            self.close_code = protocol.close_rcvd.code
            self.close_reason = protocol.close_rcvd.reason
        elif protocol.eof_sent:
            sent = protocol.close_sent
            self.close_code = ABNORMAL if sent is None else sent.code
            self.close_reason = "" if sent is None else sent.reason
            if not self._has_closed:
                self._log.write(
                    self._name,
                    "WebSocket from %s: closed with %d: %s",
                    self._name,
                    self.close_code,
                    self.close_reason,
                )
        else:
            return
        notify_all(self._receivers)

    def _fail(self, code: int, reason: str) -> None:
        """Close what has broken a rule, without waiting for an answer."""
        if not self._protocol.eof_sent:
            self._protocol.fail(code, reason)

    def _end_within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Keepalive.

    def _ping(self) -> None:
        """Send a ping, and see later whether anything came after it."""
        settings = self._settings
        transport = self._transport
        if transport is None or self._protocol.state is not State.OPEN:
            return
        self._has_come = False
        if not self._writing_paused:
            self._protocol.send_ping(b"")
            self._write()
        if settings.ping_timeout is None:
            self._after_ping(settings.ping_interval)
        else:
            self._keepalive = self._loop.call_later(settings.ping_timeout, self._check_pong)

    def _check_pong(self) -> None:
        """End the connection if the peer was silent, or takes no bytes."""
        settings = self._settings
        transport = self._transport
        if transport is None or self._protocol.state is not State.OPEN:
            return
        size = transport.get_write_buffer_size()
        if self._writing_paused:
            silent = size > 0 and size == self._last_write_size
            self._last_write_size = size
        else:
            # While the application does not receive, nothing is read and nothing can be heard.
            silent = not self._has_come and not self._reading_paused
        if silent:
            self._fail(INTERNAL_ERROR, "keepalive ping timeout")
            self._write()
            self._note_close()
            return
        assert settings.ping_interval is not None, "pings are sent"
        assert settings.ping_timeout is not None, "they are waited for"
        self._after_ping(max(settings.ping_interval - settings.ping_timeout, 0.01))

    def _after_ping(self, seconds: float | None) -> None:
        if seconds is not None:
            self._keepalive = self._loop.call_later(seconds, self._ping)

    # Who waits.

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        """Go on, if reading is paused and all that it waits for is there."""
        if not self._reading_paused or self._transport is None or self._writing_paused:
            return
        if self._protocol.state is State.OPEN:
            if not self._assembler.has_room():
                return
            if self._must_wait():
                self._retry_later()
                return
        if self._frames.has_more():
            self._take_later()
        elif not self._planned:
            self._read_on()

    def _read_on(self) -> None:
        if self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _retry_later(self) -> None:
        if self._retry is None:
            self._retry = self._loop.call_later(HELD_RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._resume_reading()

    # What is held.

    def _count_held(self) -> None:
        """Tell the server's budget what is held by now, and watch what is not finished."""
        assembler = self._assembler
        unfinished = self._frames.held_bytes + assembler.begun_bytes
        more = unfinished + assembler.held_bytes - self._counted_bytes
        if more > 0:
            self._held.take(more)
        elif more:
            self._held.give(-more)
        self._counted_bytes += more
        if unfinished and self._unfinished is None:
            self._watch_unfinished()

    def _watch_unfinished(self) -> None:
        self._unfinished = self._loop.call_later(
            UNFINISHED_S, self._check_unfinished, self._assembler.count
        )

    def _check_unfinished(self, count: int) -> None:
        """Close a WebSocket that keeps others from going on with what it does not finish.

        Source: RFC 6455 section 7.4.1, as registered since: 1013, "Try Again Later".
        """
        self._unfinished = None
        if self._held.exceeded and self._assembler.count == count and self._has_unfinished():
            self._fail(TRY_AGAIN_LATER, f"the server holds too much ({spelled('max_held')})")
            self._write()
            self._note_close()
        self._count_held()

    def _has_unfinished(self) -> bool:
        return bool(self._frames.held_bytes or self._assembler.begun_bytes)

    def _stop_taking(self) -> None:
        """Forget what is not a message yet: nothing is decoded any more."""
        self._frames.clear()
        self._assembler.stop()
        self._count_held()


def _frame_head(first: int, size: int) -> bytes:
    """Return what stands before the payload of a frame from a server, which masks nothing.

    Args:
        first: The first byte: whether it is the last frame of its message, and the opcode.
        size: How long the payload is.

    Source: RFC 6455 section 5.2.
    """
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return bytes((first, 126, *size.to_bytes(2, "big")))
    return bytes((first, 127, *size.to_bytes(8, "big")))
