"""The head of an answer, from start line and fields to bytes.

Decides how an answer is written and framed: its status line, which fields are the server's own
(Date, Connection, Transfer-Encoding), and whether a body follows. It must not know of connections;
nothing that holds a control character is ever written.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from edgeserver.http.grammar import CONTROL, is_token
from edgeserver.http.semantics import NOT_IN_TRAILERS, parse_answer_length
from edgeserver.httputil.fieldnames import title_of

__all__ = [
    "cached_field",
    "cached_length",
    "cached_status",
    "date_line",
    "encode_field",
    "encode_length",
    "encode_trailers",
    "field_lines",
    "framing_names",
    "plain_answer",
    "split_connection",
    "status_line",
]

MAX_CACHED_FIELD: Final = 128
MAX_CACHED_FIELDS: Final = 2048
MAX_CACHED_STATUSES: Final = 256
MAX_CACHED_LENGTHS: Final = 1024

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}

_framing: set[bytes] = set()
_fields: dict[tuple[Any, Any], bytes] = {}
_status_lines: dict[tuple[int, str | bytes], bytes] = {}
cached_field = _fields.get
"""The line of `(name, value)` if it was encoded before, or None."""
cached_status = _status_lines.get
"""The line of `(code, reason)` if it was made before, or None."""
_lengths: dict[Any, tuple[int, bytes]] = {}
cached_length = _lengths.get
"""What `encode_length` returned for the same value, or None."""

_date_second = -1
_date_line = b""


def date_line(now_s: float) -> bytes:
    """Return the `Date` line for `now_s`, seconds since the epoch, with its CRLF.

    Source: RFC 9110 section 6.6.1.
    """
    global _date_second, _date_line
    second = int(now_s)
    if second != _date_second:
        _date_second = second
        _date_line = b"Date: " + formatdate(second, usegmt=True).encode("ascii") + b"\r\n"
    return _date_line


def status_line(code: int, reason: str | bytes) -> bytes:
    """Return the status line of `code`, with its CRLF.

    Args:
        code: 100 to 999; an `IntEnum` will do.
        reason: The reason phrase; may be empty.

    Raises:
        ValueError: The code has not three digits, or the reason holds a control character.
    """
    number = int(code)
    if not 100 <= number <= 999:
        raise ValueError(f"{code!r} is not a status code: give a number of three digits")
    text = reason.decode("latin-1") if isinstance(reason, bytes) else str(reason)
    if CONTROL.search(text):
        raise ValueError(f"Illegal characters (CR or LF) in header: reason {text!r}")
    line = b"HTTP/1.1 %d %s\r\n" % (number, text.encode("latin-1", "replace"))
    if len(text) <= MAX_CACHED_FIELD:
        if len(_status_lines) >= MAX_CACHED_STATUSES:
            _status_lines.clear()
        _status_lines[(code, reason)] = line
    return line


def framing_names(kinds: Mapping[str, int]) -> dict[Any, int]:
    """Return `kinds`, whose names are in title case, with the raw names of the same fields."""
    names: dict[Any, int] = dict(kinds)
    for name, kind in kinds.items():
        raw = name.encode("ascii")
        names[raw] = names[raw.lower()] = kind
    _framing.update(raw for raw in names if isinstance(raw, bytes) and raw.islower())
    return names


def encode_trailers(fields: Iterable[Any]) -> bytes:
    """Return the lines of a trailer section.

    Raises:
        ValueError: One cannot be written, or says what has to be known before the body.

    Source: RFC 9110 section 6.5.1.
    """
    lines = []
    for name, value in fields:
        if name.lower() in NOT_IN_TRAILERS:
            raise ValueError(f"{name.decode('latin-1')} may not stand in a trailer section")
        lines.append(encode_field(name, value))
    return b"".join(lines)


def encode_field(name: Any, value: Any) -> bytes:
    """Return the line of one field, with its CRLF.

    Args:
        name: The field's name, a token; `str` or `bytes`.
        value: `str` in latin-1, or `bytes`.

    Raises:
        ValueError: The name is not a token, or the value holds a control character.
    """
    key = (name, value)
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    raw = name if isinstance(name, bytes) else name.encode("latin-1", "replace")
    if raw.lower() in _framing and not (name.istitle() or (name is raw and name.islower())):
        spelling = "lower case" if name is raw else "title case"
        raise ValueError(f"write the name {name!r} in {spelling}: it decides the framing")
    name = raw.decode("latin-1")
    if not is_token(raw):
        raise ValueError(f"Illegal characters in header: {name!r} is not a field name")
    if CONTROL.search(text):
        raise ValueError(f"Illegal characters (CR or LF) in header: {name}: {text!r}")
    line = f"{name}: {text}\r\n".encode("latin-1")
    if len(text) <= MAX_CACHED_FIELD and len(name) <= MAX_CACHED_FIELD:
        if len(_fields) >= MAX_CACHED_FIELDS:
            _fields.clear()
        _fields[key] = line
    return line


def encode_length(value: Any) -> tuple[int, bytes]:
    """Return the number that an application's `Content-Length` gives, and its line with CRLF.

    Raises:
        ValueError: As `parse_answer_length`.
    """
    length = parse_answer_length(value)
    encoded = (length, b"Content-Length: %d\r\n" % length)
    if len(_lengths) >= MAX_CACHED_LENGTHS:
        _lengths.clear()
    _lengths[value] = encoded
    return encoded


def split_connection(value: Any) -> tuple[bool, str]:
    """Return whether an application's `Connection` says close, and its options but for ours."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    close = False
    others = []
    for option in text.split(","):
        stripped = option.strip(" \t")
        lower = stripped.lower()
        if lower == "close":
            close = True
        elif lower not in ("keep-alive", ""):
            others.append(stripped)
    return close, ", ".join(others)


def field_lines(headers: Any) -> Iterable[Any]:
    """Return raw fields as they are, and the lines of a foreign headers object in title case."""
    if isinstance(headers, list):
        return headers
    return [(title_of[name], value) for name, value in headers.get_all()]


def plain_answer(status: int, text: str, more: bytes = b"") -> bytes:
    """Return a whole short answer in plain text that says that the connection closes.

    Args:
        status: The status code.
        text: One line, ASCII, already escaped.
        more: Field lines that are to be in it too, each with its CRLF.
    """
    body = text.encode("ascii", "replace") + b"\n"
    return b"".join(
        (
            status_line(status, REASONS.get(status, "Error")),
            date_line(time.time()),
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(body),
            more,
            b"Connection: close\r\n\r\n",
            body,
        )
    )
