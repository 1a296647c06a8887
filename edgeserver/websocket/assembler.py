"""What has come over a WebSocket and was not received: frames made into messages, and counted.

Decides what a message is, and when so much waits that no more should be read. It must not know a
transport: `wire.py` says when frames are read, and what a frame that is wrong leads to.

Source: RFC 6455 sections 5.4 and 8.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from websockets.frames import Frame, Opcode

from edgeserver.websocket.settings import HELD_BYTES, HELD_MESSAGES

__all__ = ["Inbox"]


class Inbox:
    """The messages of one WebSocket, from their frames until the application receives them.

    Attributes:
        messages: What waits: `str` or `bytes` each.
        held_bytes: How long that is: characters of a `str`, bytes of the others.
    """

    __slots__ = ("_partial", "_partial_is_text", "held_bytes", "messages")

    def __init__(self) -> None:
        self.messages: deque[str | bytes] = deque()
        self.held_bytes = 0
        self._partial: bytearray | None = None
        self._partial_is_text = False

    def take(self, frames: Iterable[Frame]) -> None:
        """Take frames; those of control make no message.

        Raises:
            UnicodeDecodeError: One ends a text that is no UTF-8; none after it is taken.
        """
        for frame in frames:
            opcode = frame.opcode
            data: bytes | bytearray | memoryview = frame.data
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                is_text = opcode is Opcode.TEXT
                if not frame.fin:
                    # One buffer, since a stranger may send a megabyte in pieces of one byte.
                    self._partial = bytearray(data)
                    self._partial_is_text = is_text
                    continue
            elif opcode is Opcode.CONT and self._partial is not None:
                self._partial += data
                if not frame.fin:
                    continue
                data, self._partial = self._partial, None
                is_text = self._partial_is_text
            else:
                continue
            message: str | bytes = str(data, "utf-8") if is_text else bytes(data)
            self.held_bytes += len(message)
            self.messages.append(message)

    def pop(self) -> str | bytes:
        """Return the message that came first; there is one."""
        message = self.messages.popleft()
        self.held_bytes -= len(message)
        return message

    def is_full(self) -> bool:
        """Return whether so much waits that reading should pause."""
        return len(self.messages) > HELD_MESSAGES or self.held_bytes > HELD_BYTES

    def has_room(self) -> bool:
        """Return whether so little waits that reading, once paused, may go on."""
        return len(self.messages) <= HELD_MESSAGES // 2 and self.held_bytes <= HELD_BYTES // 2
