"""The message assembler: frames of a WebSocket made into messages, and counted until received.

Decides what a message is, of how many frames it may be, and when so much waits that no more should
be read. It must not know a transport: `connection.py` says when frames are read, and what a frame
that is wrong leads to.

Source: RFC 6455 sections 5.4 and 8.1.
"""

from __future__ import annotations

from collections import deque
from sys import getsizeof

from websockets.frames import Frame, Opcode

from edgeserver.websocket.settings import (
    FRAGMENT_BYTES,
    FREE_FRAGMENTS,
    HELD_BYTES,
    HELD_MESSAGES,
    POLICY,
    Excess,
)

__all__ = ["MessageAssembler"]


class MessageAssembler:
    """The messages of one WebSocket, from their frames until the application receives them.

    Attributes:
        messages: What waits: `str` or `bytes` each.
        held_bytes: The memory that takes: an empty message costs some as well, and a `str` four
            bytes a character where one of them is beyond U+FFFF.
        count: Messages that have become complete, since the beginning.
    """

    __slots__ = (
        "_closed",
        "_fragments",
        "_partial",
        "_partial_is_text",
        "count",
        "held_bytes",
        "messages",
    )

    def __init__(self) -> None:
        self.messages: deque[str | bytes] = deque()
        self.held_bytes = 0
        self.count = 0
        # Whether frames are passed over: nobody will receive what they would make.
        self._closed = False
        # What has come of a message that is not complete, of how many frames, and of what kind.
        self._partial: bytearray | None = None
        self._partial_is_text = False
        self._fragments = 0

    @property
    def begun_bytes(self) -> int:
        """The memory that a message takes which has begun and is not complete."""
        return 0 if self._partial is None else getsizeof(self._partial)

    def put(self, frame: Frame) -> None:
        """Take a frame; those of control make no message.

        Raises:
            UnicodeDecodeError: It ends a text that is not UTF-8.
            Excess: The message is of too many frames.
        """
        if self._closed:
            return
        opcode = frame.opcode
        data: bytes | bytearray | memoryview = frame.data
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            is_text = opcode is Opcode.TEXT
            if not frame.fin:
                # One buffer, since a stranger may send a megabyte in pieces of one byte.
                self._partial = bytearray(data)
                self._partial_is_text = is_text
                self._fragments = 1
                return
        elif opcode is Opcode.CONT and self._partial is not None:
            self._partial += data
            if not frame.fin:
                self._count_fragment(len(self._partial))
                return
            data, self._partial = self._partial, None
            is_text = self._partial_is_text
        else:
            return
        message: str | bytes = str(data, "utf-8") if is_text else bytes(data)
        self.held_bytes += getsizeof(message)
        self.count += 1
        self.messages.append(message)

    def _count_fragment(self, size: int) -> None:
        self._fragments += 1
        if self._fragments > FREE_FRAGMENTS + size // FRAGMENT_BYTES:
            raise Excess(
                POLICY,
                f"more than {FREE_FRAGMENTS} fragments of under {FRAGMENT_BYTES} bytes",
            )

    def pop(self) -> str | bytes:
        """Return the message that came first; there is one."""
        message = self.messages.popleft()
        self.held_bytes -= getsizeof(message)
        return message

    def stop(self) -> None:
        """Pass over what comes from now on, and what has begun."""
        self._closed = True
        self._partial = None

    def clear(self) -> None:
        """Forget what nobody will receive, and pass over the rest."""
        self.stop()
        self.messages.clear()
        self.held_bytes = 0

    def is_full(self) -> bool:
        """Return whether so much waits that reading should pause."""
        return len(self.messages) > HELD_MESSAGES or self.held_bytes > HELD_BYTES

    def has_room(self) -> bool:
        """Return whether so little waits that reading, once paused, may go on."""
        return len(self.messages) <= HELD_MESSAGES // 2 and self.held_bytes <= HELD_BYTES // 2
