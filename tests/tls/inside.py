"""What tests look at inside of TLS connections, where nothing public says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = [
    "below",
    "has_backlog",
    "has_pending_output",
    "is_scheduled",
    "is_ticking",
    "put_below",
    "state",
    "unread",
    "waiting_handshakes",
]


def below(transport: Any) -> Any:
    """Return the transport below a TLS connection."""
    return transport._lower


def put_below(transport: Any, wrap: Callable[[Any], Any]) -> None:
    """Put what `wrap` makes of the transport below a TLS connection in its place."""
    transport._lower = transport._writer._lower = wrap(transport._lower)


def unread(transport: Any) -> int:
    """How many bytes a TLS connection has received and not given to its protocol."""
    return len(transport._rest or b"") + int(transport._incoming.pending)


def has_backlog(transport: Any) -> bool:
    """Whether a TLS connection holds bytes that are not encrypted yet."""
    return transport._writer._backlog is not None


def has_pending_output(transport: Any) -> bool:
    """Whether a TLS connection holds encrypted bytes that are not written yet."""
    return bool(transport._writer._outgoing.pending)


def state(layer: Any) -> Any:
    """How far a handshake has come."""
    return layer._state


def waiting_handshakes(limiter: Any) -> int:
    """How many handshakes are watched for their timeout."""
    return sum(len(each) for each in limiter._timeouts.values())


def is_scheduled(timeouts: Any) -> bool:
    """Whether a timer of `Timeouts` runs."""
    return timeouts._timer is not None


def is_ticking(timer: Any) -> bool:
    """Whether a `ReloadTimer` runs."""
    return timer._handle is not None
