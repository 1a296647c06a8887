"""A TLS server on loopback for tests, what stands on it, and clients that can misbehave.

Decides how a test starts a `TLSLayer` and talks to it; every wait ends with the event that is
waited for, or after a limit that only a failure reaches.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import inspect
import pathlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from edgeserver.tls.handshake.layer import TLSLayer
from edgeserver.tls.handshake.limiter import HandshakeLimiter
from edgeserver.transport.lingering import linger
from tests.tls import pki

__all__ = [
    "Client",
    "Recorder",
    "Selected",
    "Served",
    "authority",
    "both_loops",
    "client_context",
    "directory",
    "serve",
    "server_context",
]

LIMIT_S = 15.0  # reached only by a test that fails


def both_loops(test):
    """Run an async test on asyncio's loop and on uvloop's."""
    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    @functools.wraps(test)
    def run(loop_factory, **arguments):
        async def limited():
            async with asyncio.timeout(LIMIT_S):
                await test(**arguments)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(limited())

    run.__signature__ = signature.replace(parameters=[extra, *signature.parameters.values()])
    return pytest.mark.parametrize(
        "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )(run)


@functools.cache
def directory() -> pathlib.Path:
    """Return a directory for this run's certificates, removed at its end."""
    temporary = tempfile.TemporaryDirectory(prefix="edgeserver-tls-")
    atexit.register(temporary.cleanup)
    return pathlib.Path(temporary.name)


_make_authority = functools.cache(pki.make_ca)


def authority(name: str = "Wire Root") -> pki.Issued:
    """Return a root authority; the same one for the same name."""
    return _make_authority(name)


@functools.cache
def pair(kind: str) -> dict[str, str]:
    """Return the files of the server's certificate."""
    leaf = pki.make_leaf(authority(), "a.test", "b.test", "localhost", "127.0.0.1", kind=kind)
    return pki.write_pair(directory(), leaf, f"wire-{kind}")


def server_context(
    *, kind: str = "ec", clients: pki.Issued | None = None, protocols=(), **settings
) -> ssl.SSLContext:
    """Return a server's context.

    Args:
        kind: The kind of its key.
        clients: The authority of client certificates, which are then required.
        protocols: ALPN.
        settings: Attributes to set on it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = pair(kind)
    context.load_cert_chain(files["certfile"], files["keyfile"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pki.render_certs(clients.cert).decode())
    if protocols:
        context.set_alpn_protocols(list(protocols))
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def client_context(*, trust: bool = True, show: pki.Issued | None = None, **settings):
    """Return a client's context that trusts the server's authority, or another one."""
    root = authority() if trust else authority("Other Root")
    context = pki.client_context(root, show, directory=directory())
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class Recorder(asyncio.Protocol):
    """A protocol that notes what it hears, and lets a test wait for it."""

    keep_open = False  # what `eof_received` returns

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.data = b""
        self.transport = None
        self.exc: Exception | None = None
        self._changed = asyncio.Event()

    def note(self, what: str) -> None:
        self.heard.append(what)
        self._changed.set()

    def connection_made(self, transport):
        """Note it."""
        self.transport = transport
        self.note("made")

    def data_received(self, data):
        """Note it."""
        self.data += data
        self._changed.set()

    def eof_received(self):
        """Note it."""
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc):
        """Note it."""
        self.exc = exc
        self.note("lost")

    def pause_writing(self):
        """Note it."""
        self.note("pause")

    def resume_writing(self):
        """Note it."""
        self.note("resume")

    async def until(self, condition: Callable[[Recorder], bool]) -> None:
        """Wait until `condition` holds; it is asked after every event."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    async def hears(self, what: str) -> None:
        """Wait for an event."""
        await self.until(lambda recorder: what in recorder.heard)

    async def has(self, size: int) -> None:
        """Wait for `size` bytes."""
        await self.until(lambda recorder: len(recorder.data) >= size)


