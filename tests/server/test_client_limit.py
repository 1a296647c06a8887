"""How many connections one client may have: who counts as one, and what is closed at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.server.client_limit import ClientCounts, ConnectionGate, CountedHandshake
from edgeserver.support.ratelimit import RateLimit
from edgeserver.transport.handover import replace_layer
from edgeserver.transport.proxyprotocol import RefusalLog
from tests.e2e.site import Client, address_of, answer, connected, fetch, serve, tell
from tests.http1.conversation import FakeTransport
from tests.loops import on_both_loops
from tests.tls import pki


def prelude(source: str) -> bytes:
    """Return a PROXY prelude that names `source`."""
    family = "TCP6" if ":" in source else "TCP4"
    to = "2001:db8::1" if ":" in source else "192.0.2.1"
    return f"PROXY {family} {source} {to} 1000 80\r\n".encode()


async def refused(client: Client) -> bool:
    """Tell whether a connection was closed before anything was said."""
    try:
        return await client.ended()
    except ConnectionError:
        return True


def counts(most: int = 2, **options: Any) -> ClientCounts:
    """Return counts that exempt 10.0.0.1."""
    return ClientCounts(most, lambda name: name == "10.0.0.1", **options)


class Layer(asyncio.Protocol):
    """What does a handshake; it notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note it."""
        self.told.append(transport)

    def pause_writing(self) -> None:
        """Note it."""
        self.told.append("pause")

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.told.append(data)


async def test_handshakes_are_counted_before_they_begin() -> None:
    """A layer begins if its client has room, and counts until its handshake is over."""
    gate = ConnectionGate(counts(1))
    layers = [Layer() for _ in range(3)]
    transports = [FakeTransport(("192.0.2.1", port)) for port in range(3)]
    for number in (0, 1):
        replace_layer(transports[number], CountedHandshake(gate, layers[number]), b"hello", True)
    assert layers[0].told == [transports[0], "pause", b"hello"]
    assert layers[1].told == []
    assert transports[1].is_closing()
    gate.leave(layers[0])
    replace_layer(transports[2], CountedHandshake(gate, layers[2]), b"hello")
    assert layers[2].told == [transports[2], b"hello"]


@pytest.mark.parametrize(
    ("peers", "last"),
    [
        pytest.param(["192.0.2.1"] * 2, None, id="one-address"),
        pytest.param(["192.0.2.1", "192.0.2.2"], b"\xc0\x00\x02\x01", id="other-address"),
        pytest.param(["::ffff:192.0.2.1"] * 2, None, id="mapped"),
        pytest.param(["10.0.0.1"] * 2, b"\xc0\x00\x02\x01", id="exempt"),
    ],
)
async def test_who_counts_as_one_client(peers: list[str], last: bytes | None) -> None:
    """The third connection of one address is refused, in whatever form it is written."""
    clients = counts()
    for peer in peers:
        assert clients.enter(FakeTransport((peer, 1)), None) is not None
    transport = FakeTransport(("192.0.2.1", 2))
    transport.protocol = asyncio.Protocol()
    assert clients.enter(transport, None) == last
    assert transport.aborted is (last is None)


@pytest.mark.parametrize(
    ("third", "refused"),
    [
        pytest.param("2001:db8:0:1:ffff::3", True, id="same-64"),
        pytest.param("2001:db8:0:2::1", False, id="other-64"),
    ],
)
async def test_ipv6_counts_by_its_64(third: str, refused: bool) -> None:
    """A machine has a whole /64 of addresses, and is one client."""
    clients = counts()
    for host in ("2001:db8:0:1::1", "2001:db8:0:1::2"):
        assert clients.enter(FakeTransport((host, 1, 0, 0)), None)
    transport = FakeTransport((third, 1, 0, 0))
    transport.protocol = asyncio.Protocol()
    assert (clients.enter(transport, None) is None) is refused


@pytest.mark.parametrize(
    "source", [None, "unix:", "10.0.0.1"], ids=["nobody", "unix", "listed-too"]
)
async def test_a_prelude_that_names_nobody_in_particular_is_the_listed_proxys(
    source: str | None,
) -> None:
    """Neither health checks of a listed proxy count, nor another listed proxy behind it."""
    clients = counts(1)
    for _ in range(3):
        assert clients.enter(FakeTransport(("10.0.0.1", 1)), source) == b""
    assert clients.known == 0


async def test_only_clients_with_connections_are_known() -> None:
    """A client is forgotten with its last connection, a detached one too."""

    class Stream:
        def __init__(self) -> None:
            self.open = True

        def closed(self) -> bool:
            return not self.open

    clients = counts()
    keys = [clients.enter(FakeTransport((f"192.0.2.{i}", 1)), None) for i in range(200)]
    assert clients.known == 200
    streams = [Stream() for _ in keys]
    for key, stream in zip(keys, streams, strict=True):
        clients.leave(key)
        clients.detached(key, stream)
    assert clients.known == 200
    for stream in streams:
        stream.open = False
    for i in range(200):
        key = clients.enter(FakeTransport((f"198.51.100.{i}", 1)), None)
        clients.leave(key)
        clients.detached(key, stream)
    assert clients.known <= 130


async def test_refusals_are_logged_within_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Each says who and which limit, until there are too many."""
    clients = counts(1, refusals=RefusalLog(RateLimit(per_address=3)))
    clients.enter(FakeTransport(), None)
    for _ in range(10):
        transport = FakeTransport()
        transport.protocol = asyncio.Protocol()
        clients.enter(transport, None)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[0] == (
        "connection from 192.0.2.7 closed: it has 1 open already (max_connections_per_client)"
    )


