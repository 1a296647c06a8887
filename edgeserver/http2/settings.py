"""Settings: what the peer allows, and what this server tells it.

Decides which values are valid. It must not know what follows from them.

Source: RFC 9113 section 6.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from edgeserver.http2.errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    HTTP2Error,
)
from edgeserver.http2.frames import MAX_WINDOW

__all__ = [
    "DEFAULT_WINDOW",
    "ENABLE_CONNECT_PROTOCOL",
    "ENABLE_PUSH",
    "HEADER_TABLE_SIZE",
    "INITIAL_WINDOW_SIZE",
    "MAX_CONCURRENT_STREAMS",
    "MAX_FRAME_SIZE",
    "MAX_HEADER_LIST_SIZE",
    "NO_RFC7540_PRIORITIES",
    "PeerSettings",
    "render_settings",
]

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8
"""Source: RFC 8441 section 3."""
NO_RFC7540_PRIORITIES: Final = 9
"""Source: RFC 9218 section 2.1."""

DEFAULT_WINDOW: Final = 65535
"""What a window is before anybody has said anything. Source: section 6.9.2."""

SWITCHES: Final = (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES)

MAX_ENTRIES: Final = 32
"""Most entries of one frame: there are nine settings in all."""

_ENTRY: Final = struct.Struct(">HI")


def render_settings(entries: Iterable[tuple[int, int]]) -> bytes:
    """Return the payload of SETTINGS that says `entries`, `(identifier, value)`."""
    return b"".join([_ENTRY.pack(identifier, value) for identifier, value in entries])


class PeerSettings:
    """What the peer allows.

    Attributes:
        table_bytes: Most bytes of the table that its HPACK decoder keeps.
        window: How many bytes of DATA a new stream may send.
    """

    __slots__ = ("table_bytes", "window")

    def __init__(self) -> None:
        self.table_bytes = 4096
        self.window = DEFAULT_WINDOW

    def apply(self, payload: bytes) -> None:
        """Take what a SETTINGS frame says, in order.

        Raises:
            HTTP2Error: A value is not allowed, or there are too many.
        """
        size = len(payload)
        if size % _ENTRY.size:
            raise HTTP2Error(FRAME_SIZE_ERROR, f"SETTINGS of {size} bytes", "RFC 9113 section 6.5")
        if size > MAX_ENTRIES * _ENTRY.size:
            raise HTTP2Error(ENHANCE_YOUR_CALM, "too many settings in one frame")
        for identifier, value in _ENTRY.iter_unpack(payload):
            self._take(identifier, value)

    def _take(self, identifier: int, value: int) -> None:
        if identifier == HEADER_TABLE_SIZE:
            self.table_bytes = value
        elif identifier == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise HTTP2Error(
                    FLOW_CONTROL_ERROR,
                    f"an initial window of {value} bytes",
                    "RFC 9113 section 6.5.2",
                )
            self.window = value
        elif identifier == MAX_FRAME_SIZE:
            # No frame of this server is longer than what everybody has to take.
            if not 16384 <= value <= 16777215:
                raise HTTP2Error(
                    PROTOCOL_ERROR, f"a frame size of {value}", "RFC 9113 section 6.5.2"
                )
        elif identifier in SWITCHES and value > 1:
            raise HTTP2Error(
                PROTOCOL_ERROR,
                f"setting {identifier} is {value}: neither 0 nor 1",
                "RFC 9113 section 6.5.2",
            )
