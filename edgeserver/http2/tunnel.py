"""A tunnel: one stream of a connection as a transport, for what has taken it over from HTTP.

Decides how DATA becomes bytes and bytes become DATA: who does not read withholds the credit of the
stream, the end of what is written is END_STREAM, and an abort is RST_STREAM. It must not know what
is spoken in it, such as a WebSocket's frames.

Before it is handed out it keeps what has come already. What waits because nobody reads is at most
the credit of one stream, and counts as held by the server.

Source: RFC 8441 section 5; asyncio's documentation of `Transport` and `Protocol`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from edgeserver.http2.outgoing import Outgoing
from edgeserver.http2.sender import STREAM_HELD, FrameSender
from edgeserver.support.held import HeldBudget
from edgeserver.support.loggers import app_log
from edgeserver.transport.handover import replace_layer

__all__ = ["Tunnel", "TunnelOwner"]


class TunnelOwner(Protocol):
    """The stream, as its tunnel sees it."""

    def tunnel_read(self, size: int) -> None:
        """Called when `size` bytes were taken."""
        ...

    def tunnel_wrote(self) -> None:
        """Called when something was written."""
        ...

    def tunnel_ended(self) -> None:
        """Called when one direction has ended: the stream is over if both have."""
        ...

    def tunnel_aborted(self) -> None:
        """Called to have the stream reset."""
        ...


class Tunnel(asyncio.Transport):
    """The bytes of one stream.

    Args:
        owner: The stream.
        sender: Where its frames go.
        out: What the sender knows of the stream.
        budget: The sum of what the server holds.
    """

    __slots__ = (
        "_budget",
        "_closing",
        "_eof",
        "_eof_told",
        "_eof_written",
        "_held",
        "_lost",
        "_out",
        "_owner",
        "_planned",
        "_protocol",
        "_reading_paused",
        "_sender",
        "_writing_paused",
    )

    def __init__(
        self, owner: TunnelOwner, sender: FrameSender, out: Outgoing, budget: HeldBudget
    ) -> None:
        super().__init__()
        self._owner = owner
        self._sender = sender
        self._out = out
        self._budget = budget
        self._protocol: asyncio.Protocol | None = None  # before it is handed out
        self._held = bytearray()  # what has come and nobody reads
        self._planned = False  # whether what is held is given in the loop's next turn
        self._reading_paused = False
        self._writing_paused = False
        self._eof = False  # whether END_STREAM has come
        self._eof_told = False
        self._eof_written = False
        self._closing = False
        self._lost = False

    def attach(self, protocol: asyncio.Protocol) -> None:
        """Hand the tunnel to `protocol`, with what has come."""
        replace_layer(self, protocol)
        self._watch(self._sender.room(self._out))
        self._go_on()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of what comes will be read any more."""
        return self._closing or self._eof_told or self._protocol is None

    # What the stream says.

    def receive(self, data: bytes) -> None:
        """Called with DATA."""
        if self._closing:
            self._owner.tunnel_read(len(data))  # thrown away
        elif self._protocol is None or self._reading_paused or self._held:
            self._held += data
            self._budget.take(len(data))
        else:
            self._give(data)

    def receive_eof(self) -> None:
        """Called with END_STREAM."""
        self._eof = True
        if self._protocol is not None and not self._planned:
            self._go_on()

    def lost(self, error: Exception | None) -> None:
        """Called when the stream is over, however it went."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._drop_held()
        if self._protocol is not None:
            self._sender.output.loop.call_soon(self._protocol.connection_lost, error)

    # Input.

    def _give(self, data: bytes) -> None:
        protocol = self._protocol
        assert protocol is not None, "nothing is given before"
        size = len(data)
        try:
            protocol.data_received(data)
        except Exception:
            # No other stream of the connection is to hear of it.
            app_log.error("Uncaught exception", exc_info=True)
            self.abort()
            return
        if not self._lost:
            self._owner.tunnel_read(size)

    def _go_on(self) -> None:
        """Give what is held, then the end where that has come."""
        self._planned = False
        if self._reading_paused or self._closing:
            return
        if self._held:
            data = bytes(self._held)
            self._held.clear()
            self._budget.give(len(data))
            self._give(data)
        if self._eof and not (self._eof_told or self._held or self._reading_paused):
            self._tell_eof()

    def _tell_eof(self) -> None:
        protocol = self._protocol
        if protocol is None or self._closing:
            return
        self._eof_told = True
        try:
            stays = protocol.eof_received()
        except Exception:
            app_log.error("Uncaught exception", exc_info=True)
            self.abort()
            return
        if stays:
            self._owner.tunnel_ended()
        else:
            self.close()

    def _drop_held(self) -> None:
        size = len(self._held)
        if size:
            self._held.clear()
            self._budget.give(size)
            if not self._lost:
                self._owner.tunnel_read(size)

    def is_reading(self) -> bool:
        """Return whether what comes is given to the protocol."""
        return not (self._reading_paused or self._closing)

    def pause_reading(self) -> None:
        """Give the protocol nothing for now; the peer gets no more credit than it has."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Give what has come, in the event loop's next turn, and what will."""
        self._reading_paused = False
        if (self._held or self._eof) and not (self._planned or self._closing):
            self._planned = True
            self._sender.output.loop.call_soon(self._go_on)

    # Output.

    def write(self, data: Any) -> None:
        """Have bytes leave as DATA."""
        if self._closing or self._eof_written or not data:
            return
        room = self._sender.write(self._out, data if type(data) is bytes else bytes(data))
        self._owner.tunnel_wrote()
        self._watch(room)

    def _watch(self, room: asyncio.Future[None]) -> None:
        """Have the protocol pause until there is room."""
        protocol = self._protocol
        if protocol is not None and not (room.done() or self._writing_paused or self._lost):
            self._writing_paused = True
            room.add_done_callback(self._resume_writing)
            protocol.pause_writing()

    def _resume_writing(self, room: asyncio.Future[None]) -> None:
        self._writing_paused = False
        if self._protocol is not None and not self._lost:
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the windows of the peer, or for the transport."""
        return self._out.queued

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return from how many bytes on the protocol pauses, and goes on: the same for each."""
        return STREAM_HELD, STREAM_HELD

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Change nothing: how much a stream may hold is the connection's."""

    def can_write_eof(self) -> bool:
        """Return True: each direction of a stream ends by itself."""
        return True

    def write_eof(self) -> None:
        """Have END_STREAM follow what was written."""
        if not (self._eof_written or self._closing):
            self._eof_written = True
            self._sender.finish(self._out)

    # The end.

    def is_closing(self) -> bool:
        """Return whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """End the stream once what was written has left; nothing more is read."""
        if self._closing:
            return
        self._closing = True
        self._drop_held()
        if not self._eof_written:
            self._eof_written = True
            self._sender.finish(self._out)
        self._owner.tunnel_ended()

    def abort(self) -> None:
        """Reset the stream; what has not left is lost."""
        if not self._lost:
            self._closing = True
            self._owner.tunnel_aborted()

    # What is asked of a transport.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol hear what comes."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who hears what comes."""
        assert self._protocol is not None, "it has been handed out"
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the connection's transport says, while there is one."""
        transport = self._sender.output.transport
        return default if transport is None else transport.get_extra_info(name, default)
