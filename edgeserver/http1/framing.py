"""Where a request's body ends: Content-Length, Transfer-Encoding, and nothing else.

Decides the length of a body from the fields, and refuses all that two parties could read
differently. It must not know of connections or of the bytes of the body.
"""

from __future__ import annotations

import re
from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http.grammar import is_token
from edgeserver.http1.head import FieldPairs, Fields, RawFields
from edgeserver.support.escape import escape

__all__ = ["CHUNKED", "parse_body_length", "parse_connection"]

CHUNKED: Final = -1
"""The length of a body that says its own: chunked."""

# RFC 9110 section 8.6: Content-Length = 1*DIGIT. Longer than 18 digits is beyond any file.
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")


def parse_body_length(pairs: FieldPairs) -> int:
    """Return how many bytes of body follow a head: a length, or `CHUNKED`.

    Raises:
        HTTPInputError: The framing is ambiguous (400) or a coding is unknown (501).

    Source: RFC 9112 section 6.
    """
    lengths = [value for name, value in pairs if name == b"content-length"]
    codings = [value for name, value in pairs if name == b"transfer-encoding"]
    if codings:
        if lengths:
            # RFC 9112 section 6.1: "A server MAY reject a request that contains both
            # Content-Length and Transfer-Encoding"; it "ought to be handled as an error".
            raise HTTPInputError(
                "Message with both Transfer-Encoding and Content-Length",
                rfc="RFC 9112 section 6.1",
            )
        _check_codings(b",".join(codings))
        return CHUNKED
    if lengths:
        return _parse_content_length(b",".join(lengths))
    return 0


def _split_list(joined: bytes) -> list[bytes]:
    # Not by a pattern of white space, comma, white space: it looks at a run of spaces that no
    # comma follows once from each of them.
    return [value.strip(b" \t") for value in joined.split(b",")]


def _parse_content_length(joined: bytes) -> int:
    # RFC 9110 section 8.6: identical values, repeated as lines or as a list, may be taken as one.
    values = _split_list(joined)
    if any(value != values[0] for value in values):
        raise HTTPInputError(
            f"Multiple unequal Content-Lengths: '{escape(joined)}'", rfc="RFC 9110 section 8.6"
        )
    if _CONTENT_LENGTH.fullmatch(values[0]) is None:
        raise HTTPInputError(
            f"Only integer Content-Length is allowed: '{escape(joined)}'",
            rfc="RFC 9110 section 8.6",
        )
    return int(values[0])


def _check_codings(joined: bytes) -> None:
    # RFC 9112 section 6.3: "If a Transfer-Encoding header field is present in a request and the
    # chunked transfer coding is not the final encoding, the message body length cannot be
    # determined reliably; the server MUST respond with the 400".
    codings = _split_list(joined.lower())
    if codings == [b"chunked"]:
        return
    known_shape = all(is_token(coding) for coding in codings)
    if known_shape and codings[-1] == b"chunked" and codings.count(b"chunked") == 1:
        # Section 6.1: "A server that receives a request message with a transfer coding it does
        # not understand SHOULD respond with 501".
        raise HTTPInputError(
            f"Unsupported Transfer-Encoding '{escape(joined)}'",
            status=501,
            rfc="RFC 9112 section 6.1",
        )
    raise HTTPInputError(
        f"Unsupported Transfer-Encoding '{escape(joined)}': chunked has to be the last, once",
        rfc="RFC 9112 section 6.3",
    )


_ALONE: Final = {
    b"close": (True, False),
    b"Close": (True, False),
    b"keep-alive": (False, True),
    b"Keep-Alive": (False, True),
}
"""What nearly every `Connection` says that says one thing."""


def parse_connection(lines: RawFields | None, fields: Fields) -> tuple[bool, bool]:
    """Return whether the options of `Connection` include `close`, and `keep-alive`.

    Args:
        lines: The field lines, where a name repeats; else None.
        fields: The last value of each name.

    Source: RFC 9110 section 7.6.1, a list of tokens in any case.
    """
    value = fields.get(b"connection")
    if value is None:
        return False, False
    if lines is not None:
        value = b",".join([each for name, each in lines if name == b"connection"])
    known = _ALONE.get(value)
    if known is not None:
        return known
    options = {option.strip(b" \t") for option in value.lower().split(b",")}
    return b"close" in options, b"keep-alive" in options
