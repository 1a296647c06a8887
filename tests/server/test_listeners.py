"""What listeners have of their own, and what changes while they are open: trust, TLS, limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.netutil import bind_sockets
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.counters import ROW_BYTES, CounterRow
from tests.e2e.site import address_of, answer, connected, fetch, serve, tell
from tests.loops import on_both_loops
from tests.tls import pki

LIE = b"X-Forwarded-For: 203.0.113.9\r\n"
LOCAL = TrustPolicy(["127.0.0.1"])


def add(server: HTTPServer, **options: Any) -> Any:
    """Listen on another port, and return its address."""
    server.add_sockets(bind_sockets(0, "127.0.0.1"), **options)
    return address_of(server, -1)


async def client_at(address: Any, head: bytes = LIE, **options: Any) -> str:
    """Return who is taken for the client."""
    ip: str = (await fetch(address, head, **options)).seen["ip"]
    return ip


async def test_trust_of_its_own() -> None:
    """A forged header is believed on the private port, and neither on the public nor on another."""
    async with serve() as server:
        private = add(server, trust=LOCAL)
        public = add(server, trust=TrustPolicy.off())
        assert await client_at(private) == "203.0.113.9"
        assert await client_at(public) == "127.0.0.1"
        assert await client_at(address_of(server)) == "127.0.0.1"
        assert server.trust.mode == "off"


async def test_over_tls(tmp_path: Path) -> None:
    """It holds above TLS and a PROXY header, too; who may send that is said by the same policy."""
    authority = pki.make_ca("Root")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority))
    trusting = pki.client_context(authority)
    prelude = b"PROXY TCP4 198.51.100.7 192.0.2.1 1000 80\r\n"
    async with serve() as server:
        plain = add(server, trust=LOCAL, proxy_protocol="v1")
        secure = add(server, trust=LOCAL, ssl_options=pair)
        assert await client_at(secure, tls=trusting) == "203.0.113.9"
        async with connected(plain) as client:
            await client.send(prelude)
            assert (await client.ask()).seen["ip"] == "198.51.100.7"
        with pytest.raises(ConfigurationError, match="needs a trust policy"):
            server.set_trust(TrustPolicy.off(), listener=server.listeners[-2])
        server.set_trust(TrustPolicy(["192.0.2.1"]), listener=server.listeners[-2])
        async with connected(plain) as client:
            await client.send(prelude)
            assert await client.ended()


async def test_what_may_change_while_a_connection_is_open() -> None:
    """One listener's policy, or that of all others; the next request is judged by it."""
    async with serve(trust=LOCAL) as server:
        own = add(server, trust=TrustPolicy.off())
        async with connected(own) as mine, connected(address_of(server)) as other:
            assert (await mine.ask(LIE)).seen["ip"] == "127.0.0.1"
            assert (await other.ask(LIE)).seen["ip"] == "203.0.113.9"
            server.set_trust(LOCAL, listener=server.listeners[1])
            server.set_trust(TrustPolicy.off())
            assert (await mine.ask(LIE)).seen["ip"] == "203.0.113.9"
            assert (await other.ask(LIE)).seen["ip"] == "127.0.0.1"
        server.set_trust(LOCAL, listener=server.listeners[0])
        server.set_trust(TrustPolicy.off())
        assert await client_at(address_of(server)) == "203.0.113.9"


async def test_a_proxy_of_one_listener_is_no_single_client() -> None:
    """Behind a proxy that any listener lists there are many, whose connections are not counted."""
    async with serve(max_connections_per_client=1) as server:
        private = add(server, trust=LOCAL)
        async with connected(private) as first, connected(private) as second:
            assert (await first.ask(LIE)).seen["ip"] == "203.0.113.9"
            assert (await second.ask(LIE)).seen["ip"] == "203.0.113.9"


async def test_trust_of_a_port() -> None:
    """`listen` and `bind` take it as `add_sockets` does, in whatever order they are called."""
    server = HTTPServer(tell)
    server.listen(0, "127.0.0.1", trust=LOCAL)
    server.bind(0, "127.0.0.1", trust=LOCAL)
    server.bind(0, "127.0.0.1")
    server.bind(0, "127.0.0.1", trust=TrustPolicy.off())
    server.start()
    server.bind(0, "127.0.0.1", trust=LOCAL)
    try:
        seen = [await client_at(address_of(server, number)) for number in range(5)]
        assert [ip == "203.0.113.9" for ip in seen] == [True, True, False, False, True]
        with pytest.raises(TypeError, match="is not a TrustPolicy"):
            server.listen(0, "127.0.0.1", trust=["127.0.0.1"])
    finally:
        server.stop()
        await server.close_all_connections()


async def test_what_is_no_policy() -> None:
    """A list in its place is told what to write."""
    server = HTTPServer(tell)
    with pytest.raises(TypeError, match="with TrustPolicy from edgeserver"):
        server.add_sockets([], trust=["127.0.0.1"])  # type: ignore[arg-type]  # a mistake
    with pytest.raises(TypeError, match="with TrustPolicy from edgeserver"):
        server.set_trust(["127.0.0.1"])  # type: ignore[arg-type]  # a mistake


async def test_other_limits() -> None:
    """They hold for the next head and the next body, on connections that are open, too."""
    async with serve() as server:
        async with connected(address_of(server)) as client:
            assert (await client.ask(b"A: " + b"x" * 200 + b"\r\n")).status == 200
            server.set_limits(max_header_size=100, max_body_size=3, body_timeout=None)
            assert (await client.ask(b"A: " + b"x" * 200 + b"\r\n")).status == 431
        assert (await fetch(address_of(server), b"Content-Length: 4\r\n")).status == 413
        server.set_limits(max_header_fields=2, max_header_size=65536)
        assert (await fetch(address_of(server), b"A: b\r\nC: d\r\n")).status == 431


