"""The frame reader: bytes of a WebSocket, decoded one frame at a time.

Decides where a frame ends on the wire, so that the sans-IO layer is never given more than one: what
comes behind it stays as it came until somebody wants it. It must not know messages or a transport.

Source: RFC 6455 section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from edgeserver.websocket.settings import CONTROLS_PER_S, MOST_CONTROLS, POLICY, Excess

__all__ = ["FrameReader"]

_FIN: Final = 0x80
_RSV1: Final = 0x40
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F


class FrameReader:
    """The way of one WebSocket's bytes into the sans-IO layer, and of frames out of it.

    Args:
        protocol: The sans-IO layer.
        clock: Seconds that only grow.

    Attributes:
        held_bytes: Bytes that have come and are not a frame yet, here and in the sans-IO layer.
    """

    __slots__ = (
        "_at",
        "_clock",
        "_controls",
        "_controls_s",
        "_data",
        "_fed_bytes",
        "_left_bytes",
        "_protocol",
    )

    def __init__(self, protocol: ServerProtocol, clock: Callable[[], float]) -> None:
        # The sans-IO layer, which is never given more than one frame.
        self._protocol = protocol
        # Seconds that only grow, for the rate of control frames.
        self._clock = clock
        # What has come, and where in it the next byte stands that nobody has taken.
        self._data = b""
        self._at = 0
        # How much of the frame that is under way has not been taken.
        self._left_bytes = 0
        # How much of the same frame the sans-IO layer has already.
        self._fed_bytes = 0
        # Control frames that were not forgotten when one was counted last, and when that was.
        self._controls = 0.0
        self._controls_s = clock()

    @property
    def held_bytes(self) -> int:
        """How much has come that is not a frame yet."""
        return len(self._data) + self._fed_bytes

    def put(self, data: bytes) -> None:
        """Keep what has come."""
        rest = self._data
        if rest:
            data = rest[self._at :] + data
        self._data = data
        self._at = 0

    def clear(self) -> None:
        """Forget what has come: nothing is decoded any more."""
        self._data = b""
        self._at = self._fed_bytes = 0

    def has_more(self) -> bool:
        """Return whether something has not been given to the sans-IO layer."""
        return bool(self._data)

    def is_small(self, most: int) -> bool:
        """Return whether what comes next makes no message of more than `most` bytes."""
        data, at = self._data, self._at
        if self._left_bytes:
            return False
        size = _frame_bytes(data, at)
        first = data[at] if size else 0
        return size <= most and (not size or (bool(first & _FIN) and not first & _RSV1))

    def next(self) -> Frame | None:
        """Return the next frame, decompressed; None while it is not whole, and after a failure.

        Raises:
            Excess: Too many control frames have come.
        """
        data, at = self._data, self._at
        left = self._left_bytes or _frame_bytes(data, at)
        size = len(data) - at
        if size > left:
            size = left
        self._left_bytes = left - size
        if not size:
            return None
        end = at + size
        protocol = self._protocol
        protocol.receive_data(data[at:end])
        if end == len(data):
            self._data = b""
            self._at = 0
        else:
            self._at = end
        frames: list[Any] = protocol.events_received()  # the handshake is over: frames
        if not frames:
            self._fed_bytes += size
            return None
        self._fed_bytes = 0
        frame: Frame = frames[0]
        if frame.opcode is Opcode.PING or frame.opcode is Opcode.PONG:
            self._count_control()
        return frame

    def _count_control(self) -> None:
        now = self._clock()
        before = self._controls - (now - self._controls_s) * CONTROLS_PER_S
        self._controls = max(before, 0.0) + 1
        self._controls_s = now
        if self._controls > MOST_CONTROLS:
            raise Excess(POLICY, f"more than {MOST_CONTROLS} control frames at once")


def _frame_bytes(data: bytes, at: int) -> int:
    """Return how long the frame is on the wire that begins at `at`; 0 if that is not there yet."""
    have = len(data) - at
    if have < 2:
        return 0
    second = data[at + 1]
    size = second & _LENGTH
    head = 6 if second & _MASKED else 2
    if size < 126:
        return head + size
    extended = 2 if size == 126 else 8
    if have < 2 + extended:
        return 0
    return head + extended + int.from_bytes(data[at + 2 : at + 2 + extended], "big")
