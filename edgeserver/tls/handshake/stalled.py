"""Handshakes that wait for their clients, and which of them end when there are too many.

Decides who is evicted, and who lets the server wait. It must know neither slots nor OpenSSL.

Nearly always there are a few, and nobody asks whose they are: then only their order is kept, since
books by client would cost every handshake more than its slots do. From many on, or when somebody
asks, books are kept, until there are few again.
"""

from __future__ import annotations

from edgeserver.tls.handshake.crowd import Crowd, Waiter

__all__ = ["EVICTED_TOGETHER", "Stalled"]

EVICTED_TOGETHER = 64
"""Connections that are ended at a time, since finding the right ones looks at every client."""

_FEW = 64


class Stalled:
    """The stalled handshakes of a server.

    Args:
        limit: How many there may be; beyond that those go that waited longest, of the clients with
            the most.

    Attributes:
        evicted: How many were ended.
    """

    __slots__ = ("_all", "_books", "_unwritten", "evicted", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        self._all: dict[Waiter, None] = {}  # a dict, for its order
        self._books: Crowd | None = None  # the same by client; None while nobody asks
        self._unwritten = min(_FEW, limit)  # how many there may be without books

    def __len__(self) -> int:
        return len(self._all)

    def add(self, waiter: Waiter) -> None:
        """Take in a handshake that waits for its client from now on; it may be evicted at once."""
        self._all[waiter] = None
        if len(self._all) > self._unwritten:
            self._write_down(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget a handshake that is there."""
        del self._all[waiter]
        if self._books is not None:
            self._books.discard(waiter)

    def knows(self, key: bytes) -> bool:
        """Tell whether a client, or another one of its site, lets the server wait."""
        return self._open_books().knows(key)

    def close_books(self) -> None:
        """Called when nobody asks any more: keep books no longer, if there are few."""
        if self._books is not None and len(self._all) <= min(_FEW, self.limit) // 2:
            self._books = None
            self._unwritten = min(_FEW, self.limit)

    def _open_books(self) -> Crowd:
        books = self._books
        if books is None:
            books = self._books = Crowd()
            self._unwritten = -1
            for waiter in self._all:
                books.add(waiter)
        return books

    def _write_down(self, waiter: Waiter) -> None:
        if self._books is None:
            self._open_books()
        else:
            self._books.add(waiter)
        if len(self._all) > self.limit:
            self._evict()

    def _evict(self) -> None:
        together = max(1, min(EVICTED_TOGETHER, self.limit // 16))
        victims = self._open_books().most_crowded(together)
        self.evicted += len(victims)
        for victim in victims:
            victim.evict()
