"""Priorities: what a client says of the order in which it wants answers.

Decides what a `priority` field means. It must not know how answers are sent.

Source: RFC 9218 section 4 and, for the syntax, RFC 9651 section 3.2.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.outgoing import DEFAULT_URGENCY

__all__ = ["parse_priority"]

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
