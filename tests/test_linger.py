"""Tests for `edgeserver.transport.lingering.linger`: last words reach a peer that still sends."""

import asyncio
import contextlib

from edgeserver.transport.lingering import linger
from tests.clients import send_until_cut_off
from tests.tls.wire import both_loops


@contextlib.asynccontextmanager
async def refusing(words=b"no"):
    """Run a server that says `words` to the first bytes, then lingers."""
    transports = []

    class Refuses(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            transports.append(transport)

        def data_received(self, data):
            self.transport.write(words)
            linger(self.transport)

    server = await asyncio.get_running_loop().create_server(Refuses, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], transports
    finally:
        server.close()
        await server.wait_closed()
        while not all(transport.is_closing() for transport in transports):
            await asyncio.sleep(0)


@both_loops
async def test_last_words_are_read_by_a_client_that_still_sends():
    """Unread input does not turn the answer into a reset."""
    async with refusing() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes(100_000))
        writer.write_eof()
        assert await reader.read() == b"no"
        writer.close()


@both_loops
async def test_client_that_leaves_ends_it_at_once():
    """The socket closes as soon as the client has ended, long before the limit."""
    async with refusing() as (port, transports):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert await reader.read() == b"no"
        writer.close()
        while not transports[0].is_closing():
            await asyncio.sleep(0)


@both_loops
async def test_client_that_stays_is_cut_off(monkeypatch):
    """Who neither sends nor leaves has only so long."""
    monkeypatch.setattr("edgeserver.transport.lingering.CHECK_S", 0.02)
    async with refusing() as (port, transports):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        assert await reader.read() == b"no"
        while not transports[0].is_closing():
            await asyncio.sleep(0)
        writer.close()


@both_loops
async def test_last_words_are_read_by_a_client_that_sends_far_too_much():
    """More than is thrown away only stops a client: it may still read why."""
    async with refusing() as (port, transports):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes(33_554_432))
        unchanged, before = 0, 0
        while unchanged < 100 and not writer.transport.is_closing():
            await asyncio.sleep(0)
            left = writer.transport.get_write_buffer_size()
            unchanged, before = (unchanged + 1 if left == before else 0), left
        assert before
        assert await reader.readexactly(2) == b"no"
        writer.transport.abort()
        transports[0].abort()


@both_loops
async def test_client_that_sends_without_end_is_cut_off(monkeypatch):
    """Who goes on sending has only so long."""
    monkeypatch.setattr("edgeserver.transport.lingering.CHECK_S", 0.1)
    async with refusing() as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await send_until_cut_off(writer)


@both_loops
async def test_closed_transport_is_left_alone():
    """Nothing is started on a transport that is closing already."""
    made = asyncio.get_running_loop().create_future()

    class Aborts(asyncio.Protocol):
        def connection_made(self, transport):
            transport.abort()
            linger(transport)
            made.set_result(transport)

    server = await asyncio.get_running_loop().create_server(Aborts, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert (await made).is_closing()
    writer.close()
    server.close()
    await server.wait_closed()
