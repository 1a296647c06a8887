"""The farewell: how a peer is told that its connection takes no more streams.

Decides when the last is said. It must not know what is in flight, nor when the connection closes.

A drain says it twice. The first GOAWAY names the highest stream there can be and takes nothing
away: what the peer sends before it has heard of it is still served. The second one names the last
stream that was, once a PING has come back or `LAST_CALL_S` are over.

Source: RFC 9113 section 6.8.
"""

from __future__ import annotations

import math
from typing import Final

from edgeserver.http2.errors import NO_ERROR
from edgeserver.http2.frames import MAX_STREAM_ID, PING, render_frame, render_goaway

__all__ = ["Farewell"]

LAST_CALL_S: Final = 1.0
"""How long a drain waits for what was on its way when the peer heard of it."""

DRAIN_PING: Final = b"draining"


class Farewell:
    """What a peer was told of the end of its connection.

    Attributes:
        said: Whether the last stream was named: none is opened any more.
        due_s: When it is to be named, in loop seconds; infinite while nobody has asked for it.
    """

    __slots__ = ("due_s", "said")

    def __init__(self) -> None:
        self.said = False
        self.due_s = math.inf

    @property
    def has_begun(self) -> bool:
        """Whether the last stream is to be named."""
        return self.due_s != math.inf

    def begin(self, now_s: float) -> bytes:
        """Return the frames that announce the end; nothing where that was done."""
        if self.has_begun or self.said:
            return b""
        self.due_s = now_s + LAST_CALL_S
        return render_goaway(MAX_STREAM_ID, NO_ERROR) + render_frame(PING, 0, 0, DRAIN_PING)

    def is_heard(self, payload: bytes) -> bool:
        """Tell whether the answer to a PING says that the announcement has come."""
        return payload == DRAIN_PING and self.has_begun

    def say(self, last_id: int) -> bytes:
        """Return the GOAWAY that names the last stream; nothing where that was done."""
        self.forget()
        if self.said:
            return b""
        self.said = True
        return render_goaway(last_id, NO_ERROR)

    def forget(self) -> None:
        """Wait for nothing any more."""
        self.due_s = math.inf
