"""The limiter of handshakes: steps computed at a time, who waits, and who has waited too long.

Decides when a connection whose bytes are there may go on, and which connections end when too many
of them have let the server wait. It must know neither OpenSSL nor HTTP.

A handshake costs CPU when its client's hello is there, and again when the client's answer is; in
between it costs memory alone. So a slot is had for one step, from the bytes that came to the flight
that is written, and the slots of a turn of the event loop are counted. Whoever finds none waits in
a `FairQueue` for the next turn: waiting instead of refusing keeps a burst through one address (a
load balancer, an office, a benchmark) whole. Between its steps a handshake is *stalled*: it waits
for its client and holds no slot, so that nobody waits for it. Only too many of these are a danger,
to memory, and then those go that waited longest, of the clients that have the most.

A connection without a whole hello has neither: it is a few hundred bytes and a timeout.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from edgeserver.support.durations import Durations
from edgeserver.tls.connection.timeouts import Timeouts
from edgeserver.tls.connection.writer import Abortable
from edgeserver.tls.handshake.crowd import Waiter
from edgeserver.tls.handshake.failure_log import FailureLog
from edgeserver.tls.handshake.fair_queue import FairQueue
from edgeserver.tls.handshake.stalled import EVICTED_TOGETHER, Stalled

__all__ = ["NOW", "HandshakeCounts", "HandshakeLimiter", "HandshakeTally", "Slot", "Waiter"]

CLOSE_TIMEOUT_S = 30.0

AT_ONCE = 8
"""Slots of a turn that are had without waiting, while nobody waits."""

TURN_S = 0.005
"""How long those who waited are served in one turn of the event loop, before the rest goes on."""


class Slot(enum.Enum):
    """What becomes of a connection that asks for a slot."""

    NOW = "go on at once"
    QUEUED = "wait until `admit` is called"
    REFUSED = "even the queue is full"


NOW = Slot.NOW  # bound once: looking up an Enum's member costs a call on some Pythons


class HandshakeCounts(NamedTuple):
    """Where the handshakes of a server stand, and what became of the earlier ones.

    Attributes:
        running: Slots taken since the event loop was last seen to turn.
        waiting: Connections that wait for a slot.
        stalled: Handshakes that wait for their client.
        max_stalled: How many of these there may be.
        evicted: Those that were ended because there were more.
        completed: Handshakes that succeeded.
        resumed: How many of them resumed a session.
        failed: Handshakes that failed, the evicted ones too.
        silent: Connections closed without a byte; no failures.
    """

    running: int
    waiting: int
    stalled: int
    max_stalled: int
    evicted: int
    completed: int
    resumed: int
    failed: int
    silent: int


class HandshakeTally:
    """The handshakes that succeeded, in more detail than their number.

    Attributes:
        versions: How many, by whether a session was resumed and by the version of TLS.
        durations: How long they took, from the connection on.
    """

    __slots__ = ("durations", "versions")

    def __init__(self) -> None:
        self.versions: dict[tuple[bool, str], int] = {}
        self.durations = Durations()

    def add(self, resumed: bool, version: str, duration_s: float) -> None:
        """Count one."""
        key = (resumed, version)
        self.versions[key] = self.versions.get(key, 0) + 1
        self.durations.add(duration_s)


class Late(Protocol):
    """A connection with records that may wait for the first answer."""

    def send_waiting(self) -> None:
        """Send them, if they have not gone."""


class HandshakeLimiter:
    """The handshakes of one server: limits, counts, and the log of those that failed.

    Args:
        max_handshakes: Slots of a turn of the event loop.
        max_per_client: How many of them one client gets, if it has to wait for them.
        max_waiting: How many connections wait for a slot; beyond that the last come go, of the
            clients with the most.
        max_stalled: How many handshakes wait for their client; beyond that those go that waited
            longest, of the clients with the most.
        log: Where failures go.
        on_begin: Called after each new connection has been taken in, or None.
        on_end: Called with each connection whose handshake is over, or None.
        plan: Has a function called in the event loop's next turn; by default the running loop's
            `call_soon`.
        clock: Seconds that only grow.

    Attributes:
        completed: Handshakes that succeeded.
        resumed: How many of them resumed a session.
        silent: Connections closed without a byte, such as health checks; no failures.
        stalled: The handshakes that wait for their client.
        running: Slots taken since the event loop was last seen to turn.
        closing: Closed connections whose peer has yet to read what was written; 30 s, as asyncio's
            ssl_shutdown_timeout, then they are aborted.
        connections: All connections whose handshake is not over, those without a hello too.
        tally: How many succeeded by kind and version, and how long they took; None unless
            somebody asks.
    """

    __slots__ = (
        "_at_once",
        "_clock",
        "_few",
        "_free",
        "_late",
        "_plan",
        "_queue",
        "_timeouts",
        "_turn_planned",
        "closing",
        "completed",
        "connections",
        "log",
        "max_handshakes",
        "max_waiting",
        "on_begin",
        "on_end",
        "resumed",
        "running",
        "silent",
        "stalled",
        "tally",
    )

    def __init__(
        self,
        *,
        max_handshakes: int = 256,
        max_per_client: int = 32,
        max_waiting: int = 4096,
        max_stalled: int = 8192,
        log: FailureLog | None = None,
        on_begin: Callable[[], None] | None = None,
        on_end: Callable[[Waiter], None] | None = None,
        plan: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_begin = on_begin
        self.on_end = on_end
        self.max_handshakes = max_handshakes
        self.max_waiting = max_waiting
        self.log = log or FailureLog()
        self.completed = 0
        self.resumed = 0
        self.silent = 0
        self.tally: HandshakeTally | None = None
        self.running = 0
        self.closing: Timeouts[Abortable] = Timeouts(CLOSE_TIMEOUT_S, _abort)
        self.connections: dict[Waiter, Timeouts[Waiter] | None] = {}
        self._timeouts: dict[float, Timeouts[Waiter]] = {}  # by their length in seconds
        self._late: list[Late] = []  # whom `_send_late` asks next
        self._plan = plan
        self._clock = clock
        self.stalled = Stalled(max_stalled)
        self._queue = FairQueue(max_per_client, self.stalled.knows)
        self._turn_planned = False  # whether `_turn` is going to be called
        # as few as one client may have, so that nobody need be asked who it is
        self._at_once = min(AT_ONCE, max_handshakes, max_per_client)
        self._few = self._at_once - 1  # the last one plans the next turn
        self._free = self._few  # none while somebody waits: newcomers go behind them

    def begin(self, waiter: Waiter, timeout_s: float | None) -> None:
        """Take in a new connection, and start its clock if there is one."""
        timeouts = None
        if timeout_s:
            timeouts = self._timeouts.get(timeout_s)
            if timeouts is None:
                timeouts = self._timeouts[timeout_s] = Timeouts(timeout_s, _time_out)
            timeouts.add(waiter)
        self.connections[waiter] = timeouts
        if self.on_begin is not None:
            self.on_begin()

    def end(self, waiter: Waiter) -> None:
        """Forget a connection whose handshake is over, one way or the other."""
        timeouts = self.connections.pop(waiter, None)
        if timeouts is not None:
            timeouts.discard(waiter)
        if self.on_end is not None:
            self.on_end(waiter)

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

    def acquire(self, waiter: Waiter) -> Slot:
        """Ask for a slot for the first step, once the hello is there; who waits may `cancel`.

        A slot is given back by itself: by the turn of the event loop.
        """
        if self.running < self._free:
            self.running += 1
            return NOW
        return self._wait(waiter)

    def acquire_again(self, waiter: Waiter) -> Slot:
        """Ask for a slot for what the client of a stalled handshake has sent."""
        self.stalled.discard(waiter)
        if self.running < self._free:
            self.running += 1
            return NOW
        return self._wait(waiter)

    def cancel(self, waiter: Waiter) -> None:
        """Forget a connection that has ended while it waited for a slot."""
        self._queue.discard(waiter)

    @property
    def waiting(self) -> int:
        """How many connections wait for a slot."""
        return self._queue.crowd.count

    @property
    def counts(self) -> HandshakeCounts:
        """Where all handshakes stand."""
        return HandshakeCounts(
            running=self.running,
            waiting=self.waiting,
            stalled=len(self.stalled),
            max_stalled=self.stalled.limit,
            evicted=self.stalled.evicted,
            completed=self.completed,
            resumed=self.resumed,
            failed=sum(self.log.counts.values()),
            silent=self.silent,
        )

    def abort_all(self) -> None:
        """End every connection whose handshake is not over, as at the end of a server."""
        self._late.clear()  # the event loop may end before it looks for input again
        for connection in list(self.connections):
            connection.abort()

    def _wait(self, waiter: Waiter) -> Slot:
        """Put a connection into the queue; where that is full somebody has to go.

        While nobody waits the last slot of a turn is had here: so the next turn is planned when
        it is used up, and one handshake after the other never waits.
        """
        self._plan_turn()
        queue = self._queue
        if self.running < self._at_once and not queue.crowd.count:
            self.running += 1
            return NOW
        self._free = 0
        queue.add(waiter)
        if queue.crowd.count <= self.max_waiting:
            return Slot.QUEUED
        slot = Slot.QUEUED
        together = max(1, min(EVICTED_TOGETHER, self.max_waiting // 16))
        for victim in queue.crowd.most_crowded(together, newest=True):
            if victim is waiter:
                queue.discard(waiter)
                slot = Slot.REFUSED
            else:
                victim.evict()
        return slot

    def _plan_turn(self) -> None:
        if not self._turn_planned:
            self._turn_planned = True
            plan = self._plan or asyncio.get_running_loop().call_soon
            plan(self._turn)

    def _turn(self) -> None:
        """Give out the slots of this turn to those who wait, as long as there is time."""
        self._turn_planned = False
        self.running = 0
        queue = self._queue
        if not queue.crowd.count:
            self._free = self._few
            self.stalled.close_books()
            return
        queue.start_turn()
        end_s = self._clock() + TURN_S
        try:
            while self.running < self.max_handshakes:
                waiter = queue.take()
                if waiter is None:
                    break
                self.running += 1
                waiter.admit()
                if self._clock() >= end_s:
                    break
        finally:
            if queue.crowd.count:
                self._plan_turn()
            else:
                self._free = self._few


def _time_out(waiter: Waiter) -> None:
    waiter.time_out()


def _abort(connection: Abortable) -> None:
    connection.abort()
