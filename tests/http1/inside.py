"""What tests look at inside of HTTP/1, where nothing public says it."""

from __future__ import annotations

from typing import Any

from edgeserver.http1 import head, response_head

__all__ = [
    "cached_answers",
    "cached_lines",
    "cached_names",
    "clock_runs",
    "forget_heads",
    "kept_fields",
    "kept_tail",
]


def forget_heads() -> None:
    """Empty the caches of the head parser."""
    head._lines.clear()
    head._names.clear()


def cached_lines() -> list[bytes]:
    """Return the field lines that the head parser remembers."""
    return list(head._lines)


def cached_names() -> list[bytes]:
    """Return the field names that the head parser remembers."""
    return list(head._names)


def cached_answers() -> tuple[int, int, int]:
    """Return how many fields, lengths and status lines of answers are remembered."""
    return len(response_head._fields), len(response_head._lengths), len(response_head._status_lines)


def clock_runs(service: Any) -> bool:
    """Whether the timer of all connections runs."""
    return bool(service.clock.running)


def kept_fields(connection: Any) -> Any:
    """Return the fields that a connection keeps of its last head, or None."""
    return connection.requests.kept_fields


def kept_tail(connection: Any) -> bytes:
    """Return the bytes of the last head that a connection keeps."""
    tail: bytes = connection.requests._cache.tail
    return tail
