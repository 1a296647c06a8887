"""The question of a TLS connection once its hello is read: the context that serves it.

Decides only the shape of the question and of the answer, so that the connections need not know
how hosts, certificates and reloads are kept.
"""

from __future__ import annotations

import ssl
from typing import Protocol

__all__ = ["ContextSource", "SelectedContext"]


class SelectedContext(Protocol):
    """What serves one hello, or the alert that answers it."""

    @property
    def context(self) -> ssl.SSLContext | None:
        """What serves; None where there is an alert."""
        ...

    @property
    def host(self) -> str:
        """The configured host that was chosen, empty for the default."""
        ...

    @property
    def alert(self) -> int | None:
        """The alert that refuses this client, None to go on."""
        ...


class ContextSource(Protocol):
    """Where a context comes from; it may give others after a reload."""

    @property
    def handshake_timeout(self) -> float | None:
        """Seconds from the connection to the end of its handshake."""
        ...

    def select(self, server_name: str | None, alpn: tuple[str, ...]) -> SelectedContext:
        """Choose by what the hello asks for; `(None, ())` where it could not be read."""
        ...
