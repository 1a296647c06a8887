"""Frames: their types, flags and layout.

Decides which bytes a frame is, and where the payload of one stands. It must not know what follows
from any frame.

Source: RFC 9113 sections 4 and 6.
"""

from __future__ import annotations

import struct
from typing import Final

from edgeserver.http2.errors import FRAME_SIZE_ERROR, PROTOCOL_ERROR, HTTP2Error

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "GOAWAY",
    "HEADERS",
    "HEADER_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_STREAM_ID",
    "MAX_WINDOW",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PRIORITY_UPDATE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "data_header",
    "render_frame",
    "render_goaway",
    "render_headers",
    "render_reset",
    "render_window_update",
    "strip_padding",
    "strip_priority",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first. Source: section 3.4."""

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
PRIORITY_UPDATE: Final = 16
"""Source: RFC 9218 section 7.1."""

ACK: Final = 1
END_STREAM: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
PRIORITY_FLAG: Final = 32

HEADER_BYTES: Final = 9
FRAME_HEADER: Final = struct.Struct(">HBBBI")
"""The header of a frame: length in two parts of 16 and 8 bits, type, flags, stream."""

MAX_FRAME_BYTES: Final = 16384
"""Most bytes of a payload, either way: nobody is asked for more, nor sent more."""

MAX_STREAM_ID: Final = 0x7FFFFFFF
MAX_WINDOW: Final = 0x7FFFFFFF

_LONG: Final = struct.Struct(">I")
_TWO_LONGS: Final = struct.Struct(">II")


def render_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return a whole frame."""
    size = len(payload)
    return FRAME_HEADER.pack(size >> 8, size & 255, kind, flags, stream_id) + payload


def data_header(size: int, stream_id: int, *, ends: bool) -> bytes:
    """Return what stands before `size` bytes of DATA."""
    return FRAME_HEADER.pack(size >> 8, size & 255, DATA, END_STREAM if ends else 0, stream_id)


def render_headers(stream_id: int, block: bytes, *, ends: bool) -> bytes:
    """Return the frames of a header block, with CONTINUATION where it is long."""
    flags = END_STREAM if ends else 0
    size = len(block)
    if size <= MAX_FRAME_BYTES:
        flags |= END_HEADERS
        return FRAME_HEADER.pack(size >> 8, size & 255, HEADERS, flags, stream_id) + block
    parts = [render_frame(HEADERS, flags, stream_id, block[:MAX_FRAME_BYTES])]
    for start in range(MAX_FRAME_BYTES, len(block), MAX_FRAME_BYTES):
        part = block[start : start + MAX_FRAME_BYTES]
        last = END_HEADERS if start + MAX_FRAME_BYTES >= len(block) else 0
        parts.append(render_frame(CONTINUATION, last, stream_id, part))
    return b"".join(parts)


def render_reset(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM."""
    return render_frame(RST_STREAM, 0, stream_id, _LONG.pack(code))


def render_goaway(last_id: int, code: int, reason: str = "") -> bytes:
    """Return a GOAWAY; `reason` is for whoever debugs the client."""
    payload = _TWO_LONGS.pack(last_id, code) + reason.encode("ascii", "replace")[:128]
    return render_frame(GOAWAY, 0, 0, payload)


def render_window_update(stream_id: int, step: int) -> bytes:
    """Return a WINDOW_UPDATE; stream 0 is the connection."""
    return render_frame(WINDOW_UPDATE, 0, stream_id, _LONG.pack(step))


def strip_padding(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the content of a padded payload stands.

    Args:
        data: What the payload stands in.
        start: Where it begins.
        end: Where it ends.

    Raises:
        HTTP2Error: It has no room for its padding.

    Source: section 6.1: "If the length of the padding is the length of the frame payload or
    greater, the recipient MUST treat this as a connection error of type PROTOCOL_ERROR."
    """
    if start == end:
        raise HTTP2Error(
            FRAME_SIZE_ERROR, "a padded frame without a padding length", "RFC 9113 section 4.2"
        )
    end -= data[start]
    start += 1
    if end < start:
        raise HTTP2Error(PROTOCOL_ERROR, "padding longer than its frame", "RFC 9113 section 6.1")
    return start, end


def strip_priority(data: bytes, start: int, end: int, stream_id: int) -> int:
    """Return where the header block begins in HEADERS that has the old priority fields.

    Raises:
        HTTP2Error: They are cut, or the stream depends on itself.

    Source: section 6.2; RFC 7540 section 5.3.1 for the dependency.
    """
    if end - start < 5:
        raise HTTP2Error(
            FRAME_SIZE_ERROR, "HEADERS too short for its priority", "RFC 9113 section 4.2"
        )
    if _LONG.unpack_from(data, start)[0] & MAX_STREAM_ID == stream_id:
        raise HTTP2Error(
            PROTOCOL_ERROR, "a stream that depends on itself", "RFC 7540 section 5.3.1"
        )
    return start + 5
