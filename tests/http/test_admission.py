"""Admission: one for every version of HTTP, here for one that is made up.

`Frames` is a protocol whose requests overlap: each has a number, and answers come in any order. It
knows of HTTP/1 nothing, and nothing of HTTP/1 knows it.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError
from edgeserver.http.admission import Admission, NoRoomError
from edgeserver.http.exchange import Exchange
from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.httputil import HTTPMessageDelegate, HTTPServerRequest
from edgeserver.httputil.context import ConnectionInfo
from edgeserver.proxyheaders import TrustPolicy
from tests.http.inside import new_exchange

PROXY = ("192.0.2.7", 4711)


class Frames:
    """A connection of the made-up protocol, with any number of exchanges open at once."""

    def __init__(self, service: HTTPService, misdirected: Any = None, tls: Any = None) -> None:
        self.service = service
        self.info = ConnectionInfo(PROXY, scheme="http", tls=tls)
        self.admission = Admission(service, self, misdirected)
        self.admission.info = self.info
        self.exchanges: list[Exchange] = []
        self.next_deadline = float("inf")
        self.closed = False
        service.opened(self, asyncio.get_running_loop())

    def ask(self, target: str, body_size: int = 0, **fields: str) -> Exchange:
        """Let a request begin whose head is valid."""
        pairs = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
        return self.begin(target, pairs, body_size)

    def begin(self, target: str, fields: dict[bytes, bytes], body_size: int = 0) -> Exchange:
        """Let a request begin with these very fields."""
        frame = new_exchange(self, self.info, target, "FRAMES/1", fields)
        self.exchanges.append(frame)
        self.admission.admit(frame, body_size)
        return frame

    def finish(self, exchange: Exchange) -> None:
        """Complete an answer."""
        exchange.end()
        self.exchanges.remove(exchange)

    def check_deadlines(self, now_s: float) -> None:
        """Wait for nobody."""

    def close(self) -> None:
        """Close."""
        self.closed = True
        self.service.closed(self)

    def drain(self) -> None:
        """Close if nothing is in flight."""
        if not self.exchanges:
            self.close()


class App:
    """A delegate that takes whole requests in one call, or makes a delegate for each."""

    def __init__(self) -> None:
        self.requests: list[HTTPServerRequest] = []

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Make a delegate."""
        return HTTPMessageDelegate()

    def take_request(self, server_conn: object, request_conn: Any) -> None:
        """Keep a request."""
        self.requests.append(HTTPServerRequest.from_connection(request_conn, server_conn))

    def on_close(self, server_conn: object) -> None:
        """Note nothing."""


def frames_of(trust: Any = None, misdirected: Any = None, **shared: Any) -> tuple[Frames, App]:
    """Return a connection of the made-up protocol, and who answers on it."""
    app = App()
    tls = SimpleNamespace(host="a") if misdirected else None
    service = HTTPService(shared.pop("limits", HTTPLimits()), app, trust=trust, **shared)
    return Frames(service, misdirected, tls), app


