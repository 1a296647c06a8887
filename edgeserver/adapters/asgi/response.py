"""The stages of an answer: which message may follow which, and what of them can be told from one.

Decides the order that `http` keeps to. It must not know what is written, nor when.

- FRESH: nothing yet. `http.response.start` leads to
- STARTED: status and fields are held back, so that a failure can still answer 500, and an answer
  of one piece is one write. The first `http.response.body` leads to
- STREAMING, where more of it follows, or to
- TRAILING, where `http.response.trailers` was announced, or to
- DONE. "Any further messages on the channel will be ignored."

A status that has no body (204 and 304) leads from FRESH to

- BODILESS, and where more of a body follows to
- DROPPING: what comes of it is dropped, with a warning.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.adapters.asgi.messages import (
    Message,
    MessageError,
    check_status,
    to_bytes,
    unexpected,
    wrong_fields,
)
from edgeserver.httputil import HTTPHeaders, HTTPInputError, ResponseStartLine, responses
from edgeserver.httputil.headers import RawHeaders

__all__ = [
    "BODILESS",
    "DONE",
    "DROPPING",
    "FRESH",
    "STARTED",
    "START_LINES",
    "STREAMING",
    "TRAILING",
    "has_no_body",
    "hint_headers",
    "out_of_order",
    "start_line_of",
    "takes_trailers",
]

FRESH: Final = 0
STARTED: Final = 1
BODILESS: Final = 2
DROPPING: Final = 3
STREAMING: Final = 4
TRAILING: Final = 5
DONE: Final = 6

_WITH_MORE: Final = ("after 'http.response.body' with more_body", "'http.response.body'")

_STATES: Final = {
    FRESH: ("before 'http.response.start'", "'http.response.start'"),
    STARTED: ("after 'http.response.start'", "'http.response.body'"),
    BODILESS: ("after 'http.response.start'", "'http.response.body'"),
    DROPPING: _WITH_MORE,
    STREAMING: _WITH_MORE,
    TRAILING: ("after the last 'http.response.body'", "'http.response.trailers'"),
}


def has_no_body(status: int) -> bool:
    """Tell whether an answer of this status ends with its head.

    Source: RFC 9110 sections 15.3.5 and 15.4.5.
    """
    return status == 204 or status == 304


START_LINES: Final[dict[Any, ResponseStartLine]] = {
    status: ResponseStartLine("HTTP/1.1", status, reason)
    for status, reason in responses.items()
    if status >= 200 and not has_no_body(status)
}
"""By status, of those that have a body and a registered reason."""


def start_line_of(kind: str, message: Message) -> ResponseStartLine:
    """Return the start line of any `http.response.start`.

    Raises:
        MessageError: The status is none that an application may answer with.
    """
    status = check_status(kind, message)
    return ResponseStartLine("HTTP/1.1", status, responses.get(status, "Unknown"))


def out_of_order(kind: str, stage: int) -> MessageError:
    """Return the error for a message that may not come at this stage."""
    return unexpected(kind, *_STATES[stage])


def hint_headers(kind: str, message: Message) -> HTTPHeaders:
    """Return the fields of an early hint: its links. Source: RFC 8297.

    Raises:
        MessageError: They are no links.
    """
    headers = HTTPHeaders()
    try:
        for link in message.get("links", ()):
            headers.add("Link", to_bytes(kind, "links", link))
    except (TypeError, ValueError, HTTPInputError) as error:
        raise wrong_fields(kind, error) from error
    return headers


def takes_trailers(fields: RawHeaders) -> bool:
    """Tell whether the client said `TE: trailers`.

    "The ASGI server will only send the trailing headers in case the client has sent the TE:
    trailers header in the request."
    """
    codings = b",".join([value for name, value in fields if name == b"te"]).lower().split(b",")
    return b"trailers" in [coding.strip(b" \t") for coding in codings]
