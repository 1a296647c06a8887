"""The PROXY prelude on real connections, on plain asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import trustme

from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, render_v1, render_v2
from edgeserver.support.ratelimit import RateLimit
from edgeserver.tls.handshake.layer import TLSLayer
from edgeserver.tls.handshake.limiter import HandshakeLimiter
from edgeserver.transport.proxyprotocol import (
    INVALID,
    MISSING,
    NOT_ALLOWED,
    PreludeLayer,
    PreludeTracker,
    RefusalLog,
)

T = TypeVar("T")
Run = Callable[[Awaitable[T]], T]

PRELUDE = Prelude(1, "PROXY", "203.0.113.9", 4711, "198.51.100.2", 443)
BOTH = pytest.mark.parametrize("data", [render_v1(PRELUDE), render_v2(PRELUDE)], ids=["v1", "v2"])


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Run a coroutine on each of the two kinds of loop."""
    factory = (
        asyncio.new_event_loop
        if request.param == "asyncio"
        else pytest.importorskip("uvloop").new_event_loop
    )
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


class Echo(asyncio.Protocol):
    """Stands behind the layer: sends back what it gets, after naming the client."""

    def __init__(self, prelude: Prelude) -> None:
        self.prelude = prelude

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Name the client that the prelude named."""
        self.transport: Any = transport
        self.transport.write(f"{self.prelude.source}:".encode())

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Listener:
    """A listening socket whose connections begin with a prelude, and what it refused."""

    def __init__(self, **settings: Any) -> None:
        self.refused: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.settings = {"mode": "any", "next_protocol": Echo, "allowed": self.allowed} | settings

    def allowed(self, peer: str) -> bool:
        """Allow everybody, and note who was asked about."""
        self.asked.append(peer)
        return True

    def build(self) -> PreludeLayer:
        """Make the layer for one connection."""
        return PreludeLayer(
            on_refusal=lambda code, detail: self.refused.append((code, detail)),
            refusals=RefusalLog(),
            **self.settings,
        )

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1") -> AsyncIterator[Listener]:
        """Listen until the block ends."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self.build, host, 0)
        self.address = server.sockets[0].getsockname()[:2]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def send(self, data: bytes, *, end: bool = True) -> bytes:
        """Send `data` on a new connection; return everything that came back."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            return await reader.read()
        except OSError:
            return b""
        finally:
            await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a client's connection, which the server may have reset."""
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass


@BOTH
def test_the_rest_goes_on(run: Run[None], data: bytes) -> None:
    """What follows the prelude in the same segment reaches the next protocol, and nothing else."""

    async def talk() -> None:
        async with Listener().serving() as listener:
            assert await listener.send(data + b"\x16\x03\x01hello") == (
                b"203.0.113.9:\x16\x03\x01hello"
            )
            assert listener.asked == ["127.0.0.1"]
            assert listener.refused == []

    run(talk())


@BOTH
def test_byte_by_byte(run: Run[None], data: bytes) -> None:
    """However the prelude is cut, the next protocol sees the same."""

    async def talk() -> None:
        async with Listener().serving() as listener:
            reader, writer = await asyncio.open_connection(*listener.address)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data + b"ping":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert await reader.readexactly(16) == b"203.0.113.9:ping"
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            await close(writer)

    run(talk())


def test_the_prelude_alone_makes_the_next_protocol(run: Run[None]) -> None:
    """The next protocol may speak first: it starts when the prelude is whole."""

    async def talk() -> None:
        async with Listener(mode="v1").serving() as listener:
            reader, writer = await asyncio.open_connection(*listener.address)
            writer.write(b"PROXY UNKNOWN\r\n")
            assert await reader.readexactly(5) == b"None:"
            await close(writer)

    run(talk())


