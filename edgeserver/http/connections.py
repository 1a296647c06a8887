"""The registry of connections: who is connected to one server, counted, drained and closed.

Decides when nobody is connected any more, and who is looked at when the clock ticks. It must not
know what is spoken on a connection; see `ServedConnection`.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edgeserver.http.exchange import Exchange

__all__ = ["ConnectionRegistry", "ServedConnection"]


class ServedConnection(Protocol):
    """A connection as the registry knows it, whatever version of HTTP is spoken on it."""

    @property
    def admission(self) -> Any:
        """What knows its ends, as `info`; see `http.admission`."""
        ...

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """The requests that it serves at present."""
        ...

    @property
    def next_deadline(self) -> float:
        """When `check_deadlines` has something to do, in loop seconds; at any time before too."""
        ...

    def check_deadlines(self, now_s: float) -> None:
        """Act on what is overdue."""
        ...

    def close(self) -> None:
        """Close, idle or busy, without waiting for the application."""
        ...

    def drain(self) -> None:
        """Close if nothing is in flight, once it was silent for as long as the clock says."""
        ...


class ConnectionRegistry:
    """The connections of one server.

    Args:
        on_open: Called after each connection has been counted in, or None.
        on_close: Called after each has been counted out, or None.

    Attributes:
        open: The connections on which HTTP is spoken.
        opened: How many have been counted in so far.
    """

    __slots__ = ("_detached", "_empty", "_on_close", "_on_open", "open", "opened")

    def __init__(
        self,
        on_open: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.open: set[ServedConnection] = set()
        self.opened = 0
        self._on_open = on_open
        self._on_close = on_close
        # These are the application's: that they close is seen, not told.
        self._detached: weakref.WeakSet[Any] = weakref.WeakSet()
        self._empty: asyncio.Future[None] | None = None  # for who waits until `open` is empty

    def __len__(self) -> int:
        return len(self.open)

    def add(self, connection: ServedConnection) -> None:
        """Count a connection in."""
        self.open.add(connection)
        self.opened += 1
        if self._on_open is not None:
            self._on_open()

    def remove(self, connection: ServedConnection) -> None:
        """Count a connection out."""
        self.open.discard(connection)
        if self._on_close is not None:
            self._on_close()
        if self._empty is not None and not self.open:
            if not self._empty.done():
                self._empty.set_result(None)
            self._empty = None

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return sum(len(connection.exchanges) for connection in self.open)

    def requests(self) -> list[tuple[str, str, float]]:
        """Return method, target and age in seconds (0 where unknown) of each of them."""
        now = time.perf_counter()
        return [
            (each.method, each.target, now - getattr(each, "started_s", now))
            for connection in self.open
            for each in connection.exchanges
        ]

    def streaming(self) -> list[Exchange]:
        """Return the exchanges whose answers have begun without saying how long they are."""
        return [
            each for connection in self.open for each in connection.exchanges if each.is_open_ended
        ]

    def check_deadlines(self, now_s: float) -> None:
        """Have those act that are waiting for somebody who is late."""
        for connection in list(self.open):
            if connection.next_deadline <= now_s:
                connection.check_deadlines(now_s)

    def close(self) -> None:
        """Close every connection, idle or busy."""
        for connection in list(self.open):
            connection.close()

    def drain(self) -> None:
        """Close those on which nothing is in flight, once they were silent for a while."""
        for connection in list(self.open):
            connection.drain()

    def wait_empty(self) -> asyncio.Future[None]:
        """Return a future that is done once no connection is left, if only for a moment."""
        loop = asyncio.get_running_loop()
        if not self.open:
            nobody: asyncio.Future[None] = loop.create_future()
            nobody.set_result(None)
            return nobody
        if self._empty is None:
            self._empty = loop.create_future()
        return asyncio.shield(self._empty)

    # Those that were handed to the application.

    def add_detached(self, stream: Any) -> None:
        """Remember a connection that was handed to the application, to count it."""
        self._detached.add(stream)

    def detached_count(self) -> int:
        """Return how many of these are still open; it looks at each, and forgets the others."""
        for stream in [stream for stream in self._detached if stream.closed()]:
            self._detached.discard(stream)
        return len(self._detached)

    def detached_at_most(self) -> int:
        """Return how many of these may still be open, without a look at any."""
        return len(self._detached)
