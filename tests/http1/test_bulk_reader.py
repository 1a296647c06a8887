"""Long bodies, read in bulk: which changes nothing of what is seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeserver.http1.bulk_reader import BULK_BODY, BulkReader
from edgeserver.iostream import IOStream
from tests.http1.conversation import App, Recorder, Talk, served
from tests.loops import on_both_loops

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(length: int) -> bytes:
    """Return a head that announces `length` bytes."""
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length


def is_bulk(talk: Talk) -> bool:
    """Say whether a `BulkReader` reads at the moment."""
    return isinstance(talk.transport.protocol, BulkReader)


@pytest.mark.parametrize("segment", [1_000, 65_536, 100_000])
@pytest.mark.parametrize("first", [0, 1, 50_000], ids=["head-alone", "one-byte", "more"])
async def test_bulk_reading_changes_nothing(segment: int, first: int) -> None:
    """A long body arrives whole, in pieces of the right size, and so does what follows it."""
    body = bytes(i % 251 for i in range(300_000))
    talk = Talk()
    talk.receive(post(len(body)) + body[:first])
    assert is_bulk(talk)
    data = body[first:] + NEXT
    talk.receive(*(data[i : i + segment] for i in range(0, len(data), segment)))
    assert not is_bulk(talk)
    assert [request.body for request in talk.app.requests] == [body, b""]
    assert all(len(piece) <= 65_536 for piece in talk.app.requests[0].pieces)
    assert talk.statuses == [200, 200]


@pytest.mark.parametrize("length", [BULK_BODY, BULK_BODY + 1])
async def test_when_bodies_are_read_in_bulk(length: int) -> None:
    """Only what is longer than a piece is worth it, and never a chunked body."""
    talk = Talk()
    talk.receive(post(length))
    assert is_bulk(talk) == (length > BULK_BODY)
    talk = Talk()
    talk.receive(CHUNKED + b"fffff\r\n")
    assert not is_bulk(talk)


async def test_bulk_reading_is_held() -> None:
    """An awaitable stops the socket at once, and lets it go on."""
    talk = Talk()
    gates: list[asyncio.Future[None]] = []

    def hold(request: Recorder) -> Any:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    talk.app.on_data = hold
    talk.receive(post(200_000))
    while len(talk.app.requests[0].body) < 200_000:
        talk.receive(b"x" * 40_000)
        assert talk.transport.reading == (len(talk.app.requests[0].body) == 200_000)
        assert talk.app.requests[0].ended == []
        gates[-1].set_result(None)
        await talk.turn()
        assert talk.transport.reading
    assert talk.app.requests[0].ended == ["finish"]
    assert talk.statuses == [200]
    talk.receive(NEXT)
    assert talk.statuses == [200, 200]


async def test_bulk_reading_is_held_within_one_read() -> None:
    """What was read beyond the piece that is held waits, in order, and reading with it."""
    talk = Talk(chunk_size=1000)
    gates: list[asyncio.Future[None]] = []

    def hold(request: Recorder) -> Any:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    talk.app.on_data = hold
    body = bytes(i % 251 for i in range(100_500))
    talk.receive(post(len(body)), body[:60_000], body[60_000:] + NEXT)
    (request,) = talk.app.requests
    assert request.pieces == [body[:1000]]
    assert not talk.transport.reading
    for count in range(1, 102):
        assert len(request.pieces) == count
        gates[-1].set_result(None)
        await talk.turn()
    assert request.pieces == [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert [request.ended for request in talk.app.requests] == [["finish"], ["finish"]]
    assert talk.transport.reading


async def test_an_answer_within_one_read_of_a_body() -> None:
    """Once the application has answered, nothing of the same read is given to it."""
    talk = Talk(chunk_size=1000)
    talk.app.on_data = lambda request: request.answer(b"enough")
    talk.receive(post(200_000), b"x" * 100_000)
    await talk.turn()
    assert len(talk.app.requests[0].pieces) == 1
    assert talk.app.requests[0].ended == ["close"]
    assert talk.statuses == [200]
    assert talk.ending


@pytest.mark.parametrize("length", [3_000, 200_000], ids=["short", "in-bulk"])
@pytest.mark.parametrize("held", [False, True], ids=["at-once", "while-held"])
async def test_detach_within_one_read_of_a_body(length: int, held: bool) -> None:
    """Who takes the connection over in the middle of a body has all of it that was not given."""
    talk = Talk(chunk_size=1000)
    streams: list[IOStream] = []

    def take_over(request: Recorder) -> Any:
        if held:
            return asyncio.get_running_loop().create_future()
        if len(request.pieces) == 2:
            streams.append(request.connection.detach())
        return None

    talk.app.on_data = take_over
    body = bytes(i % 251 for i in range(length))
    talk.receive(post(length), body[:60_000], body[60_000:] + NEXT)
    (request,) = talk.app.requests
    given = b"".join(request.pieces)
    if held:
        streams.append(request.connection.detach())
    rest = await streams[0].read_bytes(len(body) + len(NEXT) - len(given))
    assert given + rest == body + NEXT
    assert len(given) == (1000 if held else 2000)
    assert len(talk.app.requests) == 1


@pytest.mark.parametrize("how", ["eof", "lost", "timeout", "answer", "fail", "close", "refuse"])
async def test_bulk_reading_ends(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """However it ends, the delegate hears of it once, and nothing more is read as a body."""
    talk = Talk(body_timeout=60)
    talk.receive(post(200_000))
    talk.receive(b"x" * 1000)
    (request,) = talk.app.requests
    assert is_bulk(talk)
    if how == "eof":
        talk.receive_eof()
    elif how == "lost":
        talk.transport.abort()
    elif how == "timeout":
        await talk.later(70)
        assert talk.statuses == [408]
    elif how == "answer":
        request.answer(b"enough")
        assert talk.statuses == [200]
    elif how == "close":
        talk.service.connections.close()
    else:

        def fail(request: Recorder) -> None:
            raise (ValueError if how == "fail" else type("HTTPInputError", (Exception,), {}))

        talk.app.on_data = fail
        talk.receive(b"x")
    await talk.turn()
    talk.receive(b"y" * 1000)
    await talk.turn()
    assert request.ended == ["close"]
    assert b"y" not in request.body
    assert talk.ending
    assert len(caplog.records) == (how == "fail")
    talk.transport.abort()
    await talk.turn()
    assert request.ended == ["close"]


async def test_bulk_reading_passes_flow_control_on() -> None:
    """While a body is read in bulk the connection still hears of a stalled peer."""
    talk = Talk()
    talk.receive(post(200_000))
    (request,) = talk.app.requests
    talk.transport.stalled = True
    request.connection.write_headers(("", 200, "OK"), [(b"date", b"x")])
    pending = request.connection.write(b"x" * 70_000)
    assert not pending.done()
    talk.transport.take()
    assert pending.done()
    assert talk.transport.reading


@pytest.mark.parametrize("slow", [False, True], ids=["taken", "held"])
@on_both_loops
async def test_bulk_reading_on_a_real_socket(slow: bool) -> None:
    """Both event loops change between the protocols in the middle of what they read."""
    app = App()
    if slow:
        app.on_data = lambda request: asyncio.sleep(0)
    body = bytes(i % 251 for i in range(1_000_003))
    async with served(app) as client:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(
            loop.sock_sendall(client, (post(len(body)) + body + NEXT) * 2)
        )
        received = b""
        while received.count(b"200 OK") < 4:
            data = await loop.sock_recv(client, 65536)
            assert data
            received += data
        await sending
    assert [request.body for request in app.requests] == [body, b"", body, b""]
    assert all(request.ended == ["finish"] for request in app.requests)


async def test_one_buffer_serves_all() -> None:
    """Connections share what they read into: what is in it is taken before another reads."""
    talk = Talk()
    assert talk.http1.bulk_buffer() is talk.http1.bulk_buffer()
    for _ in range(2):
        talk.receive(post(100_000), b"x" * 100_000)
    assert talk.statuses == [200, 200]
