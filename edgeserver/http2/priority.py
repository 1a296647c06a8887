"""Priorities: what a client says of the order in which it wants answers.

Decides what a `priority` field means. It must not know how answers are sent.

Source: RFC 9218 section 4 and, for the syntax, RFC 9651 section 3.2.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.limits import KEPT_PRIORITIES
from edgeserver.http2.outgoing import DEFAULT_URGENCY

__all__ = ["EarlyPriorities", "parse_priority"]

MOST_BYTES: Final = 256
"""What is longer says nothing."""


def parse_priority(value: bytes) -> tuple[int, bool]:
    """Return urgency, 0 to 7, and whether the answer takes turns with others as urgent.

    "When receiving an unknown or invalid value, [...] ignored": a wrong one is the default.
    """
    urgency, incremental = DEFAULT_URGENCY, False
    if len(value) > MOST_BYTES:
        return urgency, incremental
    for member in value.split(b","):
        item = member.partition(b";")[0].strip(b" \t")
        key, _, said = item.partition(b"=")
        if key == b"u":
            urgency = said[0] - 0x30 if len(said) == 1 and said in b"01234567" else DEFAULT_URGENCY
        elif key == b"i":
            incremental = said == b"?1" or item == b"i"
    return urgency, incremental


class EarlyPriorities:
    """What a peer has said of streams that it has not opened yet."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}

    def keep(self, stream_id: int, value: bytes) -> None:
        """Remember the priority of a stream, if there is room."""
        if stream_id in self._values or len(self._values) < KEPT_PRIORITIES:
            # One byte more than any that says something.
            self._values[stream_id] = value[: MOST_BYTES + 1]

    def take(self, stream_id: int) -> bytes | None:
        """Return what was said of a stream, and forget it; None where nothing was."""
        return self._values.pop(stream_id, None)
