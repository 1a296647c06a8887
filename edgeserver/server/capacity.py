"""The capacity of a server: `max_connections`, and when accepting pauses for it.

Decides when connections are counted, and when there are too many. It must not know what is spoken
on them; the server says how many there are, and can pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from edgeserver.http.connections import ConnectionRegistry
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit
from edgeserver.support.spelling import spelled

__all__ = ["Capacity"]

PAUSE_POLL_S: Final = 0.1
"""How often it is looked whether a paused server may accept again, in seconds."""

COUNT_EVERY: Final = 64
"""Connections that may begin before they are counted, far from the limit."""


class Capacity:
    """The bound of one server's connections.

    Args:
        most: How many there may be.
        count_opening: Says how many have not come as far as HTTP.
        pause: Stops accepting.
        resume: Accepts again.
    """

    _connections: ConnectionRegistry  # those that have come as far, and detached ones

    def __init__(
        self,
        most: int,
        count_opening: Callable[[], int],
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self._most = most
        self._count_opening = count_opening
        self._pause = pause
        self._resume = resume
        self._paused: asyncio.TimerHandle | None = None  # when it is looked again; None if not
        self._until_count = 0  # how many may begin until they are counted
        self._warnings = RateLimit(in_all=1)

    def watch(self, connections: ConnectionRegistry) -> None:
        """Count these connections; called once, before any begins."""
        self._connections = connections

    @property
    def open_connections(self) -> int:
        """How many connections are open, those in their handshake and detached ones too."""
        connections = self._connections
        return len(connections) + connections.detached_count() + self._count_opening()

    def set_most(self, most: int) -> None:
        """Hold the server to another number from now on."""
        self._most = most
        self._until_count = 0
        if self._paused is not None:
            self._bound()

    def count_begun(self) -> None:
        """Called when a connection has begun, or has come as far as HTTP; count now and then."""
        self._until_count -= 1
        if self._until_count <= 0:
            self._bound()

    def count_ended(self) -> None:
        """Called when a connection has gone: where accepting pauses there may be room again."""
        if self._paused is not None:
            self._bound()

    def _bound(self) -> None:
        """Count the connections, and pause accepting or resume it."""
        connections = self._connections
        # Detached streams are not looked at each time: there may be many thousands of them.
        at_most = len(connections) + connections.detached_at_most() + self._count_opening()
        # Until so many more have begun they cannot be too many.
        self._until_count = min(self._most - at_most, COUNT_EVERY)
        if self._paused is not None:
            if at_most < self._most:
                self._paused.cancel()
                self._paused = None
                self._resume()
        elif at_most >= self._most and self.open_connections >= self._most:
            self._pause()
            self._look_again()
            # At the limit every connection pauses it once.
            if self._warnings.permits(time.monotonic()):
                gen_log.warning(
                    "%d connections are open (%s): accepting pauses until one closes",
                    self.open_connections,
                    spelled("max_connections"),
                )

    def _look_again(self) -> None:
        # Not every end is told: a handshake that fails, a detached stream that closes.
        self._paused = asyncio.get_running_loop().call_later(PAUSE_POLL_S, self._while_paused)

    def _while_paused(self) -> None:
        self._look_again()
        self._connections.detached_count()  # forgets those that have closed
        self._bound()
