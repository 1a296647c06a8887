"""What an application may put into a message, and what it is told when it does not.

Decides the wording of every complaint: each names the message, what is wrong with it, and what is
expected. It must not know in which state a request is.

Source: the tables of the ASGI specification, "HTTP & WebSocket message format".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgeserver.errors import EdgeServerError

__all__ = [
    "Message",
    "MessageError",
    "check_status",
    "shown",
    "to_bytes",
    "to_fields",
    "type_of",
    "unexpected",
    "wrong_fields",
]

Message = dict[str, Any]
"""What `receive` returns and `send` takes."""

SHOWN = 100
"""How much of a wrong value is shown, in characters."""


class MessageError(EdgeServerError, RuntimeError):
    """The application sent a message that the specification does not allow there.

    It is raised from `send`, in the application, which learns what it did where it did it.
    """


def type_of(message: Any) -> str:
    """Return the type of a message.

    Raises:
        MessageError: It is no message.
    """
    try:
        kind = message["type"]
    except (TypeError, KeyError, IndexError):
        raise MessageError(
            f"send() got {shown(message)}, which is no ASGI message: give a dict with a 'type'"
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
        MessageError: It is missing, no `int`, or no final status of three digits.
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
        MessageError: They are no iterable.
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
