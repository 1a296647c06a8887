"""Back-pressure: a peer that does not read, and an application that does not take."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from edgeserver.errors import StreamClosedError
from edgeserver.http1.request_reader import HELD_INPUT
from edgeserver.httputil import HTTPHeaders
from tests.http1.conversation import HIGH_WATER, App, Recorder, TakingApp, Talk, served
from tests.loops import on_both_loops

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def start(request: Recorder) -> Any:
    """Write a head of an answer of no declared length."""
    return request.connection.write_headers(("", 200, "OK"), HTTPHeaders())


# Towards the peer.


async def test_futures_are_done_while_the_peer_reads() -> None:
    """A write to a peer that reads is done at once."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(GET)
    (request,) = talk.app.requests
    assert start(request).done()
    assert request.connection.write(b"x").done()
    assert request.connection.write(b"").done()


async def test_futures_wait_for_a_peer_that_stalls() -> None:
    """A write beyond what the transport holds is pending until the peer has taken it."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(GET)
    (request,) = talk.app.requests
    talk.transport.stalled = True
    start(request)
    first = request.connection.write(b"x" * (HIGH_WATER + 1))
    second = request.connection.write(b"y")
    empty = request.connection.write(b"")
    assert not first.done()
    assert not second.done()
    assert not empty.done()
    talk.transport.take()
    assert first.done()
    assert second.done()
    assert empty.done()
    assert request.connection.write(b"z").done()


@pytest.mark.parametrize("how", ["lost", "abort"])
async def test_a_loss_resolves_what_is_pending(how: str) -> None:
    """When the connection goes, pending writes end normally, and the next one fails."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(GET)
    (request,) = talk.app.requests
    talk.transport.stalled = True
    start(request)
    pending = request.connection.write(b"x" * (HIGH_WATER + 1))
    if how == "lost":
        talk.transport.abort()
    else:
        request.connection.abort()
        talk.transport.abort()
    await talk.turn()
    assert pending.result() is None
    failed = [
        request.connection.write(b"x"),
        request.connection.write_headers(("", 200, "OK"), HTTPHeaders()),
    ]
    for future in failed:
        with pytest.raises(StreamClosedError):
            future.result()
    request.connection.finish()
    with pytest.raises(StreamClosedError):
        request.connection.detach()


async def test_a_cancelled_writer_disturbs_nobody() -> None:
    """An application may cancel the future that it waits for."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(GET)
    (request,) = talk.app.requests
    talk.transport.stalled = True
    start(request)
    first = request.connection.write(b"x" * (HIGH_WATER + 1))
    second = request.connection.write(b"x")
    first.cancel()
    talk.transport.take()
    assert second.done()


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
@pytest.mark.parametrize("segments", [1, 50], ids=["one-segment", "one-each"])
@pytest.mark.parametrize("soon", [False, True], ids=["sync", "soon"])
async def test_a_peer_that_reads_nothing_is_asked_nothing_more(
    app: Any, segments: int, soon: bool
) -> None:
    """Requests are not begun while the answers before them are not taken: memory is bounded."""
    talk = Talk(app=app())
    talk.transport.stalled = True
    body = b"x" * 40_000

    def answer(request: Recorder) -> None:
        if soon:
            asyncio.get_running_loop().call_soon(request.answer, body)
        else:
            request.answer(body)

    talk.app.on_finish = answer
    for _ in range(segments):
        talk.receive(GET * (50 // segments))
        await talk.turn(2)
    await talk.turn(200)
    assert len(talk.app.requests) == 2
    assert talk.transport.buffered < 3 * HIGH_WATER
    for _ in range(60):
        talk.transport.take()
        await talk.turn()
    assert talk.bodies == [body] * 50
    assert talk.transport.reading


async def test_a_peer_that_reads_nothing_fills_no_input_either() -> None:
    """While answers are not taken, no more input is kept than always."""
    talk = Talk()
    talk.transport.stalled = True
    talk.app.on_finish = lambda request: request.answer(b"x" * (2 * HIGH_WATER))
    for _ in range(HELD_INPUT // len(GET) + 200):
        talk.receive(GET)
    assert len(talk.app.requests) == 1
    assert not talk.transport.reading


async def test_a_pause_in_the_middle_of_an_answer_keeps_reading() -> None:
    """A stalled peer's own end is still heard while an answer is being written."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.transport.stalled = True
    talk.receive(GET)
    (request,) = talk.app.requests
    start(request)
    request.connection.write(b"x" * (2 * HIGH_WATER))
    assert talk.transport.reading
    request.connection.finish()
    talk.transport.take()
    await talk.turn()
    talk.receive(GET)
    assert len(talk.app.requests) == 2


async def test_a_pause_inside_a_synchronous_answer_is_lifted() -> None:
    """An answer that pauses the transport, and is not complete, leaves the socket readable."""
    talk = Talk()
    talk.transport.stalled = True

    def answer(request: Recorder) -> None:
        start(request)
        request.connection.write(b"x" * (2 * HIGH_WATER))

    talk.app.on_finish = answer
    talk.receive(GET)
    assert talk.transport.reading


