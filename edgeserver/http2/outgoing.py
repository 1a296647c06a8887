"""The outgoing half of a stream: what is still to be sent of one answer.

Decides nothing: it is what `FrameSender` keeps of each stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["DEFAULT_URGENCY", "Outgoing"]

DEFAULT_URGENCY: Final = 3
"""Source: RFC 9218 section 4.1."""


class Outgoing:
    """What waits of one answer until the windows and the transport take it.

    Args:
        stream_id: The stream.
        window: How many bytes of DATA the peer takes on it.

    Attributes:
        only: All DATA that waits, where that is one piece that nothing was added to; else empty.
        pieces: DATA that waits, in order; None where there is none, or `only` one piece.
        position: How many bytes of the first of them have left.
        queued: How many bytes of it.
        sent: How many bytes of DATA have left.
        ended: Whether nothing more will be added.
        complete: Whether END_STREAM has left, or nothing is ever to leave again.
        trailers: The header block that follows the DATA; empty for none.
        waiters: Who waits until less waits.
        urgency: 0 to 7, the most urgent first.
        incremental: Whether it takes turns with others as urgent, or is sent in one go.
        seen: What `sent` was when it was last looked whether the peer takes anything.
        since_s: When it was that; 0 before.
    """

    __slots__ = (
        "complete",
        "ended",
        "incremental",
        "only",
        "pieces",
        "position",
        "queued",
        "seen",
        "sent",
        "since_s",
        "stream_id",
        "trailers",
        "urgency",
        "waiters",
        "window",
    )

    def __init__(self, stream_id: int, window: int) -> None:
        self.stream_id = stream_id
        self.window = window
        self.only = b""
        self.pieces: deque[bytes] | None = None
        self.position = 0
        self.queued = 0
        self.sent = 0
        self.ended = False
        self.complete = False
        self.trailers = b""
        self.waiters: list[asyncio.Future[None]] | None = None
        self.urgency = DEFAULT_URGENCY
        self.incremental = True
        self.seen = 0
        self.since_s = 0.0

    def add(self, data: bytes) -> None:
        """Have `data` wait behind what waits."""
        self.queued += len(data)
        if self.pieces is not None:
            self.pieces.append(data)
        elif self.only:
            self.pieces = deque((self.only, data))
            self.only = b""
        else:
            self.only = data

    def line_up(self) -> deque[bytes]:
        """Return what waits, as pieces to be taken from."""
        if self.pieces is None:
            self.pieces = deque((self.only,)) if self.only else deque()
            self.only = b""
        return self.pieces

    def drop(self) -> None:
        """Let nothing more leave, and nobody wait."""
        self.complete = self.ended = True
        self.only = b""
        self.pieces = None
        self.queued = 0
        self.release()

    def release(self) -> None:
        """Let those go on that wait."""
        waiters, self.waiters = self.waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