@on_both_loops
async def test_a_connection_too_many_is_closed_at_once() -> None:
    """It is closed before a byte of it is read; the others go on, and their end makes room."""
    async with (
        serve(tell, max_connections_per_client=2) as server,
        contextlib.AsyncExitStack() as s,
    ):
        clients = [await s.enter_async_context(connected(address_of(server))) for _ in range(2)]
        for client in clients:
            assert (await client.ask()).status == 200
        assert await refused(await s.enter_async_context(connected(address_of(server))))
        other = await s.enter_async_context(connected(address_of(server), source="127.0.0.2"))
        assert (await other.ask()).status == 200
        assert (await clients[0].ask()).status == 200
        clients[1].writer.close()
        while server.open_connections > 2:
            await asyncio.sleep(0)
        assert (await fetch(address_of(server))).status == 200


@on_both_loops
async def test_handshakes_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So does a connection that says nothing, until its handshake has failed, or is done."""
    authority = pki.make_ca("Root")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority))
    trusting: ssl.SSLContext = pki.client_context(authority)
    options = {"ssl_options": pair, "max_connections_per_client": 2}
    async with serve(tell, **options) as server, contextlib.AsyncExitStack() as stack:
        address = address_of(server)
        silent = await stack.enter_async_context(connected(address))
        secure = await stack.enter_async_context(connected(address, tls=trusting))
        assert (await secure.ask()).status == 200
        while server.open_connections < 2:
            await asyncio.sleep(0)
        assert await refused(await stack.enter_async_context(connected(address)))
        await silent.send(bytes(64))
        with contextlib.suppress(ConnectionError):
            await silent.reader.read()
        again = await stack.enter_async_context(connected(address, tls=trusting))
        assert (await again.ask()).status == 200
        again.writer.close()
        while server.open_connections > 1:
            await asyncio.sleep(0)
        assert (await fetch(address, tls=trusting)).status == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_whom_a_prelude_names_counts(secure: bool, tmp_path: Path) -> None:
    """The clients behind one listed proxy are counted one by one."""
    options: dict[str, Any] = {"trust": TrustPolicy(["127.0.0.1"]), "proxy_protocol": "any"}
    if secure:
        options["ssl_options"] = pki.write_pair(tmp_path, pki.make_leaf(pki.make_ca("Root")))
    async with (
        serve(tell, max_connections_per_client=1, **options) as server,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come(source: str) -> Client:
            client = await stack.enter_async_context(connected(address_of(server)))
            await client.send(prelude(source))
            return client

        first = await come("192.0.2.7")
        await come("192.0.2.8")
        assert await refused(await come("192.0.2.7"))
        await come("2001:db8::1")
        assert await refused(await come("2001:db8::2"))
        first.writer.close()
        while server.open_connections > 2:
            await asyncio.sleep(0)
        last = await come("192.0.2.7")
        while server.open_connections < 3:
            await asyncio.sleep(0)
        last.writer.close()


@on_both_loops
async def test_listed_proxies_and_unix_sockets_are_exempt(tmp_path: Path) -> None:
    """Many clients come through one of them."""
    path = str(tmp_path / "socket")
    async with serve(tell, path=path, max_connections_per_client=1) as server:
        async with connected(path) as first, connected(path) as second:
            assert (await first.ask()).status == (await second.ask()).status == 200
        assert server.open_connections <= 2
    policy = TrustPolicy(["127.0.0.1"])
    async with serve(tell, max_connections_per_client=1, trust=policy) as server:
        address = address_of(server)
        async with connected(address) as first, connected(address) as second:
            assert (await first.ask()).status == (await second.ask()).status == 200
        async with connected(address, source="127.0.0.2") as one:
            assert (await one.ask()).status == 200
            async with connected(address, source="127.0.0.2") as another:
                assert await refused(another)


@on_both_loops
async def test_a_detached_connection_counts_until_it_is_closed() -> None:
    """What the application took over, such as a WebSocket, is its client's still."""
    streams: list[Any] = []

    def take(request: Any) -> None:
        if request.path == "/take":
            streams.append(request.connection.detach())
        else:
            answer(request, "ok")

    async with (
        serve(take, max_connections_per_client=1) as server,
        connected(address_of(server)) as client,
    ):
        await client.send(b"GET /take HTTP/1.1\r\nHost: a\r\n\r\n")
        while not streams:
            await asyncio.sleep(0)
        async with connected(address_of(server)) as second:
            assert await refused(second)
        streams[0].close()
        while not streams[0].closed():
            await asyncio.sleep(0)
        assert (await fetch(address_of(server))).status == 200


@on_both_loops
async def test_a_connection_lost_before_it_is_known_counts_for_nobody() -> None:
    """Resets before the first byte leave nothing behind."""
    async with serve(tell, max_connections_per_client=3) as server:
        for _ in range(10):
            sock = socket.create_connection(address_of(server))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        for _ in range(3):
            async with connected(address_of(server), source="127.0.0.2") as client:
                assert (await client.ask()).status == 200
        while server.open_connections:
            await asyncio.sleep(0)
        assert (await fetch(address_of(server))).status == 200


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "4"])
def test_what_is_no_limit_is_refused(given: Any) -> None:
    """A complaint names the argument, and says what to give."""
    with pytest.raises(ConfigurationError, match=r"max_connections_per_client=.* whole number"):
        HTTPServer(tell, max_connections_per_client=given)
