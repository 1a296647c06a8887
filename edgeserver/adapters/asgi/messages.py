"""The messages of an application: what they may hold, and what is said where they do not.

Decides the wording of every complaint: each names the message, what is wrong with it, and what is
expected; and which HTTP messages those of a WebSocket's denial stand for. It must not know in which
state a request or a WebSocket is.

Source: the tables of the ASGI specification, "HTTP & WebSocket message format".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edgeserver.errors import EdgeServerError

__all__ = [
    "DENIAL",
    "Message",
    "MessageError",
    "check_status",
    "payload_of",
    "shown",
    "to_bytes",
    "to_fields",
    "to_http",
    "to_pairs",
    "type_of",
    "unexpected",
    "wrong_fields",
]

Message = dict[str, Any]
"""What `receive` returns and `send` takes."""

DENIAL: Final = "websocket.http.response"
"""The extension with which an application answers a handshake over HTTP."""

SHOWN: Final = 100
"""How much of a wrong value is shown, in characters."""


class MessageError(EdgeServerError, RuntimeError):
    """The application sent a message that the specification does not allow there.

    It is raised from `send`, in the application, which learns what it did where it did it.
    """


def type_of(message: Any) -> str:
    """Return the type of a message.

    Raises:
        MessageError: It is not a message.
    """
    try:
        kind = message["type"]
    except (TypeError, KeyError, IndexError):
        raise MessageError(
            f"send() got {shown(message)}, which is not an ASGI message: give a dict with a 'type'"
        ) from None
    if not isinstance(kind, str):
        raise MessageError(f"the 'type' of an ASGI message is a str, not {shown(kind)}")
    return kind


def unexpected(kind: str, state: str, expected: str) -> MessageError:
    """Return the error for a message that is out of order.

    Args:
        kind: The message's type.
        state: What has happened so far, in words.
        expected: What may come now, in words.
    """
    return MessageError(f"unexpected ASGI message {kind!r} {state}: expected {expected}")


def check_status(kind: str, message: Message) -> int:
    """Return the `status` of a message that starts a response.

    Raises:
        MessageError: It is missing, not an `int`, or not a final status of three digits.
    """
    status = message.get("status")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 999:
        raise MessageError(
            f"{kind!r}: 'status' is {shown(status)}: give an int from 200 to 999 "
            "(informational answers are the server's)"
        )
    return int(status)


def to_fields(kind: str, message: Message) -> list[tuple[bytes, bytes]]:
    """Return the `headers` of a message as a list of pairs.

    What stands in the pairs is checked when they are written.

    Raises:
        MessageError: They are not an iterable.
    """
    headers: Iterable[tuple[bytes, bytes]] | None = message.get("headers")
    if headers is None:
        return []
    try:
        return list(headers)
    except TypeError:
        raise wrong_fields(kind, f"'headers' is {shown(headers)}") from None


def wrong_fields(kind: str, what: object) -> MessageError:
    """Return the error for header fields that cannot be written."""
    return MessageError(
        f"{kind!r}: {what}: 'headers' is an iterable of pairs of bytes, the lower-case name and "
        "the value"
    )


def to_bytes(kind: str, key: str, value: Any) -> bytes:
    """Return a piece of a body as `bytes`.

    Args:
        kind: The message's type.
        key: The key that holds it.
        value: `bytes`, or a `bytearray` or `memoryview`, which is copied.

    Raises:
        MessageError: It is anything else.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise MessageError(f"{kind!r}: {key!r} is {shown(value)}: give bytes")


def shown(value: object) -> str:
    """Return how a complaint shows a wrong value: its type, and the beginning of its repr."""
    text = repr(value)
    if len(text) > SHOWN:
        text = text[:SHOWN] + "..."
    return f"{text} ({type(value).__name__})"


def to_http(kind: str, message: Message) -> Message:
    """Return a message of a denial as the HTTP message that it stands for.

    Raises:
        MessageError: It is not one of a denial.
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
            raise wrong_fields(kind, f"{shown(field)} is not a pair")
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
