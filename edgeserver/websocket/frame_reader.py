"""The frame reader: bytes of a WebSocket, decoded one frame at a time.

Decides where a frame ends on the wire, so that the sans-IO layer is never given more than one: what
comes behind it stays as it came until somebody wants it. A message in one frame, which breaks no
rule and which nothing compresses, is unmasked here from where it came: the sans-IO layer, which
judges all others, would copy it twice, and an echo of 64 KiB cost a third more. It must not know
messages or a transport.

Source: RFC 6455 section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.websocket.settings import CONTROLS_PER_S, MOST_CONTROLS, POLICY, Excess

try:
    from websockets.speedups import apply_mask
except ImportError:  # it was installed without a C compiler
    from websockets.utils import apply_mask

__all__ = ["FrameReader"]

_FIN: Final = 0x80
_RSV1: Final = 0x40
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_MASK_BYTES: Final = 4

_WHOLE: Final = {_FIN | int(each): each for each in (Opcode.TEXT, Opcode.BINARY)}
"""The first byte of a message in one frame; a reserved bit, or another opcode, makes it none."""

_SHORT_HEAD: Final = 2 + _MASK_BYTES
_HEADS: Final = {126: _SHORT_HEAD + 2, 127: _SHORT_HEAD + 8}
"""How long the head of a masked frame is, by what its second byte says of a longer length."""


class FrameReader:
    """The way of one WebSocket's bytes into the sans-IO layer, and of frames out of it.

    Args:
        protocol: The sans-IO layer.
        clock: Seconds that only grow.
        max_size: Most bytes of a message; the sans-IO layer has the same limit.

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
        "_in_message",
        "_left_bytes",
        "_mask",
        "_max_size",
        "_opcode",
        "_payload",
        "_protocol",
    )

    _mask: bytes
    _opcode: Opcode

    def __init__(self, protocol: ServerProtocol, clock: Callable[[], float], max_size: int) -> None:
        # The sans-IO layer, which is never given more than one frame.
        self._protocol = protocol
        # Seconds that only grow, for the rate of control frames.
        self._clock = clock
        self._max_size = max_size
        # What has come, and where in it the next byte stands that nobody has taken.
        self._data = b""
        self._at = 0
        # How much of the frame that is under way has not been taken.
        self._left_bytes = 0
        # How much of the same frame was taken already.
        self._fed_bytes = 0
        # The masked payload of one that is unmasked here, where it has not come at once.
        self._payload: bytearray | None = None
        # Whether the next frame of data is to go on with a message.
        self._in_message = False
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
        self._payload = None

    def has_more(self) -> bool:
        """Return whether something has not been taken."""
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
        if self._payload is not None:
            return self._go_on(self._payload)
        data, at = self._data, self._at
        left = self._left_bytes
        if not left:
            left = _frame_bytes(data, at)
            if left and data[at] in _WHOLE:
                head = _HEADS.get(data[at + 1] & _LENGTH, _SHORT_HEAD)
                if (
                    data[at + 1] & _MASKED
                    and left - head <= self._max_size
                    and len(data) >= at + head
                    and not self._in_message
                    and self._protocol.state is State.OPEN
                    and not self._protocol.extensions
                ):
                    return self._take_whole(at + head, at + left)
        size = len(data) - at
        if size > left:
            size = left
        self._left_bytes = left - size
        if not size:
            return None
        protocol = self._protocol
        protocol.receive_data(data[at : at + size])
        self._advance(at + size)
        frames: list[Any] = protocol.events_received()  # the handshake is over: frames
        if not frames:
            self._fed_bytes += size
            return None
        self._fed_bytes = 0
        frame: Frame = frames[0]
        opcode = frame.opcode
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            self._count_control()
        elif opcode is not Opcode.CLOSE:
            self._in_message = not frame.fin
        return frame

    def _advance(self, end: int) -> None:
        """Go on behind what was taken."""
        if end == len(self._data):
            self._data = b""
            self._at = 0
        else:
            self._at = end

    def _take_whole(self, begin: int, end: int) -> Frame | None:
        """Take a message in one frame, or as much of it as has come.

        Args:
            begin: Where its payload begins.
            end: Where it ends, perhaps behind what has come.
        """
        data = self._data
        opcode = _WHOLE[data[self._at]]
        mask = data[begin - _MASK_BYTES : begin]
        masked = memoryview(data)[begin:end]
        left = end - len(data)
        if left <= 0:
            self._advance(end)
            return Frame(opcode, apply_mask(masked, mask))
        self._opcode, self._mask = opcode, mask
        self._payload = bytearray(masked)
        self._left_bytes = left
        self._fed_bytes = len(data) - self._at
        self._advance(len(data))
        return None

    def _go_on(self, payload: bytearray) -> Frame | None:
        """Take what has come of the same."""
        data, left = self._data, self._left_bytes
        size = len(data) - self._at
        if size > left:
            size = left
        payload += memoryview(data)[self._at : self._at + size]
        self._advance(self._at + size)
        self._left_bytes = left - size
        if size < left:
            self._fed_bytes += size
            return None
        self._payload = None
        self._fed_bytes = 0
        return Frame(self._opcode, apply_mask(payload, self._mask))

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
