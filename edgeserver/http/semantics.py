"""What a few fields mean in every version of HTTP, and where they may stand.

Decides only that; how a version frames its messages, and what it forbids besides, is its own.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["NOT_IN_TRAILERS", "parse_answer_length", "parse_expect_continue"]

# RFC 9110 section 6.5.1: "many fields cannot be processed outside the header section because their
# evaluation is necessary prior to receiving the content, such as those that describe message
# framing, routing, authentication, request modifiers, response controls, or content format."
NOT_IN_TRAILERS: Final = frozenset(
    b"""age authorization cache-control connection content-encoding content-length content-range
    content-type date expires host keep-alive location max-forwards proxy-authenticate
    proxy-authorization retry-after set-cookie te trailer transfer-encoding upgrade vary
    www-authenticate""".split()
)


def parse_answer_length(value: Any) -> int:
    """Return the number that an application's `Content-Length` gives.

    Raises:
        ValueError: It is not `1*DIGIT`, or of more than 18 digits.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    # RFC 9110 section 8.6: Content-Length = 1*DIGIT
    if not (isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) <= 18):
        raise ValueError(f"Content-Length {value!r} of the answer is not a number of bytes")
    return int(text)


def parse_expect_continue(value: bytes) -> bool:
    """Tell whether `Expect` asks for a 100 (Continue).

    Source: RFC 9110 section 10.1.1, compared without regard to case.
    """
    return b"100-continue" in (item.strip(b" \t") for item in value.lower().split(b","))
