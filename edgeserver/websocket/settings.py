"""The limits of WebSockets, and the sans-IO layer that keeps those of frames.

Decides what may be configured, what a peer may do, and whether compression is offered. It must not
know a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.support.validate import require_count, require_seconds
from edgeserver.websocket.deflate import BoundedDeflateFactory

__all__ = [
    "CLOSE_TIMEOUT_S",
    "CONTROLS_PER_S",
    "FRAGMENT_BYTES",
    "FREE_FRAGMENTS",
    "HELD_BYTES",
    "HELD_MESSAGES",
    "HELD_RETRY_S",
    "LINGER_S",
    "MOST_CONTROLS",
    "POLICY",
    "SMALL_BYTES",
    "UNFINISHED_S",
    "Excess",
    "WebSocketSettings",
]

HELD_MESSAGES: Final = 32
"""Messages kept for an application that does not ask for them; beyond that reading pauses."""

HELD_BYTES: Final = 256 * 1024
"""The same in bytes."""

FREE_FRAGMENTS: Final = 1024
"""Fragments of a message that nobody counts; beyond that they are to have a size."""

FRAGMENT_BYTES: Final = 64
"""Bytes that pay for one more: a megabyte in TCP segments is 700, in bytes a million."""

MOST_CONTROLS: Final = 1000
"""Pings and pongs that may come at once: browsers send none but answers to ours."""

CONTROLS_PER_S: Final = 10.0
"""How many of them are forgotten in a second."""

SMALL_BYTES: Final = 4096
"""A message that comes even while the server holds too much, where nothing else waits."""

HELD_RETRY_S: Final = 0.5
"""How often a WebSocket looks whether the server holds less."""

UNFINISHED_S: Final = 30.0
"""How long one may keep what is not a message yet, while the server holds too much."""

CLOSE_TIMEOUT_S: Final = 10.0
"""How long the peer may take to answer a Close frame."""

LINGER_S: Final = 1.0
"""How long the peer may take to close its side, once there is no more to say."""

POLICY: Final = 1008
"""What closes a WebSocket that keeps its size and breaks another limit. Source: RFC 6455 7.4.1."""


class Excess(Exception):
    """A limit that a peer went over: the code and the reason of the Close frame.

    Args:
        code: Which.
        reason: The rule, at most 123 bytes of ASCII.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


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
        extensions = [BoundedDeflateFactory()] if self.per_message_deflate else None
        return ServerProtocol(extensions=extensions, max_size=self.max_size, state=State.OPEN)