class Echo(Recorder):
    """Sends back what it gets, and obeys when it is told to pause."""

    def data_received(self, data):
        """Send it back."""
        super().data_received(data)
        self.transport.write(data)

    def pause_writing(self):
        """Stop reading."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self):
        """Read again."""
        super().resume_writing()
        self.transport.resume_reading()


@dataclass
class Selected:
    """What a context source answers."""

    context: ssl.SSLContext | None
    host: str = ""
    alert: int | None = None


@dataclass
class Served:
    """A server that runs, as its own context source."""

    select_one: Callable[[str | None, tuple[str, ...]], Selected]
    handshake_timeout: float | None
    limiter: HandshakeLimiter
    asked: list[tuple[str | None, tuple[str, ...]]] = field(default_factory=list)
    protocols: list[Recorder] = field(default_factory=list)
    layers: list[TLSLayer] = field(default_factory=list)
    port: int = 0
    made: asyncio.Event = field(default_factory=asyncio.Event)

    def select(self, server_name, alpn):
        """Answer as the test wants."""
        self.asked.append((server_name, alpn))
        return self.select_one(server_name, alpn)

    async def protocol(self, number: int = 0) -> Recorder:
        """Wait for the protocol above a connection."""
        while len(self.protocols) <= number:
            self.made.clear()
            await self.made.wait()
        return self.protocols[number]

    @property
    def reasons(self) -> dict[str, int]:
        """The counts of failures."""
        return dict(self.limiter.log.counts)

    @property
    def lines(self) -> list[str]:
        """What was or would have been logged."""
        return [failure.render() for failure in self.limiter.log.recent]


@contextlib.asynccontextmanager
async def serve(
    context=None, *, protocol=Echo, select=None, timeout=10.0, limiter=None, **layer_settings
) -> AsyncIterator[Served]:
    """Run a server whose connections are `TLSLayer`s; `select` chooses contexts."""
    context = context or server_context()
    served = Served(
        select_one=select or (lambda name, alpn: Selected(context)),
        handshake_timeout=timeout,
        limiter=limiter or HandshakeLimiter(),
    )

    def build_protocol(transport):
        served.protocols.append(protocol())
        served.made.set()
        return served.protocols[-1]

    def build_layer():
        served.layers.append(
            TLSLayer(
                contexts=served,
                build_protocol=build_protocol,
                limiter=served.limiter,
                linger=linger,
                **layer_settings,
            )
        )
        return served.layers[-1]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(build_layer, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        served.limiter.abort_all()
        for each in served.protocols:
            if each.transport is not None:
                each.transport.abort()
        for each in served.protocols:
            await each.hears("lost")
        await server.wait_closed()
        assert not served.limiter.connections
        assert len(served.limiter.stalled) == served.limiter.waiting == 0


class Client:
    """A TLS client that sends exactly what a test says, and shows what comes back."""

    def __init__(self, reader, writer, context, name) -> None:
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.ended = False

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, port, context=None, name="a.test"):
        """Connect without a handshake."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer, context or client_context(), name)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def flush(self) -> None:
        """Send what OpenSSL wants to say."""
        if self.outgoing.pending:
            self.writer.write(self.outgoing.read())

    async def fill(self) -> None:
        """Give OpenSSL what comes."""
        data = await self.reader.read(65536)
        if data:
            self.incoming.write(data)
        else:
            self.ended = True
            self.incoming.write_eof()

    async def call(self, function, *arguments):
        """Call a function of the SSL object until it has what it wants."""
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                await self.fill()
            finally:
                self.flush()

    async def handshake(self) -> None:
        """Shake hands."""
        await self.call(self.ssl.do_handshake)

    async def send(self, data: bytes) -> None:
        """Encrypt and send."""
        for at in range(0, len(data), 16384):
            self.ssl.write(data[at : at + 16384])
            self.flush()
            await self.writer.drain()

    async def read_some(self) -> bytes:
        """Return what comes next; empty at close_notify."""
        try:
            return await self.call(self.ssl.read, 65536)
        except ssl.SSLZeroReturnError:  # close_notify, after we have sent ours
            return b""

    async def read_exactly(self, size: int) -> bytes:
        """Return `size` bytes."""
        data = b""
        while len(data) < size:
            piece = await self.read_some()
            assert piece, f"close_notify after {len(data)} of {size} bytes"
            data += piece
        return data

    async def read_to_end(self) -> bytes:
        """Return everything up to close_notify."""
        data = b""
        while piece := await self.read_some():
            data += piece
        return data

    def close_notify(self) -> None:
        """Say that nothing more comes, and go on reading."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.unwrap()
        self.flush()
