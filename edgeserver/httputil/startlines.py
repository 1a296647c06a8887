"""Start lines: the first line of a request and of a response.

Decides what a well-formed HTTP/1.x start line is, and gives its three parts names. It must not
know which targets or methods a server is willing to serve.

Source: RFC 9112 sections 3 and 4; the names are those of `tornado.httputil`.
"""

from __future__ import annotations

import re
from http.client import responses
from typing import NamedTuple

from edgeserver.errors import HTTPInputError

__all__ = [
    "RequestStartLine",
    "ResponseStartLine",
    "parse_request_start_line",
    "parse_response_start_line",
    "responses",
]

# method         = token                                          RFC 9110 section 9.1
# request-target = printable ASCII, whatever its form             RFC 3986 section 2
# HTTP-version   = "HTTP" "/" DIGIT "." DIGIT                     RFC 9112 section 2.3
_REQUEST_LINE = re.compile(
    r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7E]+) (HTTP/[0-9]\.[0-9])"
).fullmatch

# status-line    = HTTP-version SP status-code SP [ reason-phrase ]
# reason-phrase  = 1*( HTAB / SP / VCHAR / obs-text )             RFC 9112 section 4
_STATUS_LINE = re.compile(r"(HTTP/[0-9]\.[0-9]) ([0-9]{3}) ([\t\x20-\x7E\x80-\xFF]*)").fullmatch


class RequestStartLine(NamedTuple):
    """The request line: `path` is the request-target as sent, whatever its form."""

    method: str
    path: str
    version: str


class ResponseStartLine(NamedTuple):
    """The status line; a server writes its own version whatever `version` says."""

    version: str
    code: int
    reason: str


def parse_request_start_line(line: str) -> RequestStartLine:
    """Parse a request line, without its line end.

    Args:
        line: Such as `"GET /foo HTTP/1.1"`, decoded as latin-1.

    Raises:
        HTTPInputError: It is not `method SP request-target SP HTTP-version` (status 400), or the
            major version is not 1 (status 505).

    Source: RFC 9112 section 3.
    """
    match = _REQUEST_LINE(line)
    if match is None:
        # RFC 9112 section 3: "Recipients of an invalid request-line SHOULD respond with either a
        # 400 (Bad Request) error or a 301".
        raise HTTPInputError("Malformed HTTP request line", rfc="RFC 9112 section 3")
    method, path, version = match.groups()
    _require_major_version_1(version)
    return RequestStartLine(method, path, version)


def parse_response_start_line(line: str) -> ResponseStartLine:
    """Parse a status line, without its line end.

    Args:
        line: Such as `"HTTP/1.1 200 OK"`, decoded as latin-1; the reason may be empty.

    Raises:
        HTTPInputError: It is not `HTTP-version SP status-code SP [reason-phrase]`, or the major
            version is not 1.

    Source: RFC 9112 section 4.
    """
    match = _STATUS_LINE(line)
    if match is None:
        raise HTTPInputError("Error parsing response start line", rfc="RFC 9112 section 4")
    version, code, reason = match.groups()
    _require_major_version_1(version)
    return ResponseStartLine(version, int(code), reason)


def _require_major_version_1(version: str) -> None:
    # RFC 9110 section 15.6.6: 505 says that the major version is not supported.
    if not version.startswith("HTTP/1."):
        raise HTTPInputError(
            f"Unexpected HTTP version {version!r}", status=505, rfc="RFC 9110 section 15.6.6"
        )
