"""Refusals: what the client of a broken request is told.

Decides the bytes of the last answer on a connection. It must not know when something is refused,
nor how the connection then ends.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

from edgeserver.errors import HTTPInputError
from edgeserver.http.exchange import FRESH, Exchange
from edgeserver.http.input_errors import render_rfc
from edgeserver.http.service import HTTPService
from edgeserver.http1.response_head import plain_answer
from edgeserver.http1.shared import HTTP1Shared
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.support.preludes import explain_prelude

__all__ = ["log_refusal", "render_refusal"]

RETRY_AFTER: Final = b"Retry-After: 5\r\n"
"""Said with each 503: in so many seconds whoever waited for room has got it, or has let go."""


def render_refusal(
    status: int,
    reason: str,
    exchange: Exchange | None,
    shared: HTTP1Shared,
    info: ConnectionInfo,
) -> bytes:
    """Return the answer that refuses a request; empty where an answer has begun already.

    Args:
        status: The status code.
        reason: One line, ASCII, already escaped.
        exchange: The request; None where its head could not be read.
        shared: The lines that all answers have.
        info: Whose connection it is.
    """
    if exchange is not None and exchange.state != FRESH:
        return b""
    more = b"" if info.tls is None else shared.strict_transport_line
    ids = shared.service.request_ids
    if ids is not None and exchange is not None and exchange.request_id is not None:
        more += ids.line(exchange.request_id)
    if status == 503:
        more += RETRY_AFTER
    answer = plain_answer(status, reason, more)
    if exchange is not None:
        if exchange.method == "HEAD":
            # RFC 9110 section 9.3.2: "the server MUST NOT send content in the response".
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        exchange.status = status
        exchange.bytes_sent += len(answer)
    return answer


def log_refusal(
    error: HTTPInputError,
    service: HTTPService,
    info: ConnectionInfo,
    now_s: float,
    version: Literal["v1", "v2"] | None,
) -> None:
    """Count and log why a request was refused, or that it was a PROXY header and never one.

    Args:
        error: The rule that it breaks.
        service: What keeps such lines within limits.
        info: Whose connection it is. The peer is named and not a client: until a head is resolved
            nobody knows whose it is.
        now_s: The loop's time.
        version: That of the PROXY header which the connection began with, None where it did not.
    """
    if version is None:
        service.count_refused(error.rfc or f"status {error.status}")
        rule = render_rfc(error)
        service.complain(
            now_s, info, "Malformed HTTP message from %s: %s%s", info.peer, error, rule
        )
        return
    service.count_refused("proxy-protocol")
    service.complain(
        now_s,
        info,
        "connection from %s refused: %s",
        info.peer,
        explain_prelude(version, info.peer, after=info.prelude is not None),
        level=logging.WARNING,
    )
