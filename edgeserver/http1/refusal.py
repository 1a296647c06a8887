"""Refusals: what the client of a broken request is told.

Decides the bytes of the last answer on a connection. It must not know when something is refused,
nor how the connection then ends.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http.exchange import FRESH, Exchange
from edgeserver.http1.response_head import plain_answer

__all__ = ["refusal_bytes"]

RETRY_AFTER: Final = b"Retry-After: 5\r\n"
"""Said with each 503: in so many seconds whoever waited for room has got it, or has let go."""


def refusal_bytes(
    status: int, reason: str, exchange: Exchange | None, strict_transport_line: bytes
) -> bytes:
    """Return the answer that refuses a request; empty where an answer has begun already.

    Args:
        status: The status code.
        reason: One line, ASCII, already escaped.
        exchange: The request; None where its head could not be read.
        strict_transport_line: The line of every answer on this connection, or nothing.
    """
    if exchange is not None and exchange.state != FRESH:
        return b""
    more = strict_transport_line
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
