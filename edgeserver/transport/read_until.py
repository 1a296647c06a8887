"""Where a read from a stream ends: after so many bytes, at a delimiter, at a match.

Decides positions in a buffer that only grows. It must not know streams, futures or transports.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgeserver.errors import EdgeServerError

__all__ = [
    "Finder",
    "StreamBufferFullError",
    "UnsatisfiableReadError",
    "find_bytes",
    "find_delimiter",
    "find_match",
]

Finder = Callable[[bytearray], int | None]
"""Tells where in the buffer the read ends, None while more is needed."""


class UnsatisfiableReadError(EdgeServerError):
    """What a read looks for did not come within its `max_bytes`."""


class StreamBufferFullError(EdgeServerError):
    """More came than a stream may keep before its read was satisfied."""


def find_bytes(count: int, *, partial: bool) -> Finder:
    """Return a finder of exactly `count` bytes, or with `partial` of one to so many."""

    def find(buffer: bytearray) -> int | None:
        if len(buffer) >= count:
            return count
        return len(buffer) if partial and buffer else None

    return find


def find_delimiter(delimiter: bytes, *, max_bytes: int | None) -> Finder:
    """Return a finder of the end of `delimiter`, which looks at every byte once.

    The finder raises `UnsatisfiableReadError` if that is not within `max_bytes`.
    """
    scanned = 0

    def find(buffer: bytearray) -> int | None:
        nonlocal scanned
        found = buffer.find(delimiter, max(0, scanned - len(delimiter) + 1))
        scanned = len(buffer)
        end = found + len(delimiter) if found >= 0 else None
        return _bounded(end, held=scanned, wanted=delimiter, max_bytes=max_bytes)

    return find


def find_match(pattern: bytes, *, max_bytes: int | None) -> Finder:
    """Return a finder of the end of the first match of `pattern`.

    It searches the whole buffer each time. The finder raises `UnsatisfiableReadError` if there is
    no match within `max_bytes`.
    """
    compiled = re.compile(pattern)

    def find(buffer: bytearray) -> int | None:
        match = compiled.search(buffer)
        end = match.end() if match is not None else None
        return _bounded(end, held=len(buffer), wanted=pattern, max_bytes=max_bytes)

    return find


def _bounded(end: int | None, *, held: int, wanted: bytes, max_bytes: int | None) -> int | None:
    """Return `end`, unless more than `max_bytes` were needed for it."""
    if max_bytes is not None and (held if end is None else end) > max_bytes:
        raise UnsatisfiableReadError(f"delimiter {wanted!r} not found within {max_bytes} bytes")
    return end
