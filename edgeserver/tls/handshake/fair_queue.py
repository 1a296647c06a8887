"""The order of the handshakes that wait for a slot.

Decides the order, and how many of a turn's slots one client gets. It must know neither the event
loop nor what a handshake does with its slot.

Sites take turns, and the clients of a site; a client's connections come in their order. Clients
whose site has nothing stalled come first, so that somebody who opens handshakes and leaves them
waits behind everybody who does not; of four turns one is for the others, so that they do not wait
for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeserver.tls.handshake.crowd import Crowd, Waiter, site_of

__all__ = ["FairQueue"]

SITE_CLIENTS = 4
"""A /48 gets as many slots of a turn as this many of its /64s."""
_REST_EVERY = 4


class FairQueue:
    """Connections that wait for a slot.

    Args:
        per_client: The slots of a turn that one client gets.
        is_stalling: Whether a client, or its site, has handshakes that wait for it.

    Attributes:
        crowd: Those who wait, by client.
    """

    __slots__ = (
        "_aside",
        "_fresh",
        "_is_stalling",
        "_per_client",
        "_rest",
        "_served",
        "_taken",
        "crowd",
    )

    def __init__(self, per_client: int, is_stalling: Callable[[bytes], bool]) -> None:
        self._per_client = per_client
        self._is_stalling = is_stalling
        self.crowd = Crowd()
        # Who waits has its place in one of the three. Dicts, for their order: sites, and in each
        # the clients whose turn may come; and the clients that have had their share.
        self._fresh: dict[bytes, dict[bytes, None]] = {}
        self._rest: dict[bytes, dict[bytes, None]] = {}
        self._aside: dict[bytes, None] = {}
        self._served: dict[bytes, int] = {}  # slots had in this turn, by client and by site
        self._taken = 0  # slots given out in all

    def add(self, waiter: Waiter) -> None:
        """Put a connection behind the others of its client."""
        waits = self.crowd.has(waiter.key)
        self.crowd.add(waiter)
        if not waits:
            self._line_up(waiter.key)

    def discard(self, waiter: Waiter) -> None:
        """Forget a connection that waits no longer."""
        key = waiter.key
        self.crowd.discard(waiter)
        if self.crowd.has(key):
            return
        self._aside.pop(key, None)
        site = site_of(key)
        for turns in (self._fresh, self._rest):
            clients = turns.get(site)
            if clients is not None and key in clients:
                del clients[key]
                if not clients:
                    del turns[site]

    def start_turn(self) -> None:
        """Let everybody have a share of slots again."""
        self._served.clear()
        aside, self._aside = self._aside, {}
        for key in aside:
            self._line_up(key)

    def take(self) -> Waiter | None:
        """Return who is next and waits no longer; None if nobody is, in this turn."""
        key = self._next_client()
        if key is None:
            return None
        waiter = self.crowd.first_of(key)
        self.crowd.discard(waiter)
        waits = self.crowd.has(key)
        if self._has_had_its_share(key):
            if waits:
                self._aside[key] = None
        elif waits:
            self._line_up(key)
        return waiter

    def _line_up(self, key: bytes) -> None:
        """Give a client a place at the end."""
        turns = self._rest if self._is_stalling(key) else self._fresh
        turns.setdefault(site_of(key), {})[key] = None

    def _next_client(self) -> bytes | None:
        self._taken += 1
        while True:
            turns = self._fresh
            if self._rest and (not turns or self._taken % _REST_EVERY == 0):
                turns = self._rest
            if not turns:
                return None
            site = next(iter(turns))
            clients = turns.pop(site)
            key = next(iter(clients))
            del clients[key]
            if clients:
                turns[site] = clients  # at the end: the others' turn comes first
            if turns is self._rest or not self._is_stalling(key):
                return key
            # it has got something stalled since it came
            self._rest.setdefault(site, {})[key] = None

    def _has_had_its_share(self, key: bytes) -> bool:
        """Count a slot, and return whether it was the last one in this turn."""
        if not key:
            return False  # of an unknown address, which has no limit of its own
        had = self._served[key] = self._served.get(key, 0) + 1
        site = site_of(key)
        if site != key:
            of_site = self._served[site] = self._served.get(site, 0) + 1
            if of_site >= self._per_client * SITE_CLIENTS:
                for turns in (self._fresh, self._rest):
                    self._aside.update(turns.pop(site, {}))
                return True
        return had >= self._per_client
