"""A WebSocket on the wire: frames in and out, pings, limits, and how it closes.

Decides what is read and written when, over the sans-IO layer of `websockets`. It must not know
what an application does with messages, nor how frames make one: `inbox.py` has what has come.

Bounds: a message is at most `max_size` bytes once decompressed; reading pauses while messages wait
for the application or the peer takes no bytes (else pongs for its pings would pile up); a peer
that is silent for `ping_timeout` after a ping is cut, and so is one that does not close in time.

Source: RFC 6455; RFC 7692 for permessage-deflate.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.adapters.asgi.waiting import wake
from edgeserver.httputil.interfaces import Detached
from edgeserver.iostream import closed_error
from edgeserver.websocket.assembler import Inbox
from edgeserver.websocket.settings import (
    CLOSE_TIMEOUT_S,
    FEW_FRAMES,
    HELD_BYTES,
    LARGE_SLICE,
    LINGER_S,
    SLICE,
    WebSocketSettings,
)

__all__ = ["ABNORMAL", "INTERNAL_ERROR", "WebSocketWire"]

ABNORMAL: Final = 1006
"""What is reported where no Close frame came. Source: RFC 6455 section 7.1.5."""

INVALID_DATA: Final = 1007
INTERNAL_ERROR: Final = 1011


class WebSocketWire(Detached):
    """The protocol of a connection that has become a WebSocket.

    Args:
        protocol: The sans-IO layer, whose handshake has been accepted.
        settings: Limits and keepalive.

    Attributes:
        messages: What has come and was not received: `str` or `bytes` each.
        close_code: Why the WebSocket is closed; None while it is open.
        close_reason: What was said of it.
    """

    __slots__ = (
        "__weakref__",
        "_heard",
        "_inbox",
        "_keepalive",
        "_last_write_size",
        "_loop",
        "_protocol",
        "_reading_paused",
        "_receivers",
        "_rest",
        "_rest_planned",
        "_settings",
        "_slice_bytes",
        "_timer",
        "_transport",
        "_writers",
        "_writing_paused",
        "close_code",
        "close_reason",
        "messages",
    )

    def __init__(self, protocol: ServerProtocol, settings: WebSocketSettings) -> None:
        self._inbox = inbox = Inbox()
        self.messages = inbox.messages
        self.close_code: int | None = None
        self.close_reason = ""
        self._protocol = protocol
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._rest_planned = False
        self._slice_bytes = SLICE
        self._reading_paused = False
        self._writing_paused = False
        self._receivers: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.Future[None]] = []
        self._heard = True
        self._last_write_size = 0
        self._keepalive: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

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
        message = self._inbox.pop()
        if self._reading_paused:
            self._resume_reading()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message; done when more may be sent.

        Raises:
            StreamClosedError: The WebSocket is closed, or closing.
        """
        protocol = self._protocol
        if self._transport is None or protocol.state is not State.OPEN:
            raise closed_error()
        if isinstance(message, str):
            protocol.send_text(message.encode())
        else:
            protocol.send_binary(message)
        self._write()
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
        self._protocol.send_close(code, reason)
        self._write()
        self._resume_reading()  # the answer is to be seen
        self._end_within(CLOSE_TIMEOUT_S)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from HTTP."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HELD_BYTES)
        if not self._transport.is_reading():
            self._transport.resume_reading()
        if self._settings.ping_interval is not None:
            self._keepalive = self._loop.call_later(self._settings.ping_interval, self._ping)

    def data_received(self, data: bytes) -> None:
        """Take frames, at most a slice of them before the event loop has its turn."""
        self._heard = True
        if self.close_code is not None or self._protocol.eof_sent:
            return  # nothing is read any more
        if self._rest:  # what the transport still had when reading was paused
            self._rest += data
            return
        most = self._slice_bytes
        if len(data) > most:
            data, self._rest = data[:most], data[most:]
            self._pause_reading()
            self._plan_rest()
        self._receive(data)

    def _plan_rest(self) -> None:
        if not self._rest_planned:
            self._rest_planned = True
            self._loop.call_soon(self._take_rest)

    def _take_rest(self) -> None:
        """Take the next slice of what has come, unless it has to wait."""
        self._rest_planned = False
        if self._transport is None or self.close_code is not None or self._protocol.eof_sent:
            self._rest = b""
        elif self._may_read():
            most = self._slice_bytes
            data, self._rest = self._rest[:most], self._rest[most:]
            self._receive(data)
        self._resume_reading()

    def _receive(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        frames: list[Any] = protocol.events_received()  # a server whose handshake is over: frames
        inbox = self._inbox
        try:
            inbox.take(frames)
        except UnicodeDecodeError as error:
            # RFC 6455 section 8.1: "that endpoint MUST _Fail the WebSocket Connection_".
            if protocol.state is State.OPEN:
                protocol.fail(INVALID_DATA, f"{error.reason} at {error.start}")
        self._slice_bytes = LARGE_SLICE if len(frames) <= FEW_FRAMES else SLICE
        self._write()
        if self.messages:
            if inbox.is_full():
                self._pause_reading()
            wake(self._receivers)
        if protocol.state is not State.OPEN:
            self._note_close()

    def eof_received(self) -> bool:
        """Hear that the peer sends no more, with or without a Close frame before."""
        return False

    def pause_writing(self) -> None:
        """Hold back senders, and answers to pings with them."""
        self._writing_paused = True
        self._last_write_size = 0
        self._pause_reading()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writing_paused = False
        wake(self._writers)
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is gone."""
        self._transport = None
        for timer in (self._keepalive, self._timer):
            if timer is not None:
                timer.cancel()
        received = self._protocol.close_rcvd
        if self.close_code is None:
            self.close_code = ABNORMAL if received is None else received.code
            self.close_reason = "" if received is None else received.reason
        wake(self._receivers)
        wake(self._writers)

    def _write(self) -> None:
        """Give the transport what the sans-IO layer has to say, its end included."""
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is None:
                return
            if data:
                transport.write(data)
            else:
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
        else:
            return
        wake(self._receivers)

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
        self._heard = False
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
            silent = not self._heard and not self._reading_paused
        if silent:
            self._protocol.fail(INTERNAL_ERROR, "keepalive ping timeout")
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

    def _may_read(self) -> bool:
        """Return whether neither the application nor the peer has too much to take."""
        closing = self._protocol.state is not State.OPEN
        return not self._writing_paused and (closing or self._inbox.has_room())

    def _resume_reading(self) -> None:
        if not self._reading_paused or self._transport is None or not self._may_read():
            return
        if self._rest:
            self._plan_rest()
        else:
            self._reading_paused = False
            self._transport.resume_reading()