@pytest.mark.parametrize(
    ("data", "settings", "code", "detail"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", {}, MISSING, "starts with GET / HTTP/1.1"),
        (b"\x1b[2J", {}, MISSING, "starts with \\x1b[2J"),
        (b"PROXY TCP9 ", {}, INVALID, "family TCP9 at byte 6"),
        (b"PROXY UNKNOWN\r\n", {"mode": "v2"}, INVALID, "takes only v2"),
        (b"PROXY TCP4 192.0", {}, MISSING, "ended the connection after 16 bytes"),
        (b"PROXY", {"timeout_s": 0.01}, MISSING, "time limit of 0.01 s reached after 5 bytes"),
        (b"PROXY UNKNOWN\r\n", {"allowed": lambda peer: False}, NOT_ALLOWED, "allow-list"),
    ],
    ids=["http", "escaped", "malformed", "other-version", "cut", "slow", "not-allowed"],
)
def test_refusals(
    run: Run[None],
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    settings: dict[str, Any],
    code: str,
    detail: str,
) -> None:
    """A refused connection is closed without a byte, and one line names peer, rule and reason."""

    async def talk() -> None:
        async with Listener(**settings).serving() as listener:
            assert await listener.send(data, end="timeout_s" not in settings) == b""
            assert len(listener.refused) == 1
            assert listener.refused[0][0] == code
            assert detail in listener.refused[0][1]

    with caplog.at_level(logging.WARNING, "edgeserver.general"):
        run(talk())
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{code}: connection from 127.0.0.1 closed: ")
    assert detail in line
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_whoever_leaves_without_a_byte_is_counted(
    run: Run[None], caplog: pytest.LogCaptureFixture, reset: bool
) -> None:
    """A load balancer's check is no refusal, and leaves no line."""

    async def talk() -> None:
        tracker = PreludeTracker()
        async with Listener(tracker=tracker).serving() as listener:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*listener.address)
                if reset:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    writer.transport.abort()
                else:
                    writer.write_eof()
                    assert await reader.read() == b""
                await close(writer)
            while tracker.silent < 3:
                await asyncio.sleep(0)
            assert listener.refused == []
            assert not tracker.layers

    run(talk())
    assert not caplog.records


@BOTH
def test_tls_stands_behind(run: Run[None], data: bytes) -> None:
    """The TLS layer takes over after the prelude, with the hello in the same segment or later."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    contexts: Any = SimpleNamespace(
        handshake_timeout=10.0,
        select=lambda name, alpn: SimpleNamespace(context=server_context, host="", alert=None),
    )

    def tls_layer(prelude: Prelude) -> TLSLayer:
        return TLSLayer(
            contexts=contexts,
            build_protocol=lambda transport: Echo(prelude),
            limiter=HandshakeLimiter(),
            client=prelude.source,
        )

    async def talk() -> None:
        async with Listener(next_protocol=tls_layer).serving() as listener:
            answer = await asyncio.to_thread(
                say_hello_over_tls, tuple(listener.address), data, client_context
            )
            assert answer == b"203.0.113.9:ping"

    run(talk())


def say_hello_over_tls(address: tuple[str, int], first: bytes, context: ssl.SSLContext) -> bytes:
    """Send `first` and the ClientHello in one segment, then `ping` over TLS; return 16 bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(address, 10) as sock:

        def finish(step: Callable[[], T]) -> T:
            nonlocal first
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(first + outgoing.read())
                    first = b""
                    answer = sock.recv(65536)
                    assert answer, "the server closed the connection"
                    incoming.write(answer)

        finish(tls.do_handshake)
        tls.write(b"ping")
        sock.sendall(outgoing.read())
        received = b""
        while len(received) < 16:
            received += finish(lambda: tls.read(16))
        return received


def test_the_clock_stops_with_the_prelude(run: Run[None]) -> None:
    """The time limit ends with the prelude: a later connection times out, this one lives on."""

    async def talk() -> None:
        async with Listener(timeout_s=0.02).serving() as listener:
            reader, writer = await asyncio.open_connection(*listener.address)
            writer.write(render_v1(PRELUDE))
            await reader.readexactly(12)
            assert await listener.send(b"", end=False) == b""
            writer.write(b"alive")
            assert await reader.readexactly(5) == b"alive"
            await close(writer)
            assert [code for code, _ in listener.refused] == [MISSING]

    run(talk())


def test_our_own_close_is_no_refusal(run: Run[None], caplog: pytest.LogCaptureFixture) -> None:
    """A server that closes a connection before its prelude came accuses nobody."""

    async def talk() -> None:
        made: list[asyncio.BaseTransport] = []

        class Layer(PreludeLayer):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                made.append(transport)
                transport.close()

        listener = Listener()
        listener.build = lambda: Layer(refusals=RefusalLog(), **listener.settings)  # type: ignore[method-assign] # one test's subclass
        async with listener.serving():
            assert await listener.send(b"", end=False) == b""
        assert len(made) == 1

    run(talk())
    assert caplog.records == []


