"""Credit: how much DATA a peer may still send on all streams of a connection together.

Decides when it is told that it may send more. It must not know who takes what was sent.

Source: RFC 9113 section 6.9.
"""

from __future__ import annotations

from edgeserver.http2.errors import FLOW_CONTROL_ERROR, HTTP2Error
from edgeserver.http2.frames import render_window_update
from edgeserver.http2.limits import CONNECTION_CREDIT

__all__ = ["ConnectionCredit"]


class ConnectionCredit:
    """The credit of one connection."""

    __slots__ = ("_left", "_untold")

    def __init__(self) -> None:
        self._left = CONNECTION_CREDIT  # how much may still come
        self._untold = 0  # how much of what has come the peer has no credit for

    def spend(self, size: int) -> None:
        """Count a frame of DATA, its padding too.

        Raises:
            HTTP2Error: It is more than was allowed.
        """
        self._left -= size
        if self._left < 0:
            raise HTTP2Error(
                FLOW_CONTROL_ERROR, "more DATA than the connection allows", "RFC 9113 section 6.9.1"
            )

    def give(self, size: int) -> bytes:
        """Give back what was taken; return the frame that tells the peer, or nothing yet."""
        self._untold += size
        if self._untold < CONNECTION_CREDIT // 2:
            return b""
        step, self._untold = self._untold, 0
        self._left += step
        return render_window_update(0, step)
