"""Connections counted by client, and which clients have the most of them.

Decides what counts as one client, and whose connections end first where there are too many. It
must know neither why they wait nor for how long.

An IPv6 client is counted twice: by its /64, which is what a household or a machine has, and by its
/48, which is what a site may have: 65,536 of the former (RFC 6177 section 2). Else whoever owns a
site would have 65,536 times the share of everybody else.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Protocol

__all__ = ["Crowd", "Waiter", "site_of"]

_NETWORK_BYTES = 8  # of a /64
_SITE_BYTES = 6  # of a /48


class Waiter(Protocol):
    """A connection in its handshake: it may have to wait, and can be ended."""

    key: bytes

    def admit(self) -> None:
        """Called when there is a slot: in the event loop's turn, never from `acquire`."""

    def abort(self) -> None:
        """End the connection at once."""

    def evict(self) -> None:
        """End the connection at once, because its client has the most of too many."""

    def time_out(self) -> None:
        """Called when the time for the handshake is over."""


def site_of(key: bytes) -> bytes:
    """Return the /48 of an IPv6 client's key; the key itself for all others."""
    return key[:_SITE_BYTES] if len(key) == _NETWORK_BYTES else key


class Crowd:
    """Connections by client, each client's in the order in which they came.

    Attributes:
        count: How many there are.
    """

    __slots__ = ("_clients", "_sites", "count")

    def __init__(self) -> None:
        self._clients: dict[bytes, dict[Waiter, None]] = {}  # dicts, for their order
        self._sites: dict[bytes, int] = {}  # of IPv6 only: elsewhere a client is its own site
        self.count = 0

    def add(self, waiter: Waiter) -> None:
        """Take in a connection that is not there."""
        key = waiter.key
        members = self._clients.get(key)
        if members is None:
            self._clients[key] = {waiter: None}
        else:
            members[waiter] = None
        self.count += 1
        if len(key) == _NETWORK_BYTES:
            site = key[:_SITE_BYTES]
            self._sites[site] = self._sites.get(site, 0) + 1

    def discard(self, waiter: Waiter) -> None:
        """Forget a connection that is there."""
        key = waiter.key
        members = self._clients[key]
        del members[waiter]
        if not members:
            del self._clients[key]
        self.count -= 1
        if len(key) == _NETWORK_BYTES:
            site = key[:_SITE_BYTES]
            left = self._sites.pop(site) - 1
            if left:
                self._sites[site] = left

    def has(self, key: bytes) -> bool:
        """Tell whether a connection of this client is there."""
        return key in self._clients

    def knows(self, key: bytes) -> bool:
        """Tell whether a connection of this client is there, or of another one of its site."""
        return key in self._clients or (len(key) == _NETWORK_BYTES and site_of(key) in self._sites)

    def first_of(self, key: bytes) -> Waiter:
        """Return the connection of a client that came first; there must be one."""
        return next(iter(self._clients[key]))

    def most_crowded(self, count: int, *, newest: bool = False) -> list[Waiter]:
        """Return the connections to end so that nobody has many more than others.

        Each is of the site that has the most by then, there of the client that has the most, and
        among equals of who came first. One call looks at every client: ask for several at a time.

        Args:
            count: How many.
            newest: Whether a client's last come are returned, not its first come.
        """
        by_site = [list(self._clients.values())]
        if self._sites:
            sites: dict[bytes, list[dict[Waiter, None]]] = {}
            for key, members in self._clients.items():
                sites.setdefault(site_of(key), []).append(members)
            by_site = list(sites.values())
        found: list[Waiter] = []
        for site, of_site in _shares([sum(map(len, each)) for each in by_site], count):
            clients = by_site[site]
            for client, of_client in _shares([len(each) for each in clients], of_site):
                members = clients[client]
                found += islice(reversed(members) if newest else iter(members), of_client)
        return found


def _shares(sizes: list[int], count: int) -> list[tuple[int, int]]:
    """Return how many to take from which group where each one is taken from the largest.

    Args:
        sizes: The groups' sizes.
        count: How many to take in all.
    """
    largest = heapq.nlargest(count, range(len(sizes)), key=sizes.__getitem__)
    heap = [(-sizes[index], order) for order, index in enumerate(largest)]  # a heap: it is sorted
    taken = [0] * len(largest)
    for _ in range(min(count, sum(sizes[index] for index in largest))):
        size, order = heap[0]
        taken[order] += 1
        heapq.heapreplace(heap, (size + 1, order))
    return [(index, taken[order]) for order, index in enumerate(largest) if taken[order]]
