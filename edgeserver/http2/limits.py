"""The bounds of HTTP/2 that nobody sets: what a peer may keep open, send ahead and repeat.

Decides numbers alone; those that can be set are `edgeserver.http.limits`'.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CONNECTION_CREDIT",
    "IDLE_FRAMES",
    "IDLE_FRAMES_PER_ANSWER",
    "IDLE_FRAMES_PER_S",
    "IDLE_FRAMES_PER_WRITE",
    "KEPT_PRIORITIES",
    "MAX_BLOCK_BYTES",
    "MAX_CONTINUATIONS",
    "OPENED_IN_A_ROW",
    "RESETS_PER_S",
    "SMALL_STEP",
    "STREAM_CREDIT",
]

STREAM_CREDIT: Final = 256 * 1024
"""Bytes of a request's body that a peer may send before the application takes any."""

CONNECTION_CREDIT: Final = 1024 * 1024
"""The same of all streams of a connection, on the way."""

MAX_BLOCK_BYTES: Final = 64 * 1024
"""Bytes of one header block, encoded; more where `max_header_size` is more."""

MAX_CONTINUATIONS: Final = 8
"""CONTINUATION frames of one header block."""

RESETS_PER_S: Final = 20.0
"""How many of `max_resets` come back in a second."""

IDLE_FRAMES: Final = 1000
"""Frames that do nothing: PING, SETTINGS, PRIORITY, unknown ones, DATA without any, small steps."""

IDLE_FRAMES_PER_S: Final = 100.0
"""How many of them come back in a second."""

IDLE_FRAMES_PER_ANSWER: Final = 10
"""How many of them an answered request brings back."""

IDLE_FRAMES_PER_WRITE: Final = 2
"""How many a message to a WebSocket does: its stream and its connection may get credit for it."""

KEPT_PRIORITIES: Final = 100
"""Streams that are not open yet of which a priority is remembered."""

SMALL_STEP: Final = 1024
"""A WINDOW_UPDATE by fewer bytes does nothing worth a frame."""

OPENED_IN_A_ROW: Final = 64
"""Streams that are opened before the event loop has its turn."""
