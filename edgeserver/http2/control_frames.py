"""Control frames: what the payload of each says, or which rule of the connection it breaks.

Decides the form alone: the size, the stream a frame may stand on, the values that are none. It must
not know what is open, nor what follows.

Source: RFC 9113 section 6, RFC 9218 section 7.1.
"""

from __future__ import annotations

import struct
from typing import Final

from edgeserver.http2.errors import (
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    HTTP2Error,
    on_stream_zero,
    wrong_size,
)
from edgeserver.http2.frames import ACK, MAX_STREAM_ID, MAX_WINDOW

__all__ = [
    "check_goaway",
    "check_ping",
    "check_priority",
    "check_reset",
    "is_acknowledgement",
    "read_priority_update",
    "read_window_update",
]

_LONG: Final = struct.Struct(">I")


def is_acknowledgement(flags: int, stream_id: int, payload: bytes) -> bool:
    """Tell whether a SETTINGS frame says only that ours was taken.

    Raises:
        HTTP2Error: It stands on a stream, or acknowledges and says more.
    """
    if stream_id:
        raise HTTP2Error(PROTOCOL_ERROR, "SETTINGS on a stream", "RFC 9113 section 6.5")
    if not flags & ACK:
        return False
    if payload:
        raise HTTP2Error(
            FRAME_SIZE_ERROR, "SETTINGS with ACK and a payload", "RFC 9113 section 6.5"
        )
    return True


def read_window_update(stream_id: int, payload: bytes) -> int:
    """Return the step of a WINDOW_UPDATE; 0 only on a stream, whose own error that is.

    Raises:
        HTTP2Error: It is not one.
    """
    if len(payload) != 4:
        raise wrong_size("WINDOW_UPDATE", "6.9")
    step: int = _LONG.unpack(payload)[0] & MAX_WINDOW
    if not step and not stream_id:
        raise HTTP2Error(PROTOCOL_ERROR, "a step of 0", "RFC 9113 section 6.9")
    return step


def check_reset(stream_id: int, payload: bytes) -> None:
    """Accept a RST_STREAM, whatever its code.

    Raises:
        HTTP2Error: It is not one.
    """
    if not stream_id:
        raise on_stream_zero("RST_STREAM", "6.4")
    if len(payload) != 4:
        raise wrong_size("RST_STREAM", "6.4")


def check_ping(stream_id: int, payload: bytes) -> None:
    """Accept a PING.

    Raises:
        HTTP2Error: It is not one.
    """
    if stream_id:
        raise HTTP2Error(PROTOCOL_ERROR, "PING on a stream", "RFC 9113 section 6.7")
    if len(payload) != 8:
        raise wrong_size("PING", "6.7")


def check_goaway(stream_id: int, size: int) -> None:
    """Accept a GOAWAY of `size` bytes, whatever it says.

    Raises:
        HTTP2Error: It is not one.
    """
    if stream_id:
        raise HTTP2Error(PROTOCOL_ERROR, "GOAWAY on a stream", "RFC 9113 section 6.8")
    if size < 8:
        raise wrong_size("GOAWAY", "6.8")


def check_priority(stream_id: int, payload: bytes) -> HTTP2Error | None:
    """Return what is wrong with an old PRIORITY, which says nothing any more.

    It is an error of its stream, where there is one. Source: RFC 9113 section 6.3, RFC 7540
    section 5.3.1.

    Raises:
        HTTP2Error: It stands on no stream.
    """
    if not stream_id:
        raise on_stream_zero("PRIORITY", "6.3")
    if len(payload) != 5:
        return wrong_size("PRIORITY", "6.3")
    if _LONG.unpack_from(payload)[0] & MAX_STREAM_ID == stream_id:
        return HTTP2Error(
            PROTOCOL_ERROR, "a stream that depends on itself", "RFC 7540 section 5.3.1"
        )
    return None


def read_priority_update(stream_id: int, payload: bytes) -> int:
    """Return which stream a PRIORITY_UPDATE is about; its value follows the first four bytes.

    Raises:
        HTTP2Error: It is not one, or it is about a stream that no client opens.
    """
    if stream_id:
        raise HTTP2Error(PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream", "RFC 9218 section 7.1")
    if len(payload) < 4:
        raise HTTP2Error(FRAME_SIZE_ERROR, "PRIORITY_UPDATE too short", "RFC 9218 section 7.1")
    about: int = _LONG.unpack_from(payload)[0] & MAX_STREAM_ID
    if not about & 1:
        raise HTTP2Error(
            PROTOCOL_ERROR, f"PRIORITY_UPDATE of stream {about}", "RFC 9218 section 7.1"
        )
    return about
