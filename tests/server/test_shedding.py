"""Shedding: who has had enough, told by made-up clocks, clients and connections."""

from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.config.rate import Rate
from edgeserver.server.shedding import (
    CLIENT_CONNECTIONS,
    CLIENT_RATE,
    IN_FLIGHT,
    ClientConnections,
    RateTable,
    Shedding,
    client_key,
)


class Exchange:
    """A request whose client was resolved."""

    def __init__(
        self,
        ip: str = "203.0.113.9",
        reason: str = "first-untrusted",
        *,
        verified: bool = True,
        by_proxy: bool = False,
    ) -> None:
        self.remote_ip = ip
        self.client = SimpleNamespace(reason=reason, verified=verified)
        self.bound = SimpleNamespace(vouches=lambda: by_proxy)


class Stream:
    """A connection that the application has."""

    is_closed = False

    def closed(self) -> bool:
        return self.is_closed


@pytest.mark.parametrize(
    ("exchange", "other", "same"),
    [
        (Exchange("203.0.113.9"), Exchange("203.0.113.9"), True),
        (Exchange("203.0.113.9"), Exchange("203.0.113.8"), False),
        (Exchange("2001:db8::1"), Exchange("2001:db8::2"), True),
        (Exchange("2001:db8::1"), Exchange("2001:db8:0:1::1"), False),
        (Exchange("203.0.113.9"), Exchange("::ffff:203.0.113.9"), True),
    ],
    ids=["same", "other", "same-64", "other-64", "mapped"],
)
def test_who_is_one_client(exchange: Any, other: Any, same: bool) -> None:
    """An IPv4 address is one, and a /64 of IPv6."""
    assert (client_key(exchange) == client_key(other)) is same


@pytest.mark.parametrize(
    ("exchange", "counts"),
    [
        (Exchange("10.0.0.1", "trusted-peer-as-client"), False),
        (Exchange("10.0.0.1", "malformed-boundary", verified=False), True),
        (Exchange("10.0.0.9", "all-hops-trusted"), True),
        (Exchange("0.0.0.0", "proxy-headers-off"), False),
        (Exchange("0.0.0.0", "malformed-boundary", verified=False), True),
    ],
    ids=["health-check", "proxy-misled", "inside", "unix", "unix-misled"],
)
def test_who_counts(exchange: Any, counts: bool) -> None:
    """A proxy's own requests and those of Unix sockets that name nobody count for nobody."""
    assert bool(client_key(exchange)) is counts


def _answers(table: RateTable, times: list[float], key: bytes = b"a") -> list[float]:
    return [round(table.ask(key, each), 6) for each in times]


@pytest.mark.parametrize(
    ("rate", "times", "waits"),
    [
        (Rate(2, 1.0, 2), [0, 0, 0, 0.4, 0.5, 0.5, 9, 9, 9],
         [0, 0, 0.5, 0.1, 0, 0.5, 0, 0, 0.5]),
        (Rate(1, 1.0, 1), [0, 0.9, 1.0, 1.5], [0, 0.1, 0, 0.5]),
        (Rate(10, 1.0, 1), [0, 0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0, 0]),
        (Rate(60, 60.0, 3), [5, 5, 5, 5, 6], [0, 0, 0, 1, 0]),
    ],
    ids=["burst", "one", "exactly-the-rate", "a-minute"],
)  # fmt: skip
def test_rates(rate: Rate, times: list[float], waits: list[float]) -> None:
    """A burst is served, then one at a time; who was refused is told how long to wait."""
    assert _answers(RateTable(rate), times) == waits


def test_clients_do_not_share() -> None:
    """What one has used up nobody else lacks."""
    table = RateTable(Rate(1, 1.0, 1))
    assert [table.ask(key, 0) for key in (b"a", b"b", b"a")] == [0, 0, 1]


def test_the_table_is_bounded() -> None:
    """However many clients come, so many are remembered, and those who came last."""
    table = RateTable(Rate(1, 60.0, 1), most=100)
    for number in range(1000):
        assert table.ask(b"%d" % number, number / 1000) == 0
    assert len(table) == 100
    assert table.ask(b"999", 1) > 0
    assert table.ask(b"0", 1) == 0


def test_who_waits_for_nothing_is_forgotten() -> None:
    """A client that has not come for long takes no room."""
    table = RateTable(Rate(10, 1.0, 1))
    for number in range(50):
        table.ask(b"%d" % number, 0)
    for number in range(50):
        table.ask(b"later-%d" % number, 100 + number)
    assert len(table) < 5


def test_who_is_refused_is_not_forgotten_first() -> None:
    """A client that goes on asking does not get a fresh start by the bound of the table."""
    table = RateTable(Rate(1, 60.0, 1), most=10)
    table.ask(b"loud", 0)
    for number in range(100):
        assert table.ask(b"loud", number / 100) > 0
        table.ask(b"%d" % number, number / 100)


