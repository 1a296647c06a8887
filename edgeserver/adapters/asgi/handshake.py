"""WebSocket handshakes: which requests are one, which are refused, and what a proxy left out.

Decides before the application is asked. It must not know what becomes of the connection.

Source: RFC 6455 sections 4.1, 4.2 and 4.4; RFC 9110 section 7.8.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from edgeserver.httputil import HTTPConnection
from edgeserver.support.escape import escape

__all__ = ["VERSION", "find_flaw", "is_handshake", "may_be_handshake", "what_is_lacking"]

VERSION: Final = b"13"
"""The only version that there is. Source: RFC 6455 section 11.6."""


def may_be_handshake(fields: dict[bytes, bytes]) -> bool:
    """Tell whether a head needs a second look; nearly none does."""
    return b"upgrade" in fields or b"sec-websocket-key" in fields


def is_handshake(connection: HTTPConnection) -> bool:
    """Tell whether a request asks for a WebSocket in the one way that there is."""
    return _names_websocket(connection) and not what_is_lacking(connection)


def what_is_lacking(connection: HTTPConnection) -> str:
    """Return what a request lacks that would be a handshake without; empty for any other.

    RFC 9110 section 7.8 has it served as what it is: "A server MAY ignore a received Upgrade header
    field", and in HTTP/1.0 it must.
    """
    if not (_names_websocket(connection) or b"sec-websocket-key" in connection.fields):
        return ""
    if connection.method != "GET":
        return f"its method is {escape(connection.method)}, and GET is the only one"
    if connection.version != "HTTP/1.1" and not _is_extended_connect(connection):
        return (
            f"it came in {connection.version}: have the proxy ask in HTTP/1.1"
            " (nginx: proxy_http_version 1.1)"
        )
    offered = _tokens(connection, b"upgrade")
    if not offered:
        return (
            "it has no Upgrade: have the proxy pass that on"
            " (nginx: proxy_set_header Upgrade $http_upgrade)"
        )
    if offered != [b"websocket"]:
        return "its Upgrade names another protocol beside websocket"
    if b"upgrade" not in _tokens(connection, b"connection"):
        return (
            "its Connection does not say upgrade: have the proxy say so"
            ' (nginx: proxy_set_header Connection "upgrade")'
        )
    if any(
        name in (b"content-length", b"transfer-encoding") and value != b"0"
        for name, value in connection.raw
    ):
        return "it has a body"
    return ""


def find_flaw(connection: HTTPConnection) -> tuple[int, str] | None:
    """Return the status and the reason that refuse a handshake; None where nothing is wrong."""
    raw = connection.raw
    versions = [value for name, value in raw if name == b"sec-websocket-version"]
    if versions != [VERSION]:
        # A 426 is owed an Upgrade, which HTTP/2 has not.
        status = 400 if _is_extended_connect(connection) else 426
        return status, "Sec-WebSocket-Version is to be 13 (RFC 6455 section 4.4)"
    keys = [value for name, value in raw if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        return 400, "Sec-WebSocket-Key is to be 16 bytes in base64, once (RFC 6455 section 4.1)"
    return None


def _is_extended_connect(connection: HTTPConnection) -> bool:
    """Tell whether it came over HTTP/2, where nothing else upgrades. Source: RFC 8441."""
    return connection.version == "HTTP/2" and connection.upgrades


def _names_websocket(connection: HTTPConnection) -> bool:
    return b"websocket" in _tokens(connection, b"upgrade")


def _tokens(connection: HTTPConnection, name: bytes) -> list[bytes]:
    """Return the members of a list field, in lower case."""
    values = b",".join([value for each, value in connection.raw if each == name])
    tokens = [each.strip(b" \t").lower() for each in values.split(b",")]
    return [each for each in tokens if each]


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False