@on_both_loops
async def test_another_idle_timeout() -> None:
    """A connection that falls idle after the change is closed after the new time."""
    async with serve() as server, connected(address_of(server)) as client:
        server.set_limits(idle_connection_timeout=0.05)
        assert (await client.ask()).status == 200
        assert await client.ended()


async def test_another_number_of_connections() -> None:
    """Fewer pause accepting once they are there; more let those in that wait."""
    async with serve(max_connections=1) as server, connected(address_of(server)) as first:
        assert (await first.ask()).status == 200
        server.set_limits(max_connections=3)
        async with connected(address_of(server)) as second:
            assert (await second.ask()).status == 200
            assert server.max_connections == 3


async def test_shedding_comes_and_goes() -> None:
    """Bounds that a server did not have count from now on, what is in flight then too."""
    release = asyncio.Event()

    async def app(request: Any) -> None:
        if request.path == "/held":
            await release.wait()
        answer(request, "done")

    ended: list[Any] = []
    async with serve(app) as server, connected(address_of(server)) as first:
        await first.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        while not server.requests_in_flight:
            await asyncio.sleep(0)
        server.set_access_log(ended.append)
        server.set_limits(max_in_flight=1)
        assert (await fetch(address_of(server))).status == 503
        server.set_limits(max_in_flight=None, client_rate="1/h")
        assert [(await fetch(address_of(server))).status for _ in range(2)] == [200, 429]
        with pytest.raises(ConfigurationError, match="max_connections_per_client"):
            server.set_limits(client_rate=None, max_connections_per_client=0)
        assert (await fetch(address_of(server))).status == 429
        server.set_limits(client_rate=None)
        assert server.shed == {}
        release.set()
        assert (await first.answer()).status == 200
        assert (await fetch(address_of(server))).status == 200
        server.set_access_log(None)
        assert (await fetch(address_of(server))).status == 200
    assert [each.status for each in ended] == [503, 200, 429, 429, 200, 200]
    assert max(each.duration_s for each in ended) < 3600  # nobody had asked when it began


@pytest.mark.parametrize("before_s", [None, 3600], ids=["none-before", "another-before"])
async def test_slow_requests_from_now_on(
    before_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """One that began before is told of, too, though nobody had asked when; and none afterwards."""
    release = asyncio.Event()

    async def app(request: Any) -> None:
        await release.wait()
        answer(request, "done")

    async with (
        serve(app, slow_request=before_s) as server,
        connected(address_of(server)) as client,
    ):
        await client.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        while not server.requests_in_flight:
            await asyncio.sleep(0)
        with pytest.raises(ConfigurationError, match="slow_request"):
            server.set_limits(slow_request=-1)
        server.set_limits(slow_request=0.01)
        while "slow request: GET /held" not in caplog.text:
            await asyncio.sleep(0.01)
        server.set_limits(slow_request=None)
        release.set()
        assert (await client.answer()).status == 200


async def test_connections_that_are_open_count() -> None:
    """A limit of one client's connections holds for those from before, and goes again."""
    async with serve() as server, connected(address_of(server)) as first:
        await first.ask()
        row = CounterRow(bytearray(ROW_BYTES))
        server.count_into(row)
        server.set_limits(max_connections_per_client=1)
        with pytest.raises((ConnectionError, EOFError)):
            await fetch(address_of(server))
        assert row.read() == {("shed_total", "max-connections-per-client"): 1}
        server.set_limits(max_connections_per_client=2)
        assert (await fetch(address_of(server))).status == 200
        server.set_limits(max_connections_per_client=None)
        async with connected(address_of(server)) as second, connected(address_of(server)) as third:
            assert [(await each.ask()).status for each in (first, second, third)] == [200] * 3


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"max_header_size": 0}, ConfigurationError),
        ({"body_timeout": -1}, ConfigurationError),
        ({"max_connections": 0}, ConfigurationError),
        ({"no_keep_alive": True}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_limits_that_cannot_be(limits: dict[str, Any], error: type[Exception]) -> None:
    """A wrong one changes nothing."""
    async with serve() as server:
        with pytest.raises(error):
            server.set_limits(max_body_size=0, **limits)
        assert (await fetch(address_of(server))).status == 200
        assert server.max_connections > 1


async def test_other_tls(tmp_path: Path) -> None:
    """New connections get the other certificate; what is wrong changes nothing."""
    authorities = [pki.make_ca("One"), pki.make_ca("Two")]
    pairs = []
    for number, authority in enumerate(authorities):
        directory = tmp_path / str(number)
        directory.mkdir()
        pairs.append(pki.write_pair(directory, pki.make_leaf(authority)))
    contexts = [pki.client_context(authority) for authority in authorities]
    async with serve() as server:
        address = add(server, ssl_options=pairs[0])
        async with connected(address, tls=contexts[0]) as old:
            server.set_tls(pairs[1], listener=server.listeners[1])
            assert (await fetch(address, tls=contexts[1])).status == 200
            assert (await old.ask()).status == 200
        with pytest.raises(TLSConfigurationError):
            server.set_tls({"certfile": "absent"}, listener=server.listeners[1])
        assert (await fetch(address, tls=contexts[1])).status == 200
        assert len(server.tls.contexts) == 1
