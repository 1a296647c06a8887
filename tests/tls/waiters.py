"""Connections and turns of the event loop that tests make up."""

from __future__ import annotations

__all__ = ["Asker", "Turns", "crowded", "v4", "v6"]

from edgeserver.tls.handshake.limiter import AT_ONCE, HandshakeLimiter, Slot


class Asker:
    """A connection that asks for slots, and notes what it hears."""

    def __init__(self, key=b"a", *, limiter=None):
        self.key = key
        self.limiter = limiter
        self.admitted = 0
        self.aborted = False
        self.evicted = False

    def admit(self):
        """Use the slot; with a limiter the handshake is stalled then."""
        self.admitted += 1
        if self.limiter is not None:
            self.limiter.stalled.add(self)

    def abort(self):
        """Note it."""
        self.aborted = True

    def evict(self):
        """Note it, and be gone."""
        self.evicted = True
        if self.limiter is not None:
            self.limiter.stalled.discard(self)

    def time_out(self):
        """Never called here: no connection has a clock."""
        raise AssertionError


class Turns:
    """Turns of the event loop that are given out by the test."""

    def __init__(self):
        self.planned = []

    def __call__(self, turn):
        """Plan a turn."""
        self.planned.append(turn)

    def give(self):
        """Let the next turn come."""
        self.planned.pop(0)()


def crowded(*, slots=1, max_per_client=32, **settings):
    """Return a limiter without a free slot before its first turn, and its turns."""
    turns = Turns()
    settings = {"clock": lambda: 0.0, **settings}
    limiter = HandshakeLimiter(
        max_handshakes=slots, max_per_client=max_per_client, plan=turns, **settings
    )
    for _ in range(min(slots, max_per_client, AT_ONCE)):
        assert limiter.acquire(Asker()) is Slot.NOW
    return limiter, turns


def v4(number):
    """Return the key of an IPv4 client."""
    return (0x0A000000 + number).to_bytes(4, "big")


def v6(site, network=0):
    """Return the key of a /64 in one of the /48s."""
    return (0x20010DB80000 + site).to_bytes(6, "big") + network.to_bytes(2, "big")
