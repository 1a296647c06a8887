"""The character classes and patterns of the grammar, each with its rule quoted.

Decides what a token, a field value, a target and a host may be made of. It must know nothing of
connections, limits or what follows from a violation.
"""

from __future__ import annotations

import re

from edgeserver.httputil.hosts import HOST_GRAMMAR

__all__ = [
    "BAD_BYTE",
    "CONTROL",
    "FIELD_VALUE",
    "FIELD_VALUE_MARKS",
    "HEAD_BYTES",
    "HOST",
    "HTTP_VERSION",
    "TARGET",
    "TARGET_MARKS",
    "TOKEN",
    "is_token",
]

DIGIT = b"0123456789"
ALPHA = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# RFC 9110 section 5.6.2:
#   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|"
#         / "~" / DIGIT / ALPHA
TOKEN = b"!#$%&'*+-.^_`|~" + DIGIT + ALPHA

# RFC 9110 section 5.5:
#   field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
#   field-vchar   = VCHAR / obs-text
#   obs-text      = %x80-FF
FIELD_VALUE = b"\t " + bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))

# Everything that may stand in a head but the line ends: what is left after deleting these has to
# be pairs of CR and LF.
HEAD_BYTES = FIELD_VALUE

# The first byte that may stand in no head: a control character, a bare CR or a bare LF. A CR at the
# end is not judged: what follows it has not come.
BAD_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?=[^\n])|(?<!\r)\n")

# RFC 9112 section 3.2 takes its targets from RFC 3986, all of whose characters are visible ASCII;
# some clients send a few more of these unescaped, and none of them changes the framing.
TARGET = bytes(range(0x21, 0x7F))


def mark_others(allowed: bytes) -> bytes:
    """Return a table for `bytes.translate` that changes every byte but the `allowed` ones.

    `value.translate(table) == value` then says that all of `value` is allowed. It is the cheapest
    way to ask: with a set of bytes to delete instead, `translate` builds a table at each call.
    """
    return bytes(byte if byte in allowed else byte ^ 0xFF for byte in range(256))


FIELD_VALUE_MARKS = mark_others(FIELD_VALUE)
TARGET_MARKS = mark_others(TARGET)

# RFC 9112 section 2.3: HTTP-version = HTTP-name "/" DIGIT "." DIGIT ; HTTP-name = %s"HTTP"
HTTP_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")

HOST = re.compile(HOST_GRAMMAR.encode("ascii"))
"""The value of a `Host` field, and the authority of a target."""

# Nothing of this may be written in an answer's field or reason (RFC 9110 section 5.5).
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def is_token(value: bytes) -> bool:
    """Tell whether `value` is a token: at least one character, all of them tchar."""
    return bool(value) and not value.translate(None, TOKEN)
