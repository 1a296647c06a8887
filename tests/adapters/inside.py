"""What tests look at inside of the adapters, where nothing public says it."""

from __future__ import annotations

from typing import Any

from edgeserver.adapters.wsgi import head

__all__ = [
    "held_messages",
    "idle_threads",
    "kept_statuses",
    "pool_of",
    "websocket_has_begun",
    "websocket_read_paused",
    "websocket_writing_paused",
]


def websocket_has_begun(call: Any) -> bool:
    """Whether a call of an ASGI application has accepted its WebSocket."""
    return hasattr(call, "_websocket")


def websocket_read_paused(call: Any) -> bool:
    """Whether the WebSocket of a call holds its client back."""
    return bool(call._websocket._reading_paused)


def websocket_writing_paused(call: Any) -> bool:
    """Whether the client of a call's WebSocket takes nothing more for now."""
    return bool(call._websocket._writing_paused)


def held_messages(call: Any) -> int:
    """How many messages of a call's WebSocket wait to be received."""
    return len(call._websocket.messages)


def pool_of(adapter: Any) -> Any:
    """Return the threads of a `WSGIAdapter`."""
    return adapter._pool


def idle_threads(pool: Any) -> int:
    """How many threads of a pool wait for work."""
    return len(pool._idle)


def kept_statuses() -> int:
    """How many status lines of WSGI applications are remembered."""
    return len(head._statuses)