@pytest.mark.parametrize("soon", [False, True], ids=["sync", "soon"])
@on_both_loops
async def test_a_peer_that_sends_all_and_reads_late(soon: bool) -> None:
    """A pipeline and the end of the input in one go are answered to the last byte, over sockets."""
    app = App()
    body = b"x" * 100_000

    def answer(request: Recorder) -> None:
        if soon:
            asyncio.get_running_loop().call_soon(request.answer, body)
        else:
            request.answer(body)

    app.on_finish = answer
    count = 200
    async with served(app) as client:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, GET * count)
        client.shutdown(socket.SHUT_WR)
        while not app.requests:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(app.requests) < count  # kernel buffers hold some megabytes, and not all of it
        received = bytearray()
        while data := await loop.sock_recv(client, 1 << 20):
            received += data
    assert received.count(b"HTTP/1.1 200 OK") == count
    assert received.count(body) == count


# Towards the application.


def hold(request: Recorder) -> asyncio.Future[None]:
    """Take no more until the test says so."""
    request.gate = asyncio.get_running_loop().create_future()
    return request.gate


@pytest.mark.parametrize("stage", ["head", "data"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_awaitable_holds_the_body_back(stage: str, chunked: bool) -> None:
    """Nothing more is delivered while the application's awaitable is pending."""
    talk = Talk()
    setattr(talk.app, f"on_{stage}", hold)
    talk.receive(*([CHUNKED, b"1\r\na\r\n"] if chunked else [POST % 3, b"a"]))
    talk.receive(b"2\r\nbc\r\n0\r\n\r\n" if chunked else b"bc", GET)
    (request,) = talk.app.requests
    delivered = b"" if stage == "head" else b"a"
    assert request.body == delivered
    assert request.ended == []
    request.gate.set_result(None)
    await talk.turn()
    if stage == "data":
        assert request.body == b"abc"
        assert request.ended == []
        request.gate.set_result(None)
        await talk.turn()
        talk.app.on_data = None
    assert request.body == b"abc"
    assert request.ended == ["finish"]
    assert talk.statuses[0] == 200


@pytest.mark.parametrize(
    "kind", ["coroutine", "done-coroutine", "future", "done-future", "awaitable"]
)
async def test_kinds_of_awaitables(kind: str) -> None:
    """Coroutines, futures and other awaitables are all waited for."""

    class Awaitable:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()

    async def nothing() -> None:
        pass

    def done() -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    kinds: dict[str, Any] = {
        "coroutine": lambda: asyncio.sleep(0),
        "done-coroutine": nothing,
        "future": lambda: asyncio.ensure_future(asyncio.sleep(0)),
        "done-future": done,
        "awaitable": Awaitable,
    }
    talk = Talk()
    talk.app.on_head = talk.app.on_data = lambda request: kinds[kind]()
    talk.receive(POST % 3 + b"abc" + POST % 0)
    await talk.turn(20)
    assert talk.statuses == [200, 200]
    assert talk.app.requests[0].body == b"abc"


@pytest.mark.parametrize("stage", ["head", "data"])
async def test_reading_pauses_beyond_what_is_held(stage: str) -> None:
    """While an awaitable is pending at most 64 KiB are kept, and then the socket is left alone."""
    talk = Talk(chunk_size=4096)
    setattr(talk.app, f"on_{stage}", hold)
    talk.receive(POST % 1_000_000)
    if stage == "data":
        talk.receive(b"x" * 100)
    held = 0
    while talk.transport.reading and held < 1_000_000:
        talk.receive(b"x" * 1000)
        held += 1000
    assert HELD_INPUT < held <= HELD_INPUT + 1000 or (stage == "data" and held <= 1000)
    (request,) = talk.app.requests
    setattr(talk.app, f"on_{stage}", None)
    request.gate.set_result(None)
    await talk.turn()
    assert talk.transport.reading
    before = 100 if stage == "data" else 0
    while len(request.body) < 1_000_000:
        left = 1_000_000 - held - before
        talk.receive(b"x" * min(60_000, left))
        held += min(60_000, left)
        await talk.turn()
    assert request.ended == ["finish"]


async def test_reading_pauses_behind_a_request_that_is_not_answered() -> None:
    """Pipelined input is kept up to 64 KiB while an answer is outstanding."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(GET)
    count = 0
    while talk.transport.reading:
        talk.receive(GET)
        count += 1
    assert HELD_INPUT < count * len(GET) <= HELD_INPUT + len(GET)
    talk.app.on_finish = None
    talk.app.requests[0].answer(b"ok")
    await talk.turn(2 + count // 64 * 2)
    assert talk.transport.reading
    assert talk.statuses == [200] * (count + 1)
