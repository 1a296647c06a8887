"""The errors of HTTP/2: their codes, and what ends a stream or a connection.

Decides what they are called. Source: RFC 9113 section 7.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CANCEL",
    "COMPRESSION_ERROR",
    "ENHANCE_YOUR_CALM",
    "FLOW_CONTROL_ERROR",
    "FRAME_SIZE_ERROR",
    "INADEQUATE_SECURITY",
    "INTERNAL_ERROR",
    "NAMES",
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "STREAM_CLOSED",
    "HTTP2Error",
    "StreamError",
    "closed_stream",
    "on_stream_zero",
    "wrong_size",
]

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12

NAMES: Final = {
    NO_ERROR: "NO_ERROR",
    PROTOCOL_ERROR: "PROTOCOL_ERROR",
    INTERNAL_ERROR: "INTERNAL_ERROR",
    FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
    STREAM_CLOSED: "STREAM_CLOSED",
    FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR",
    REFUSED_STREAM: "REFUSED_STREAM",
    CANCEL: "CANCEL",
    COMPRESSION_ERROR: "COMPRESSION_ERROR",
    ENHANCE_YOUR_CALM: "ENHANCE_YOUR_CALM",
    INADEQUATE_SECURITY: "INADEQUATE_SECURITY",
}
"""What the codes that this server sends are called in the log."""


class HTTP2Error(Exception):
    """The peer has broken a rule in such a way that the connection ends.

    Args:
        code: The code that GOAWAY has.
        reason: What was wrong; ASCII, already escaped.
        rfc: Where the rule stands.
    """

    def __init__(self, code: int, reason: str, rfc: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.rfc = rfc


class StreamError(Exception):
    """The peer has broken a rule in such a way that one stream ends.

    Args:
        code: The code that RST_STREAM has.
        reason: What was wrong; ASCII, already escaped.
        rfc: Where the rule stands.
    """

    def __init__(self, code: int, reason: str, rfc: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.rfc = rfc


def on_stream_zero(frame: str, section: str) -> HTTP2Error:
    """Return the error for a frame that belongs to a stream and names none."""
    return HTTP2Error(PROTOCOL_ERROR, f"{frame} on stream 0", f"RFC 9113 section {section}")


def wrong_size(frame: str, section: str) -> HTTP2Error:
    """Return the error for a frame that has not the size that it always has."""
    return HTTP2Error(FRAME_SIZE_ERROR, f"{frame} of a wrong size", f"RFC 9113 section {section}")


def closed_stream(frame: str, stream_id: int) -> HTTP2Error:
    """Return the error for a frame on a stream that both sides have ended."""
    return HTTP2Error(
        STREAM_CLOSED, f"{frame} on closed stream {stream_id}", "RFC 9113 section 5.1"
    )