@pytest.mark.parametrize("broken", ["allowed", "next_protocol"])
def test_a_callable_that_raises_lets_nobody_in(
    run: Run[None], caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """When the allow-list or the next protocol fails, the connection ends and the error is told."""

    def fail(_: object) -> Any:
        raise LookupError("broken on purpose")

    errors: list[str] = []

    async def talk() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(str(context.get("exception")))
        )
        async with Listener(**{broken: fail}).serving() as listener:
            assert await listener.send(render_v1(PRELUDE)) == b""

    run(talk())
    assert errors == ["broken on purpose"]


def test_unix_peer(run: Run[None], tmp_path: Path) -> None:
    """The peer of a Unix socket is asked about as `unix:`."""

    async def talk() -> None:
        listener, path = Listener(), str(tmp_path / "s")
        server = await asyncio.get_running_loop().create_unix_server(listener.build, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(render_v2(PRELUDE))
        assert await reader.readexactly(12) == b"203.0.113.9:"
        await close(writer)
        server.close()
        await server.wait_closed()
        assert listener.asked == ["unix:"]

    run(talk())


def test_refusals_are_rate_limited(caplog: pytest.LogCaptureFixture) -> None:
    """Past the limit lines are counted, and the first of the next minute tells how many."""
    now = 0.0
    refusals = RefusalLog(RateLimit(per_address=2), clock=lambda: now)
    for number in range(5):
        refusals.warn(f"line {number}", "192.0.2.1")
    refusals.warn("another", "192.0.2.2")
    assert refusals.suppressed == 3
    now = 60.0
    refusals.warn("later", "192.0.2.1")
    assert refusals.suppressed == 0
    assert [record.getMessage() for record in caplog.records] == [
        "line 0",
        "line 1 (more in this minute are counted, not logged)",
        "another",
        "later (3 more refusals were not logged)",
    ]


class TestTracker:
    """Connections are known from their first moment until their prelude is whole."""

    def test_counted_until_the_prelude_is_whole(self, run: Run[None]) -> None:
        """A connection counts when it is accepted, and no more when the next layer has it."""
        counts: list[int] = []
        tracker = PreludeTracker(lambda: counts.append(len(tracker.layers)))

        async def check() -> None:
            async with Listener(tracker=tracker).serving() as listener:
                first = await asyncio.open_connection(*listener.address)
                second = await asyncio.open_connection(*listener.address)
                for each in (first, second):
                    each[1].write(render_v1(PRELUDE))
                    assert await each[0].readexactly(12) == b"203.0.113.9:"
                assert not tracker.layers
                await close(first[1])
                await close(second[1])

        run(check())
        assert len(counts) == 2
        assert set(counts) <= {1, 2}

    def test_what_the_next_layer_sees(self, run: Run[None]) -> None:
        """When the next protocol is made the connection is its own: none counts twice."""
        tracker = PreludeTracker()
        seen: list[int] = []

        def make(prelude: Prelude) -> Echo:
            seen.append(len(tracker.layers))
            return Echo(prelude)

        async def check() -> None:
            async with Listener(tracker=tracker, next_protocol=make).serving() as listener:
                assert await listener.send(render_v2(PRELUDE)) == b"203.0.113.9:"

        run(check())
        assert seen == [0]

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"PROX"], ids=["invalid", "cut"])
    def test_a_refused_one_does_not_count(self, run: Run[None], data: bytes) -> None:
        """A connection that is closed for its prelude is forgotten."""
        tracker = PreludeTracker()

        async def check() -> None:
            async with Listener(tracker=tracker).serving() as listener:
                assert await listener.send(data) == b""
                assert listener.refused

        run(check())
        assert not tracker.layers

    def test_abort_all(self, run: Run[None], caplog: pytest.LogCaptureFixture) -> None:
        """A server that ends closes them at once, and is not told of it as of a refusal."""
        begun = asyncio.Event()
        tracker = PreludeTracker(begun.set)

        async def check() -> None:
            async with Listener(tracker=tracker).serving() as listener:
                reader, writer = await asyncio.open_connection(*listener.address)
                await begun.wait()
                tracker.abort_all()
                assert not tracker.layers
                try:
                    assert await reader.read() == b""
                except ConnectionResetError:
                    pass
                assert not listener.refused
                await close(writer)

        run(check())
        assert not caplog.records