def test_requests_in_flight() -> None:
    """So many are served at once; each that ends makes room, once."""
    shedding = Shedding(max_in_flight=2)
    first, second, third = Exchange(), Exchange(), Exchange()
    assert shedding.enter("c1", first) is None
    assert shedding.enter("c2", second) is None
    refusal = shedding.enter("c3", third)
    assert refusal is not None
    assert refusal.reason == IN_FLIGHT
    shedding.leave(third)  # it was never in
    assert shedding.in_flight == 2
    shedding.leave(first)
    shedding.leave(first)
    assert shedding.in_flight == 1
    assert shedding.enter("c3", third) is None
    assert shedding.counts == {IN_FLIGHT: 1, CLIENT_RATE: 0, CLIENT_CONNECTIONS: 0}


def test_rates_by_the_clock() -> None:
    """Who is too fast is told in whole seconds when to come back."""
    now = [10.0]
    shedding = Shedding(rate=Rate(2, 60.0, 1), clock=lambda: now[0])
    assert shedding.enter("c", Exchange()) is None
    refusal = shedding.enter("c", Exchange())
    assert refusal == (CLIENT_RATE, 30)
    now[0] = 40.0
    assert shedding.enter("c", Exchange()) is None
    assert shedding.counts[CLIENT_RATE] == 1


def test_connections_of_a_client() -> None:
    """Its own count from the first request to their end, however many requests they carry."""
    shedding = Shedding(max_connections=2)
    assert shedding.connections is not None
    for connection in ("c1", "c1", "c2"):
        exchange = Exchange()
        assert shedding.enter(connection, exchange) is None
        shedding.leave(exchange)
    refusal = shedding.enter("c3", Exchange())
    assert refusal is not None
    assert refusal.reason == CLIENT_CONNECTIONS
    assert shedding.enter("c4", Exchange("203.0.113.8")) is None
    shedding.connections.closed("c3")
    shedding.connections.closed("c1")
    assert shedding.enter("c3", Exchange()) is None


def test_connections_of_a_proxy() -> None:
    """Those of a proxy count for each client as long as its request is in flight."""
    shedding = Shedding(max_connections=1)
    first = Exchange(by_proxy=True)
    assert shedding.enter("c1", first) is None
    assert shedding.enter("c2", Exchange(by_proxy=True)) is not None
    assert shedding.enter("c2", Exchange("203.0.113.8", by_proxy=True)) is None
    shedding.leave(first)
    assert shedding.enter("c2", Exchange(by_proxy=True)) is None


@pytest.mark.parametrize("by_proxy", [False, True], ids=["own", "proxy"])
def test_connections_that_were_handed_on(by_proxy: bool) -> None:
    """A WebSocket counts for its client until it is closed, whoever brought it."""
    shedding = Shedding(max_connections=1)
    assert shedding.connections is not None
    exchange, stream = Exchange(by_proxy=by_proxy), Stream()
    assert shedding.enter("c1", exchange) is None
    shedding.leave(exchange)
    shedding.connections.detached("c1", stream)
    shedding.connections.closed("c1")
    assert shedding.enter("c2", Exchange(by_proxy=by_proxy)) is not None
    stream.is_closed = True
    assert shedding.enter("c2", Exchange(by_proxy=by_proxy)) is None


def test_nothing_is_kept_of_who_has_left() -> None:
    """Once all connections have closed no client is known."""
    connections = ClientConnections(10)
    for number in range(100):
        key = b"%d" % number
        assert connections.enter(f"own {number}", key, is_proxys=False)
        assert connections.enter(f"proxy {number}", key, is_proxys=True)
        connections.leave(key)
        connections.closed(f"own {number}")
        connections.closed(f"proxy {number}")
        assert connections.count(key) == 0
    assert connections.known == 0


def test_other_bounds_while_requests_are_served() -> None:
    """What was counted stays, but for what is bounded no more."""
    now = [0.0]
    shedding = Shedding(max_in_flight=1, rate=Rate(1, 1.0, 1), clock=lambda: now[0])
    first, second, third = (Exchange(by_proxy=True) for _ in range(3))
    assert shedding.enter("a", first) is None
    assert shedding.enter("b", second) == (CLIENT_RATE, 1)
    shedding.change(max_in_flight=2, rate=Rate(1, 1.0, 2), max_connections=None)
    assert shedding.enter("b", second) is None
    assert shedding.enter("c", third) == (CLIENT_RATE, 1)
    shedding.change(max_in_flight=2, rate=None, max_connections=None)
    assert shedding.enter("c", third) == (IN_FLIGHT, 5)
    shedding.change(max_in_flight=3, rate=None, max_connections=1)
    assert shedding.enter("c", third) is None  # the others came before anybody counted
    assert shedding.enter("d", Exchange(by_proxy=True)) == (IN_FLIGHT, 5)
    shedding.change(max_in_flight=9, rate=None, max_connections=1)
    assert shedding.enter("d", Exchange(by_proxy=True)) == (CLIENT_CONNECTIONS, 5)
    shedding.change(max_in_flight=9, rate=None, max_connections=None)
    shedding.change(max_in_flight=9, rate=None, max_connections=1)
    for each in (first, second, third):
        shedding.leave(each)
    assert shedding.in_flight == 0
    shedding.adopt([first])
    assert shedding.in_flight == 1
