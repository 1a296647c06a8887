"""The head of an answer, as an application gives it to `start_response`.

Decides which statuses and header fields an application may send. It must not know when they are
sent; whatever is wrong is said to the application, in the line where it did wrong.

Source: PEP 3333, sections "The start_response() Callable" and "Other HTTP Features".
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["check_fields", "parse_status"]

# RFC 9110 section 15: three digits; a final answer is not of 1xx.
# reason-phrase  = 1*( HTAB / SP / VCHAR / obs-text )             RFC 9112 section 4
_STATUS = re.compile(r"([2-9][0-9]{2})(?: ([\t\x20-\x7E\x80-\xFF]*))?").fullmatch

# field-name  = token                                             RFC 9110 section 5.1
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

# field-value = *field-content, of VCHAR / obs-text / SP / HTAB   RFC 9110 section 5.5
_NOT_IN_VALUE = re.compile(r"[^\t\x20-\x7E\x80-\xFF]").search

_MAX_LENGTH_DIGITS = 18

# PEP 3333: "applications and middleware are forbidden from using HTTP/1.1 'hop-by-hop' features or
# headers"; the list is that of RFC 2616 section 13.5.1.
_HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)

_MAX_STATUSES = 256
_MAX_NAMES = 1024
_MAX_NAME = 64

_statuses: dict[str, tuple[str, int, str]] = {}
_names: dict[str, str] = {}


def parse_status(status: Any) -> tuple[str, int, str]:
    """Return the start line of a status such as `"200 OK"`.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is not a final status and a reason.
    """
    if type(status) is not str:
        raise TypeError(f"the status {status!r} is not a str: give one such as '200 OK'")
    line = _statuses.get(status)
    if line is None:
        match = _STATUS(status)
        if match is None:
            raise ValueError(
                f"the status {status!r} is not a code of 200 to 999, a space and a reason without"
                " control characters: give one such as '200 OK' (PEP 3333)"
            )
        line = ("HTTP/1.1", int(match[1]), match[2] or "")
        if len(_statuses) >= _MAX_STATUSES:
            _statuses.clear()
        _statuses[status] = line
    return line


def check_fields(fields: Any) -> int | None:
    """Check the header fields of an answer, and return its `Content-Length` if there is one.

    Raises:
        TypeError: It is not a list of pairs of `str`.
        ValueError: A field is hop-by-hop, or cannot be sent.
    """
    if not isinstance(fields, list):
        raise TypeError(f"the headers are a {type(fields).__name__}: give a list (PEP 3333)")
    length = None
    for name, value in fields:
        lower = _names.get(name) or _check_name(name)
        # Nearly every value is printable ASCII, and two methods tell so without a pattern.
        if type(value) is not str or not (value.isascii() and value.isprintable()):
            _check_value(name, value)
        if lower == "content-length":
            length = _check_length(value, length)
    return length


def _check_name(name: Any) -> str:
    if type(name) is not str:
        raise TypeError(f"the header name {name!r} is not a str (PEP 3333)")
    if not _NAME(name):
        raise ValueError(f"the header name {name!r} is not a token (RFC 9110 section 5.1)")
    lower = name.lower()
    if lower in _HOP_BY_HOP:
        raise ValueError(
            f"the application may not set the hop-by-hop header {name!r}: what concerns the"
            " connection is the server's alone (PEP 3333); leave it out"
        )
    if len(name) <= _MAX_NAME:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[name] = lower
    return lower


def _check_value(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"the value of the header {name!r} is not a str but {value!r} (PEP 3333)")
    if _NOT_IN_VALUE(value):
        raise ValueError(
            f"the value of the header {name!r} holds a control character, or one beyond latin-1:"
            f" {value!r} (RFC 9110 section 5.5)"
        )


def _check_length(value: str, before: int | None) -> int:
    # RFC 9110 section 8.6: Content-Length = 1*DIGIT
    if not (value.isdigit() and value.isascii() and len(value) <= _MAX_LENGTH_DIGITS):
        raise ValueError(f"Content-Length {value!r} is not a number (RFC 9110 section 8.6)")
    length = int(value)
    if before is not None and before != length:
        raise ValueError(f"Content-Length is given twice, as {before} and as {value!r}")
    return length
