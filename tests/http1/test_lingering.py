"""Lingering: what a connection says last really reaches a peer that keeps sending.

Over real sockets, since it is the kernel's reset that would destroy it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from edgeserver.transport.lingering import DRAIN_BYTES
from tests.http1.conversation import App, Recorder, Talk, served
from tests.loops import on_both_loops

GARBAGE = b"x" * 65536


async def keep_sending(client: socket.socket, total: int) -> int:
    """Send up to `total` bytes, as long as the peer takes them; return how many."""
    loop = asyncio.get_running_loop()
    sent = 0
    with suppress(OSError):
        while sent < total:
            await loop.sock_sendall(client, GARBAGE)
            sent += len(GARBAGE)
    return sent


async def receive_all(client: socket.socket) -> bytes:
    """Receive to the end; a reset is an error."""
    received = b""
    while data := await asyncio.get_running_loop().sock_recv(client, 65536):
        received += data
    return received


def early(request: Recorder) -> None:
    """Answer before the body."""
    request.answer(b"no", 403)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", b" 400 "),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b" 505 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000, b" 431 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", b" 413 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", b" 413 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n", b" 403 "),
    ],
    ids=["400", "505", "431", "413-length", "413-chunked", "early-answer"],
)
@on_both_loops
async def test_a_peer_that_keeps_sending_reads_the_answer(data: bytes, status: bytes) -> None:
    """A refusal arrives whole at a client that sends on meanwhile, and then our end."""
    app = App()
    app.on_head = early if status == b" 403 " else None
    async with served(app, max_body_size=1_000_000) as client:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, data)
        sending = asyncio.ensure_future(keep_sending(client, DRAIN_BYTES // 2))
        answer = await receive_all(client)
        await sending
        assert answer.startswith(b"HTTP/1.1" + status)
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_peer_that_sends_without_end_is_not_heard_for_ever() -> None:
    """A client that goes on sending is listened to for a bounded number of bytes."""
    app = App()
    async with served(app) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await asyncio.get_running_loop().sock_sendall(client, b"rubbish\r\n\r\n")
        # What the kernel buffers is not heard: it is some megabytes at most.
        sent = await keep_sending(client, 256 * 1024 * 1024)
        assert sent < 256 * 1024 * 1024
    assert app.closed == 1


# The bounds, by the clock.


async def test_lingering_ends_after_a_second() -> None:
    """A peer that neither sends nor closes has a second."""
    talk = Talk()
    talk.receive(b"rubbish\r\n\r\n")
    assert talk.transport.eof_written
    await talk.later(0.5)
    assert not talk.transport.closed
    await talk.later(1.1)
    assert talk.transport.closed


async def test_lingering_waits_for_a_peer_that_has_not_taken_the_answer() -> None:
    """The second is counted from when the answer has left."""
    talk = Talk(write_timeout=60)
    talk.transport.stalled = True
    talk.receive(b"rubbish\r\n\r\n")
    await talk.later(30)
    assert not talk.transport.closed
    talk.transport.take()
    await talk.later(2)
    await talk.later(2)
    assert talk.transport.closed


async def test_lingering_is_bounded_by_the_write_timeout() -> None:
    """A peer that never takes the answer is cut."""
    talk = Talk(write_timeout=60)
    talk.transport.stalled = True
    talk.receive(b"rubbish\r\n\r\n")
    await talk.later(61)
    assert talk.transport.aborted


async def test_lingering_listens_to_a_bounded_number_of_bytes() -> None:
    """Beyond 256 KiB nothing more is read."""
    talk = Talk()
    talk.receive(b"rubbish\r\n\r\n")
    heard = 0
    while talk.transport.reading and heard < 10 * DRAIN_BYTES:
        talk.receive(GARBAGE)
        heard += len(GARBAGE)
    assert DRAIN_BYTES <= heard <= DRAIN_BYTES + len(GARBAGE)
    await talk.later(1.6)
    assert talk.transport.closed


async def test_lingering_ends_with_the_peers_end() -> None:
    """A peer that closes its half ends it at once."""
    talk = Talk()
    talk.receive(b"rubbish\r\n\r\n", b"more")
    talk.receive_eof()
    assert talk.transport.closed
    assert not talk.transport.aborted


async def test_lingering_resumes_a_socket_that_was_paused() -> None:
    """A connection that was not read at the time is read to be drained."""
    talk = Talk()
    gate = asyncio.get_running_loop().create_future()
    talk.app.on_data = lambda request: gate
    talk.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
    talk.receive(b"x" * 50_000, b"x" * 50_000)
    assert not talk.transport.reading
    talk.app.requests[0].answer(b"enough")
    assert talk.transport.eof_written
    assert talk.transport.reading


async def test_lingering_without_half_close() -> None:
    """Where a transport cannot be half closed its input is drained all the same."""
    talk = Talk()
    talk.transport.can_write_eof = lambda: False
    talk.receive(b"rubbish\r\n\r\n")
    assert not talk.transport.eof_written
    assert not talk.transport.closed
    talk.receive(b"more")
    await talk.later(1.6)
    assert talk.transport.closed


async def test_lingering_with_a_peer_that_was_faster() -> None:
    """A peer that has reset the connection meanwhile is no error."""
    talk = Talk()

    def gone() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    talk.transport.write_eof = gone
    talk.receive(b"rubbish\r\n\r\n")
    talk.transport.abort()
    await talk.turn()
    assert talk.app.closed == 1
