"""The limits of WebSockets, and the sans-IO layer that keeps those of frames.

Decides what may be configured, and what is offered of compression. It must not know a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.support.validate import require_count, require_seconds

__all__ = [
    "CLOSE_TIMEOUT_S",
    "FEW_FRAMES",
    "HELD_BYTES",
    "HELD_MESSAGES",
    "LARGE_SLICE",
    "LINGER_S",
    "SLICE",
    "WebSocketSettings",
]

HELD_MESSAGES: Final = 32
"""Messages kept for an application that does not ask for them; beyond that reading pauses."""

HELD_BYTES: Final = 256 * 1024
"""The same in bytes."""

SLICE: Final = 16 * 1024
"""Bytes of frames taken in one turn of the event loop: they may be thousands of tiny ones."""

LARGE_SLICE: Final = 128 * 1024
"""The same while frames are large: cutting those up would only cost turns."""

FEW_FRAMES: Final = 16
"""So many frames in a slice, or fewer, are large ones."""

CLOSE_TIMEOUT_S: Final = 10.0
"""How long the peer may take to answer a Close frame."""

LINGER_S: Final = 1.0
"""How long the peer may take to close its side, once there is no more to say."""


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """The limits of every WebSocket of an adapter; see `ASGIAdapter`.

    Raises:
        ConfigurationError: One cannot work.
    """

    max_size: int
    ping_interval: float | None
    ping_timeout: float | None
    per_message_deflate: bool

    def __post_init__(self) -> None:
        require_count("ws_max_size", self.max_size, "bytes")
        require_seconds("ws_ping_interval", self.ping_interval, none=True)
        require_seconds("ws_ping_timeout", self.ping_timeout, none=True)

    def make_protocol(self) -> ServerProtocol:
        """Return the sans-IO layer of one connection; HTTP has read its request already."""
        extensions = None
        if self.per_message_deflate:
            # The values that `websockets` itself uses: 4 KiB windows instead of 32 KiB ones.
            extensions = [
                ServerPerMessageDeflateFactory(
                    server_max_window_bits=12,
                    client_max_window_bits=12,
                    compress_settings={"memLevel": 5},
                )
            ]
        return ServerProtocol(extensions=extensions, max_size=self.max_size, state=State.OPEN)
