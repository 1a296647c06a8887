"""How many handshakes run at a time, and who waits.

Decides when a connection whose ClientHello is complete may go on: at most so many at a time, and
so many from one client address; the others wait in order. It must know neither OpenSSL nor HTTP.

A handshake counts from its complete hello on, because only then does it cost what the limit is
there to bound: OpenSSL's memory, and the CPU of a signature. Before that a connection is a few
hundred bytes and a timeout. Waiting instead of refusing keeps a burst through one address (a load
balancer, an office, a benchmark) whole; who waits longer than the handshake timeout is closed.
"""

from __future__ import annotations

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Protocol

from edgeserver.tls.connection.timeouts import Deadlines
from edgeserver.tls.handshake.failure_log import FailureLog

__all__ = ["NOW", "HandshakeTracker", "Place", "Waiter", "address_key"]

CLOSE_TIMEOUT_S = 30.0
_V4_MAPPED = bytes(10) + b"\xff\xff"


def address_key(address: str | None) -> bytes:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A household or a machine has a whole /64 (RFC 6177 section 2), so a single IPv6 address says
    nothing. Empty for a unix socket or an unknown address, which have no limit of their own.
    """
    if not address:
        return b""
    try:
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return b""
    return packed[12:] if packed.startswith(_V4_MAPPED) else packed[:8]


class Place(enum.Enum):
    """What a connection that asks for a handshake gets."""

    NOW = "go on at once"
    QUEUED = "wait until `admit` is called"
    REFUSED = "even the queue is full"


NOW = Place.NOW  # bound once: looking up an Enum's member costs a call on some Pythons


class Waiter(Protocol):
    """A connection that may have to wait for its handshake, and can be ended."""

    key: bytes

    def admit(self) -> None:
        """Hear that there is a place now; the handshake must start later, not in this call."""

    def abort(self) -> None:
        """End the connection at once."""

    def time_out(self) -> None:
        """Hear that the time for the handshake is over."""


class Closing(Protocol):
    """A connection that was closed, and has not ended yet."""

    def abort(self) -> None:
        """End the connection at once."""


class Late(Protocol):
    """A connection with records that may wait for the first answer."""

    def send_waiting(self) -> None:
        """Send them, if they have not gone."""


class HandshakeTracker:
    """The handshakes of one server: limits, counts, and the log of those that failed.

    Each client address has a queue of its own, and the queues take turns, so that one that
    floods waits for itself only.

    Args:
        max_handshakes: How many run at a time.
        max_per_client: How many run at a time for one client address (IPv6: one /64).
        max_waiting: How many wait; more are refused.
        log: Where failures go.
        on_begin: Called after each new connection has been taken in, or None.

    Attributes:
        completed: Handshakes that succeeded.
        resumed: How many of them resumed a session.
        silent: Connections closed without a byte, such as health checks; no failures.
        closing: Closed connections whose peer has yet to read what was written; 30 s, as asyncio's
            ssl_shutdown_timeout, then they are aborted.
        connections: All connections whose handshake is not over, those without a hello too.
    """

    __slots__ = (
        "_deadlines",
        "_late",
        "_per_client",
        "_queues",
        "_ready",
        "closing",
        "completed",
        "connections",
        "log",
        "max_handshakes",
        "max_per_client",
        "max_waiting",
        "on_begin",
        "resumed",
        "running",
        "silent",
        "waiting",
    )

    def __init__(
        self,
        *,
        max_handshakes: int = 256,
        max_per_client: int = 32,
        max_waiting: int = 4096,
        log: FailureLog | None = None,
        on_begin: Callable[[], None] | None = None,
    ) -> None:
        self.on_begin = on_begin
        self.max_handshakes = max_handshakes
        self.max_per_client = max_per_client
        self.max_waiting = max_waiting
        self.log = log or FailureLog()
        self.completed = 0
        self.resumed = 0
        self.silent = 0
        self.running = 0
        self.waiting = 0
        self.closing: Deadlines[Closing] = Deadlines(CLOSE_TIMEOUT_S, _abort)
        self.connections: dict[Waiter, Deadlines[Waiter] | None] = {}
        self._deadlines: dict[float, Deadlines[Waiter]] = {}
        self._late: list[Late] = []
        self._per_client: dict[bytes, int] = {}
        # dicts, for their order: who waits for each client, and the clients whose turn may come
        self._queues: dict[bytes, dict[Waiter, None]] = {}
        self._ready: dict[bytes, None] = {}

    def begin(self, waiter: Waiter, timeout_s: float | None) -> None:
        """Take in a new connection, and start its clock if there is one."""
        deadlines = None
        if timeout_s:
            deadlines = self._deadlines.get(timeout_s)
            if deadlines is None:
                deadlines = self._deadlines[timeout_s] = Deadlines(timeout_s, _time_out)
            deadlines.add(waiter)
        self.connections[waiter] = deadlines
        if self.on_begin is not None:
            self.on_begin()

    def end(self, waiter: Waiter) -> None:
        """Forget a connection whose handshake is over, one way or the other."""
        deadlines = self.connections.pop(waiter, None)
        if deadlines is not None:
            deadlines.discard(waiter)

    def send_late(self, connection: Late) -> None:
        """Have `connection.send_waiting` called when the event loop has looked for input once.

        Session tickets go with the first answer where the request is there by then: that saves a
        write. They wait no longer, because they acknowledge the client's Finished, and until that
        is acknowledged a client with Nagle's algorithm keeps its request back.
        """
        if not self._late:
            loop = asyncio.get_running_loop()
            # What is planned from within a planned call has the loop's look for input before it.
            loop.call_soon(loop.call_soon, self._send_late)
        self._late.append(connection)

    def _send_late(self) -> None:
        late, self._late = self._late, []
        for connection in late:
            connection.send_waiting()

    def enter(self, waiter: Waiter) -> Place:
        """Ask for a place for a handshake; who gets one owes a `leave`, who waits may `cancel`."""
        key = waiter.key
        count = self._per_client.get(key, 0)
        may_run = count < self.max_per_client or not key
        if may_run and self.running < self.max_handshakes and key not in self._queues:
            self.running += 1
            self._per_client[key] = count + 1
            return NOW
        if self.waiting >= self.max_waiting:
            return Place.REFUSED
        self._queues.setdefault(key, {})[waiter] = None
        self.waiting += 1
        if may_run:
            self._ready[key] = None
        return Place.QUEUED

    def cancel(self, waiter: Waiter) -> None:
        """Give up waiting."""
        self._unqueue(waiter)

    def leave(self, key: bytes) -> None:
        """Give back a place; whoever is next gets it."""
        self.running -= 1
        count = self._per_client.pop(key) - 1
        if count:
            self._per_client[key] = count
        if not self._queues:
            return
        if key in self._queues:
            self._ready[key] = None
        while self._ready and self.running < self.max_handshakes:
            self._admit_next(next(iter(self._ready)))

    def abort_all(self) -> None:
        """End every connection whose handshake is not over, as at the end of a server."""
        self._late.clear()  # the event loop may end before it looks for input again
        for connection in list(self.connections):
            connection.abort()

    def _admit_next(self, key: bytes) -> None:
        waiter = next(iter(self._queues[key]))
        self._unqueue(waiter)
        self._ready.pop(key, None)
        self.running += 1
        count = self._per_client[key] = self._per_client.get(key, 0) + 1
        if key in self._queues and (count < self.max_per_client or not key):
            self._ready[key] = None  # at the end: the others' turn comes first
        waiter.admit()

    def _unqueue(self, waiter: Waiter) -> None:
        queue = self._queues[waiter.key]
        del queue[waiter]
        self.waiting -= 1
        if not queue:
            del self._queues[waiter.key]
            self._ready.pop(waiter.key, None)


def _time_out(waiter: Waiter) -> None:
    waiter.time_out()


def _abort(connection: Closing) -> None:
    connection.abort()
