"""Tests of `transport.lingering`: last words reach the peer, and the socket closes in the end."""

import asyncio
import socket

import pytest

from edgeserver.transport import lingering
from edgeserver.transport.lingering import Closing
from tests import inside
from tests.loops import on_both_loops


class Above(asyncio.Protocol):
    """The protocol before, which keeps what it hears."""

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        """Keep the end."""
        if not self.lost.done():
            self.lost.set_result(exc)


async def connection():
    """Return a transport, its protocol and the peer's socket, which has sent nothing."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    client.setblocking(False)
    accepted.setblocking(False)
    transport, above = await loop.connect_accepted_socket(Above, accepted)
    return transport, above, client


async def receive_all(client):
    """Receive until the end."""
    parts = []
    while part := await asyncio.get_running_loop().sock_recv(client, 65536):
        parts.append(part)
    return b"".join(parts)


def end(transport, above, *, unread):
    """Close as a stream does."""
    Closing(above, asyncio.get_running_loop()).take_over(transport, unread=unread)


@on_both_loops
async def test_nothing_to_do_closes_at_once():
    """With nothing written and nothing unread the transport just closes."""
    transport, above, client = await connection()
    end(transport, above, unread=False)
    assert transport.is_closing()
    assert await above.lost is None
    assert await receive_all(client) == b""
    client.close()


@on_both_loops
@pytest.mark.parametrize("unread", [False, True])
async def test_everything_written_arrives(unread):
    """Much that was written arrives whole; the peer's close is the end."""
    transport, above, client = await connection()
    transport.write(b"x" * 8_000_000)
    end(transport, above, unread=unread)
    assert len(await receive_all(client)) == 8_000_000
    client.close()
    assert await above.lost is None


@on_both_loops
async def test_input_is_thrown_away_meanwhile():
    """What the peer still sends, within bounds, causes no reset."""
    transport, above, client = await connection()
    transport.pause_reading()
    await asyncio.get_running_loop().sock_sendall(client, b"x" * 200_000)
    transport.write(b"last words")
    end(transport, above, unread=True)
    assert await receive_all(client) == b"last words"
    client.close()
    assert await above.lost is None


@on_both_loops
async def test_peer_that_takes_nothing_is_cut_off(monkeypatch):
    """Without any progress the connection ends with a TimeoutError above."""
    monkeypatch.setattr(lingering, "CHECK_S", 0.001)
    monkeypatch.setattr(lingering, "PATIENCE_S", 0.003)
    transport, above, client = await connection()
    transport.write(b"x" * 32_000_000)
    end(transport, above, unread=False)
    assert isinstance(await above.lost, TimeoutError)
    client.close()


@on_both_loops
async def test_progress_renews_the_time():
    """A peer that takes a part, however late, gets its full time again."""
    transport, above, client = await connection()
    transport.write(b"x" * 32_000_000)
    last = Closing(above, asyncio.get_running_loop())
    last.take_over(transport, unread=False)
    written = transport.get_write_buffer_size()
    inside.run_out_of_patience(last, lingering.CHECK_S)
    while transport.get_write_buffer_size() == written:
        await asyncio.get_running_loop().sock_recv(client, 1_000_000)
    inside.check_progress(last)
    assert inside.patience_s(last) == lingering.PATIENCE_S
    assert not above.lost.done()
    transport.abort()
    await above.lost
    client.close()


@on_both_loops
async def test_peer_that_never_closes_is_let_go(monkeypatch):
    """Once everything is written a silent peer has one more moment."""
    monkeypatch.setattr(lingering, "CHECK_S", 0.001)
    transport, above, client = await connection()
    transport.write(b"last words")
    end(transport, above, unread=True)
    assert await above.lost is None
    assert await asyncio.get_running_loop().sock_recv(client, 100) == b"last words"
    client.close()
