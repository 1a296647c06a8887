"""What stands in the messages of a `websocket` connection scope.

Decides what they must hold, and which HTTP messages those of a denial stand for. It must not know
in which state a WebSocket is.
"""

from __future__ import annotations

from typing import Any, Final

from edgeserver.adapters.asgi.messages import (
    Message,
    MessageError,
    shown,
    to_fields,
    unexpected,
    wrong_fields,
)

__all__ = ["DENIAL", "payload_of", "to_http", "to_pairs"]

DENIAL: Final = "websocket.http.response"
"""The extension with which an application answers a handshake over HTTP."""


def to_http(kind: str, message: Message) -> Message:
    """Return a message of a denial as the HTTP message that it stands for.

    Raises:
        MessageError: It is none.
    """
    if not kind.startswith(f"{DENIAL}."):
        raise unexpected(kind, f"after '{DENIAL}.start'", f"'{DENIAL}.body'")
    plain = {**message, "type": kind.removeprefix("websocket.")}
    if kind == f"{DENIAL}.start":
        # "the server should send a HTTP response and then close the connection"
        plain["headers"] = [*to_fields(kind, message), (b"connection", b"close")]
        plain.pop("trailers", None)
    return plain


def to_pairs(kind: str, message: Message) -> list[tuple[bytes, bytes]]:
    """Return the `headers` of a message, each a pair of bytes."""
    fields: list[Any] = to_fields(kind, message)
    for field in fields:
        if not (isinstance(field, tuple | list) and len(field) == 2):
            raise wrong_fields(kind, f"{shown(field)} is no pair")
        if not all(isinstance(each, bytes) for each in field):
            raise wrong_fields(kind, f"{shown(field)} is not of bytes")
    return fields


def payload_of(message: Message) -> str | bytes:
    """Return the data of a `websocket.send`.

    Raises:
        MessageError: Not exactly one of `bytes` and `text` is there.
    """
    text = message.get("text")
    data = message.get("bytes")
    if (text is None) == (data is None):
        raise MessageError("'websocket.send': give exactly one of 'bytes' and 'text'")
    if text is not None:
        if not isinstance(text, str):
            raise MessageError(f"'websocket.send': 'text' is {shown(text)}: give a str")
        return text
    if not isinstance(data, bytes | bytearray | memoryview):
        raise MessageError(f"'websocket.send': 'bytes' is {shown(data)}: give bytes")
    return bytes(data)
