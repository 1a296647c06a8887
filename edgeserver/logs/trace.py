"""The `traceparent` field: which trace a request belongs to, as its sender says.

Decides what is a valid value; all others are taken for none. It must not know who sent it.

Source: W3C Trace Context, section 3.2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TraceParent", "parse_traceparent"]

# version "-" trace-id "-" parent-id "-" trace-flags; what versions to come add stands behind that.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")

MAX_BYTES = 200
"""A longer value is not looked at."""


class TraceParent(NamedTuple):
    """A request's place in a trace.

    Args:
        trace_id: 32 hex digits.
        span_id: 16 hex digits: the span of the sender, whose child the request is.
    """

    trace_id: str
    span_id: str


def parse_traceparent(value: bytes | None) -> TraceParent | None:
    """Return what a `traceparent` says; None where there is none or it breaks a rule.

    Args:
        value: The field's value.
    """
    if value is None or len(value) > MAX_BYTES:
        return None
    match = _TRACEPARENT.fullmatch(value.strip(b" \t"))
    if match is None:
        return None
    version, trace_id, span_id, more = match.groups()
    # "Version ff is invalid"; version 00 has no more parts; "All bytes as zero ... is invalid".
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceParent(trace_id.decode("ascii"), span_id.decode("ascii"))
