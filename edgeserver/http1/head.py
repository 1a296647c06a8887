"""A request head, from bytes to its parts: the strict parser, and what makes it fast.

Decides whether the bytes of a head are a request line and field lines as RFC 9112 wants them.
It must not know of connections or bodies; what the fields mean is decided elsewhere.

It is fast because lines repeat: a field line that passed once and whose name is on a short list
is kept, by its exact bytes, in a bounded cache, and so are validated field names. What a connection
does with fields that its next head repeats is the connection's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http.grammar import (
    BAD_BYTE,
    FIELD_VALUE_MARKS,
    HEAD_BYTES,
    HOST,
    HTTP_VERSION,
    TARGET_MARKS,
    is_token,
)
from edgeserver.http1.target import check_target
from edgeserver.httputil.hosts import authority_of
from edgeserver.support.escape import escape
from edgeserver.support.spelling import spelled

__all__ = [
    "FieldPairs",
    "Fields",
    "Head",
    "RawFields",
    "check_partial_head",
    "parse_field",
    "parse_head",
    "parse_lines",
    "parse_request_line",
    "with_host_of_target",
]

RawFields = list[tuple[bytes, bytes]]
"""Field lines in order: lower-case name, value without white space around it."""

FieldPairs = Collection[tuple[bytes, bytes]]
"""The same to be looked through: the list, or the items of a dict where no name repeats."""

Fields = dict[bytes, bytes]
"""The last value of each name."""

Head = tuple[str, str, str, RawFields | None, Fields]
"""Method, target, version, field lines, and the last value of each name.