async def test_two_open_exchanges_have_each_its_own_client() -> None:
    """Requests of two clients come through one proxy, and neither sees the other's."""
    frames, app = frames_of(TrustPolicy([PROXY[0]]))
    first = frames.ask("/1", host="a", x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
    second = frames.ask("/2", host="a", x_forwarded_for="203.0.113.2")
    assert frames.service.connections.in_flight == 2
    one, two = app.requests
    assert [each.remote_ip for each in (one, two)] == ["198.51.100.1", "203.0.113.2"]
    # Asked late, while both are open: each still sees its own.
    for frame, ip in ((first, "198.51.100.1"), (second, "203.0.113.2")):
        assert frame.remote_ip == ip
        assert frame.context.remote_ip == ip
        assert frame.client.remote_ip == ip
        assert frame.explain().resolved.remote_ip == ip
        assert frame.context.peer_ip == PROXY[0]
    assert (first.context.protocol, second.context.protocol) == (first.protocol, second.protocol)
    frames.finish(second)
    frames.finish(first)
    assert frames.service.connections.in_flight == 0


async def test_a_kept_context_stays_that_of_its_request() -> None:
    """What was taken from one request is not written when the next one comes."""
    frames, _ = frames_of(TrustPolicy([PROXY[0]]))
    kept = frames.ask("/1", host="a", x_forwarded_for="198.51.100.1").context
    frames.ask("/2", host="a", x_forwarded_for="203.0.113.2")
    assert (kept.remote_ip, str(kept)) == ("198.51.100.1", "198.51.100.1")
    assert str(frames.info) == PROXY[0]


async def test_fields_that_nobody_vouches_for_are_hidden_from_one_exchange_only() -> None:
    """Stripping is each exchange's own; the proof still sees what came."""
    policy = TrustPolicy(["10.0.0.0/8"])  # the peer is not listed
    frames, _ = frames_of(policy)
    fields = {"host": "a", "x_forwarded_for": "198.51.100.1"}
    liar = frames.ask("/1", **fields)
    honest = frames.ask("/2", host="a")
    assert liar.raw == honest.raw == [(b"host", b"a")]
    assert (b"x-forwarded-for", b"198.51.100.1") in liar.head_pairs
    assert liar.remote_ip == honest.remote_ip == PROXY[0]


async def test_without_a_policy_the_peer_is_the_client() -> None:
    """There is nothing to explain then."""
    frames, _ = frames_of()
    frame = frames.ask("/", host="a")
    assert (frame.remote_ip, frame.protocol) == (PROXY[0], "http")
    assert frame.client is None
    assert frame.explain() is None


async def test_each_exchange_is_audited() -> None:
    """The proof of each request's client is recorded, with the request it belongs to."""
    lines: list[tuple[str, str]] = []

    def record(
        explain: Any, method: str, target: str, now: float, *, pairs: Any, **more: Any
    ) -> None:
        lines.append((target, explain().resolved.remote_ip))

    frames, _ = frames_of(TrustPolicy([PROXY[0]]), audit_log=SimpleNamespace(record=record))
    frames.ask("/1", host="a", x_forwarded_for="198.51.100.1")
    frames.ask("/2", host="a", x_forwarded_for="203.0.113.2")
    assert lines == [("/1", "198.51.100.1"), ("/2", "203.0.113.2")]


@pytest.mark.parametrize(("host", "refused"), [("a", False), ("b", True)])
async def test_a_request_for_another_host_than_tls_was_made_for(host: str, refused: bool) -> None:
    """It is told 421, whatever version of HTTP carries it."""
    frames, _ = frames_of(misdirected=lambda made_for, asked: made_for != asked)
    if not refused:
        frames.admission.check_direction({b"host": host.encode()})
        return
    with pytest.raises(HTTPInputError) as caught:
        frames.admission.check_direction({b"host": host.encode()})
    assert caught.value.status == 421


async def test_no_room_for_a_body() -> None:
    """No body begins beyond `max_held`; a request without one does."""
    frames, app = frames_of(limits=HTTPLimits(max_held=10))
    frames.service.budget.take(10)
    with pytest.raises(NoRoomError):
        frames.ask("/", 5, host="a")
    frames.ask("/", host="a")
    assert len(app.requests) == 1


async def test_a_drain_closes_what_is_idle() -> None:
    """Connections are drained and counted whatever is spoken on them."""
    idle, _ = frames_of()
    busy = Frames(idle.service)
    busy.ask("/", host="a")
    idle.service.drain()
    assert (idle.closed, busy.closed) == (True, False)
    waiting = idle.service.connections.wait_empty()
    busy.finish(busy.exchanges[0])
    busy.drain()
    await waiting


async def test_fields_of_one_head_serve_several_exchanges() -> None:
    """Where a parser gives the same fields again, the client is decided once, and counted twice."""
    policy = TrustPolicy([PROXY[0]])
    frames, _ = frames_of(policy)
    fields = {b"host": b"a", b"x-forwarded-for": b"198.51.100.1"}
    frames.admission.remember(fields)
    found = [frames.begin(target, fields).client for target in ("/1", "/2")]
    assert found[0] is found[1]


async def test_access_is_logged_once_for_each_exchange() -> None:
    """Whoever ends first is logged first, with its own client."""
    lines: list[tuple[str, str]] = []
    frames, _ = frames_of(
        TrustPolicy([PROXY[0]]),
        access_log=lambda exchange: lines.append((exchange.target, exchange.remote_ip)),
    )
    first = frames.ask("/1", host="a", x_forwarded_for="198.51.100.1")
    second = frames.ask("/2", host="a", x_forwarded_for="203.0.113.2")
    for frame in (second, first, second):
        frames.service.log_access(frame)
    assert lines == [("/2", "203.0.113.2"), ("/1", "198.51.100.1")]
