"""Shedding: which requests are told to come back later, and what of whom is counted for that.

Decides when there is too much: of one client a second, of its connections, or of all requests at
once. It must not know how a refusal is written. Time comes in as an argument.

Who counts is the client as it was resolved, IPv6 by /64. Requests that a listed proxy has of its
own, such as health checks, and those of a Unix socket that name nobody, count for nobody.

A connection counts for its client from its first request to its end. One of a listed proxy, which
carries the requests of many, counts for each as long as that client's request is in flight, or its
WebSocket open.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from edgeserver.config.rate import Rate
from edgeserver.server.client_limit import DetachedCounts
from edgeserver.support.addresses import UNIX_IP
from edgeserver.support.ratelimit import address_key

__all__ = [
    "CLIENT_CONNECTIONS",
    "CLIENT_RATE",
    "IN_FLIGHT",
    "ClientConnections",
    "RateTable",
    "Shed",
    "Shedding",
    "client_key",
]

MOST_CLIENTS: Final = 100_000
"""How many clients the table of rates remembers; beyond that it forgets who came longest ago."""

IN_FLIGHT: Final = "max-in-flight"
CLIENT_RATE: Final = "client-rate"
CLIENT_CONNECTIONS: Final = "client-connections"
"""Why a request is shed, as counters say it: the setting."""

LATER_S: Final = 5
"""After so many seconds who waited for room may find some."""

NOBODY: Final = b""

_UNIX_KEY: Final = b"unix"


class Shed(NamedTuple):
    """Why a request is not served.

    Args:
        reason: `IN_FLIGHT`, `CLIENT_RATE` or `CLIENT_CONNECTIONS`.
        retry_after_s: When to come back, in whole seconds.
    """

    reason: str
    retry_after_s: int


def client_key(exchange: Any) -> bytes:
    """Return what counts as the client of a request; `NOBODY` where nobody does.

    Args:
        exchange: The request, its client resolved.
    """
    client = exchange.client
    ip: str = exchange.remote_ip
    if client is not None and client.reason == "trusted-peer-as-client":
        return NOBODY
    if ip == UNIX_IP:
        # A proxy that should have named somebody and did not is one client itself.
        return NOBODY if client is None or client.verified else _UNIX_KEY
    return address_key(ip)


class RateTable:
    """Which clients have had their share: a bucket that leaks for each, within bounds.

    For each client stands when it will have nothing left to wait for (the "theoretical arrival
    time" of the generic cell rate algorithm). Whoever has waited that long is like one never seen.

    Args:
        rate: What each may have.
        most: How many clients are remembered.

    Source: ITU-T I.371, annex A, virtual scheduling.
    """

    __slots__ = ("_free_s", "_interval_s", "_most", "_slack_s")

    def __init__(self, rate: Rate, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self.set_rate(rate)
        # When each has nothing to wait for; whoever asked last stands last.
        self._free_s: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free_s)

    def set_rate(self, rate: Rate) -> None:
        """Give each client another share from now on; what they had of the one before counts."""
        self._interval_s = rate.interval_s
        self._slack_s = (rate.burst - 1) * rate.interval_s

    def ask(self, key: bytes, now_s: float) -> float:
        """Count a request, and return 0; where it is one too many, seconds until one is not.

        Args:
            key: Whose it is.
            now_s: Seconds that only grow.
        """
        table = self._free_s
        free_s = table.get(key)
        if free_s is None:
            self._make_room(now_s)
            free_s = now_s
        elif free_s < now_s:
            free_s = now_s
        wait_s = free_s - now_s - self._slack_s
        if wait_s > 1e-9:  # what is left of adding up fractions is no time
            table.move_to_end(key)
            return wait_s
        table[key] = free_s + self._interval_s
        table.move_to_end(key)
        return 0.0

    def _make_room(self, now_s: float) -> None:
        """Forget up to two that wait for nothing, and whoever came longest ago at the bound."""
        table = self._free_s
        for _ in range(2):
            if not table:
                return
            key, free_s = next(iter(table.items()))
            if free_s > now_s and len(table) < self._most:
                return
            del table[key]


class ClientConnections:
    """How many connections each client has, as far as its requests are known.

    Args:
        most: How many one client may have.
    """

    __slots__ = ("_detached", "_direct", "_last", "_open", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[bytes, int] = {}
        self._direct: dict[object, bytes] = {}  # connections that are a client's own
        self._last: dict[object, bytes] = {}  # whose request came last on a proxy's
        self._detached = DetachedCounts()

    @property
    def known(self) -> int:
        """How many connections and clients something is kept of."""
        return len(self._open) + len(self._direct) + len(self._last)

    def count(self, key: bytes) -> int:
        """Return how many a client has."""
        return self._open.get(key, 0) + self._detached.count(key)

    def enter(self, connection: object, key: bytes, *, is_proxys: bool) -> bool:
        """Count a request's connection in; return False where it is one too many.

        Args:
            connection: Where the request came.
            key: Whose it is.
            is_proxys: Whether the connection carries the requests of many; then a `leave` is owed
                at the end of the request.
        """
        if is_proxys:
            self._last[connection] = key
        elif connection in self._direct:
            return True
        if not key:
            return True
        if self.count(key) >= self.most:
            return False
        self._open[key] = self._open.get(key, 0) + 1
        if not is_proxys:
            self._direct[connection] = key
        return True

    def leave(self, key: bytes) -> None:
        """Count out what was counted in for a client."""
        if not key:
            return
        left = self._open.pop(key) - 1
        if left:
            self._open[key] = left

    def detached(self, connection: object, stream: Any) -> None:
        """Have `stream` count until it is closed, which takes over from a connection."""
        key = self._direct.get(connection) or self._last.get(connection, NOBODY)
        self._detached.add(key, stream)

    def closed(self, connection: object) -> None:
        """Forget a connection."""
        self._last.pop(connection, None)
        self.leave(self._direct.pop(connection, NOBODY))


class Shedding:
    """What a server bounds of its requests.

    Args:
        max_in_flight: Most requests that are served at once; None for no limit.
        rate: How many requests one client may have; None for no limit.
        max_connections: Most connections of one client; None for no limit.
        clock: Seconds that only grow.

    Attributes:
        counts: How many requests were shed, by the reason: for whoever shows it.
        connections: The connections of each client, or None.
    """

    def __init__(
        self,
        *,
        max_in_flight: int | None = None,
        rate: Rate | None = None,
        max_connections: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = {IN_FLIGHT: 0, CLIENT_RATE: 0, CLIENT_CONNECTIONS: 0}
        self.connections = None if max_connections is None else ClientConnections(max_connections)
        self._most = math.inf if max_in_flight is None else max_in_flight
        self._rates = None if rate is None else RateTable(rate)
        self._clock = clock
        # The requests that are served, and for whom each counts as a connection.
        self._served: dict[object, bytes] = {}

    def change(
        self,
        *,
        max_in_flight: int | None,
        rate: Rate | None,
        max_connections: int | None,
    ) -> None:
        """Bound other numbers from now on; what was counted stays.

        Args:
            max_in_flight: As for the constructor, like the others.
            rate: Where there is none, what clients had is forgotten.
            max_connections: Where there is none, whose connections there are is.
        """
        self._most = math.inf if max_in_flight is None else max_in_flight
        if rate is None or self._rates is None:
            self._rates = None if rate is None else RateTable(rate)
        else:
            self._rates.set_rate(rate)
        if max_connections is not None and self.connections is not None:
            self.connections.most = max_connections
            return
        self.connections = None if max_connections is None else ClientConnections(max_connections)
        self._served = dict.fromkeys(self._served, NOBODY)  # nobody has counted these in

    def adopt(self, exchanges: Iterable[object]) -> None:
        """Count requests in that were in flight before anybody counted."""
        self._served.update(dict.fromkeys(exchanges, NOBODY))

    @property
    def in_flight(self) -> int:
        """How many requests are served."""
        return len(self._served)

    def enter(self, connection: object, exchange: Any) -> Shed | None:
        """Count a request in, which is owed a `leave`; return why not, where there is too much.

        Args:
            connection: Where it came.
            exchange: The request, its client resolved.
        """
        key = client_key(exchange)
        refusal = self._check_rate(key)
        if refusal is None and len(self._served) >= self._most:
            refusal = Shed(IN_FLIGHT, LATER_S)
        held = NOBODY
        if refusal is None and self.connections is not None:
            bound = exchange.bound
            is_proxys = bound is not None and bound.vouches()
            if not self.connections.enter(connection, key, is_proxys=is_proxys):
                refusal = Shed(CLIENT_CONNECTIONS, LATER_S)
            elif is_proxys:
                held = key
        if refusal is not None:
            self.counts[refusal.reason] += 1
            return refusal
        self._served[exchange] = held
        return None

    def leave(self, exchange: Any) -> None:
        """Count a request out, if it was counted in."""
        held = self._served.pop(exchange, NOBODY)
        if held and self.connections is not None:
            self.connections.leave(held)

    def _check_rate(self, key: bytes) -> Shed | None:
        if self._rates is None or not key:
            return None
        wait_s = self._rates.ask(key, self._clock())
        return Shed(CLIENT_RATE, max(1, math.ceil(wait_s))) if wait_s else None