The field lines are None where no name repeats: they are the items of what comes last then. Where
the target names a host, their `Host` is that one, whatever was received."""

METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}
VERSIONS: Final = {b"HTTP/1.1": "HTTP/1.1", b"HTTP/1.0": "HTTP/1.0"}

# Lines with these names repeat from request to request and from client to client. A name that
# varies (a cookie, an address) would only push these out.
CACHED_NAMES: Final = frozenset(
    b"host user-agent accept accept-language accept-encoding accept-charset connection"
    b" cache-control pragma dnt te upgrade-insecure-requests x-forwarded-proto x-scheme"
    b" content-type sec-fetch-site sec-fetch-mode sec-fetch-dest sec-fetch-user sec-gpc"
    b" sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform priority".split()
)
MAX_CACHED_LINE: Final = 256
MAX_CACHED_LINES: Final = 2048
MAX_CACHED_NAME: Final = 64
MAX_CACHED_NAMES: Final = 1024
MAX_METHOD: Final = 64


_lines: dict[bytes, tuple[bytes, bytes]] = {}
"""Field lines that were parsed before, by their exact bytes."""

_names: dict[bytes, bytes] = {}
"""Names in the spelling that came, of fields whose lines are not kept."""

_cached_line: Callable[[bytes], tuple[bytes, bytes] | None] = _lines.get
_cached_name: Callable[[bytes], bytes | None] = _names.get
_method: Callable[[bytes], str | None] = METHODS.get
_version: Callable[[bytes], str | None] = VERSIONS.get


def parse_head(head: bytes, max_fields: int) -> Head:
    """Parse a head, without the empty line that ends it.

    Args:
        head: Request line and field lines, joined by CRLF; at most as long as the caller allows.
        max_fields: How many field lines there may be.

    Raises:
        HTTPInputError: A rule is broken; its `status` says how to answer.
    """
    try:
        return parse_lines(head.split(b"\r\n"), max_fields)
    except HTTPInputError:
        # What it is refused for is what it would have been, had it come byte by byte.
        check_partial_head(head + b"\r\n", 0, 0)
        raise


def parse_lines(lines: list[bytes], max_fields: int) -> Head:
    """Parse the lines of a head, without their CRLF; the list is used up.

    An empty line is refused like any other without a colon.

    Args:
        lines: The request line, and the field lines.
        max_fields: How many field lines there may be.

    Raises:
        HTTPInputError: A rule is broken; its `status` says how to answer.
    """
    method, target, version = parse_request_line(lines[0])
    del lines[0]
    count = len(lines)
    if count > max_fields:
        raise _too_many_fields(max_fields)
    fields: Fields = {}
    cached = _cached_line
    for line in lines:
        field = cached(line)
        if field is not None:
            name, value = field
            fields[name] = value
            continue
        name, _, value = line.partition(b": ")
        lower = _cached_name(name)
        if (
            lower is None
            or not value
            or value[0] <= 0x20
            or value[-1] <= 0x20
            or value.translate(FIELD_VALUE_MARKS) is not value
        ):
            # Not what nearly every line is: a name that is known, a space, and a clean value, of
            # which CPython's translate() returns the very object.
            lower, value = _parse_rare_field(line)
        fields[lower] = value
    if len(fields) == count and b"host" in fields and target[0] == "/":
        return method, target, version, None, fields  # as nearly every head
    raw = None if len(fields) == count else [parse_field(line) for line in lines]
    _check_host(version, raw, fields)
    if target[0] != "/":
        raw, fields = with_host_of_target(method, target, raw, fields)
    return method, target, version, raw, fields


def parse_request_line(line: bytes) -> tuple[str, str, str]:
    """Parse a request line, without its CRLF, to `(method, target, version)`.

    Raises:
        HTTPInputError: A rule is broken; its `status` says how to answer.

    Source: RFC 9112 section 3.
    """
    words = line.split(b" ")
    if len(words) != 3:
        raise _malformed_request_line(line)
    word, target, last = words
    method = _method(word) or _parse_method(word, target)
    version = _version(last) or _parse_version(last, line)
    marked = target.translate(TARGET_MARKS)
    if not target or (marked is not target and marked != target):
        # "A recipient SHOULD NOT attempt to autocorrect": RFC 9112 section 3.2.
        raise _malformed_request_line(line)
    if target[0] != 0x2F:
        check_target(method, target)
    return method, target.decode(), version


def _check_host(version: str, raw: RawFields | None, fields: Fields) -> None:
    """Refuse a head without Host, or with several.

    Source: RFC 9112 section 3.2, "A server MUST respond with a 400 (Bad Request) status code to any
    HTTP/1.1 request message that lacks a Host header field and to any request message that
    contains more than one Host header field line".
    """
    if b"host" not in fields:
        if version != "HTTP/1.0":
            raise HTTPInputError("Missing Host header", rfc="RFC 9112 section 3.2")
    elif raw is not None and sum(name == b"host" for name, _ in raw) > 1:
        raise HTTPInputError(
            "Multiple host headers not allowed: more than one Host line", rfc="RFC 9112 section 3.2"
        )


def with_host_of_target(
    method: str, target: str, raw: RawFields | None, fields: Fields
) -> tuple[RawFields | None, Fields]:
    """Return field lines and fields in which `Host` is what a target says that is no path.

    What was given is not changed. `Host` stands where the received one stood, or else first.

    Source: RFC 9112 section 3.2.2. From here on a request has one host: nobody can check the
    target's and serve the field's.
    """
    authority = authority_of(method, target).encode("ascii")
    if not authority:
        return raw, fields
    if b"host" not in fields:
        # Only an HTTP/1.0 request may come without.
        host = (b"host", authority)
        return None if raw is None else [host, *raw], dict([host, *fields.items()])
    if raw is not None:
        raw = [(name, authority if name == b"host" else value) for name, value in raw]
    return raw, {**fields, b"host": authority}


def parse_field(line: bytes) -> tuple[bytes, bytes]:
    """Parse one field line, without its CRLF, to `(lower-case name, value)`.

    Raises:
        HTTPInputError: The line is not `field-name ":" OWS field-value OWS`.

    Source: RFC 9112 section 5.
    """
    return _cached_line(line) or _parse_rare_field(line)


def _parse_rare_field(line: bytes) -> tuple[bytes, bytes]:
    """Parse any line: its name may be new, or the whole line worth keeping."""
    name, colon, value = line.partition(b":")
    lower = _parse_name(name, colon, line)
    value = value.strip(b" \t")
    if value.translate(FIELD_VALUE_MARKS) != value:
        raise _bad_value(line)
    field = (lower, value)
    if lower in CACHED_NAMES:
        if lower == b"host" and not HOST.fullmatch(value):
            raise HTTPInputError(
                f"Invalid Host header: '{escape(value)}'", rfc="RFC 9112 section 3.2"
            )
        if len(line) <= MAX_CACHED_LINE:
            _remember_line(line, field)
    elif len(name) <= MAX_CACHED_NAME:
        if len(_names) >= MAX_CACHED_NAMES:
            _names.clear()
        _names[name] = lower
    return field


def _remember_line(line: bytes, field: tuple[bytes, bytes]) -> None:
    # Emptied when full: a stranger who sends ever new lines costs the others one more parse of
    # each of theirs per 2048 lines of his, never more.
    if len(_lines) >= MAX_CACHED_LINES:
        _lines.clear()
    _lines[line] = field


def _parse_name(name: bytes, colon: bytes, line: bytes) -> bytes:
    if line[:1] in (b" ", b"\t"):
        # RFC 9112 section 5.2: "A server that receives an obs-fold in a request message that is
        # not within a message/http container MUST either reject the message [...]".
        raise HTTPInputError(
            "header line cannot start with whitespace, folding not supported",
            rfc="RFC 9112 section 5.2",
        )
    if not colon:
        raise HTTPInputError(f"no colon in header line '{escape(line)}'", rfc="RFC 9112 section 5")
    if not is_token(name):
        # RFC 9112 section 5.1: "No whitespace is allowed between the field name and colon."
        raise _bad_name(name)
    return name.lower()


def _parse_method(word: bytes, target: bytes) -> str:
    if not is_token(word) or len(word) > MAX_METHOD:
        raise HTTPInputError(
            f"Malformed HTTP request line: '{escape(word)}' is not a method",
            rfc="RFC 9110 section 9",
        )
    method = word.decode("ascii")
    if method == "CONNECT" and target.startswith(b"/"):
        check_target(method, target)
    return method


def _parse_version(word: bytes, line: bytes) -> str:
    match = HTTP_VERSION.fullmatch(word)
    if match is None:
        raise _malformed_request_line(line)
    if match[1] != b"1":
        raise HTTPInputError(
            f"HTTP version '{escape(word)}' is not supported",
            status=505,
            rfc="RFC 9110 section 15.6.6",
        )
    # RFC 9110 section 2.5: a higher minor version is served as the highest that one knows.
    return "HTTP/1.1"


def _too_many_fields(max_fields: int) -> HTTPInputError:
    return HTTPInputError(
        f"more than {max_fields} header fields ({spelled('max_header_fields')})",
        status=431,
        rfc="RFC 6585 section 5",
    )


def _bad_name(name: bytes) -> HTTPInputError:
    return HTTPInputError(f"Invalid header name '{escape(name)}'", rfc="RFC 9112 section 5.1")


def _bad_value(line: bytes) -> HTTPInputError:
    return HTTPInputError(
        f"Invalid header value in '{escape(line)}': a control character in a field value",
        rfc="RFC 9110 section 5.5",
    )


def _malformed_request_line(line: bytes) -> HTTPInputError:
    return HTTPInputError(
        f"Malformed HTTP request line: '{escape(line)}'", rfc="RFC 9112 section 3"
    )


def check_partial_head(buffer: bytes | bytearray, start: int, checked: int) -> int:
    """Refuse a head that can no longer become a valid one, without waiting for its end.

    The first byte that breaks a rule decides, and so the answer is the same however a head is cut
    into segments; a request line is judged when its CRLF is there.

    Args:
        buffer: What has come so far.
        start: Where the head starts.
        checked: Up to where earlier calls have looked.

    Returns:
        Up to where it has been looked; to be given to the next call.

    Raises:
        HTTPInputError: A bare CR, a bare LF or a control character is there already, or a request
            line that breaks a rule.
    """
    part = bytes(memoryview(buffer)[checked:])
    end = len(buffer)
    if part.endswith(b"\r"):
        end -= 1  # it may be the first half of a line's end
    pairs = part.count(b"\r\n")
    bad = None
    if part.translate(None, HEAD_BYTES) != b"\r\n" * pairs:
        bad = BAD_BYTE.search(part)
    if pairs and buffer.find(b"\r\n", start, checked) < 0:
        line_end = buffer.find(b"\r\n", checked)
        if bad is None or line_end < checked + bad.start():
            parse_request_line(bytes(buffer[start:line_end]))
    if bad is None:
        return end
    raise _bad_byte(bytes(buffer[start : checked + bad.end()]))


def _bad_byte(head: bytes) -> HTTPInputError:
    """Return the refusal of a head for its last byte, which may not stand there."""
    *lines, line = head[:-1].split(b"\r\n")
    line += head[-1:]
    if head[0] == 0x16:
        return HTTPInputError(
            "Malformed HTTP request line: this is a TLS handshake on a port for plain HTTP",
            rfc="RFC 9112 section 3",
        )
    if head[-1] in b"\r\n":
        # RFC 9112 section 2.2: "A sender MUST NOT generate a bare CR"; a lone LF as a line end is
        # a MAY that lets two recipients see two messages, so it is not taken.
        return HTTPInputError(
            f"Malformed HTTP request head: a bare CR or LF after '{escape(line[:-1][-80:])}'",
            rfc="RFC 9112 section 2.2",
        )
    if not lines:
        return _malformed_request_line(line)
    name, colon, _ = line.partition(b":")
    return _bad_value(line) if colon else _bad_name(name)
