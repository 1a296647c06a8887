"""Extended CONNECT: a WebSocket's handshake over HTTP/2 as the one of HTTP/1.1 that it stands for.

Decides what an application is given for it, so that one that serves WebSockets over HTTP/1.1 does
over HTTP/2 unchanged. It must not know what comes of it.

Source: RFC 8441 section 5: "The HTTP/1.1 Upgrade [...] is replaced by the extended CONNECT method",
and the keys of a handshake "are not used".
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from edgeserver.errors import HTTPInputError
from edgeserver.http2.head import RequestHead
from edgeserver.http2.hpack.tables import Field
from edgeserver.support.escape import escape

__all__ = ["NOT_IN_ANSWER", "as_handshake"]

WEBSOCKET: Final = "websocket"

KEY: Final = b"sec-websocket-key"

NOT_IN_ANSWER: Final = b"sec-websocket-accept"
"""What answers the key: nobody has asked for it."""


def as_handshake(head: RequestHead, *, served: bool) -> list[Field]:
    """Return the fields of the handshake that an extended CONNECT stands for.

    Args:
        head: The request.
        served: Whether the application serves WebSockets at all.

    Raises:
        HTTPInputError: It asks for what nobody speaks here (501), or brings a body (400).
    """
    if not served or head.protocol.lower() != WEBSOCKET:
        raise HTTPInputError(
            f"':protocol' is '{escape(head.protocol)}', which nobody speaks here over HTTP/2",
            status=501,
            rfc="RFC 8441 section 4",
        )
    if head.length >= 0:
        raise HTTPInputError(
            "a WebSocket's handshake with a content-length", rfc="RFC 9110 section 9.3.6"
        )
    lines = list(head.fields.items()) if head.lines is None else head.lines
    return [
        *[line for line in lines if line[0] != KEY],
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (KEY, base64.b64encode(secrets.token_bytes(16))),
    ]
