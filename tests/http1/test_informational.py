"""Answers before the answer: 100 (Continue), other 1xx, and 101 with what follows it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError, StreamClosedError
from edgeserver.httputil import HTTPHeaders
from tests.http1.conversation import HIGH_WATER, Recorder, Talk, fields, request_of

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def expecting(value: str = "100-continue", version: str = "1.1", length: int = 3) -> bytes:
    """Return a head that asks whether its body is wanted."""
    return (
        f"POST / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    "value", ["100-continue", "100-CONTINUE", "100-Continue", "x, 100-continue"]
)
async def test_continue(value: str) -> None:
    """A client that asks is told to go on, whatever the case, and the connection lives on."""
    talk = Talk()
    talk.receive(expecting(value))
    assert talk.sent == CONTINUE
    talk.receive(b"abc")
    assert talk.statuses == [100, 200]
    assert b"close" not in talk.sent
    talk.receive(expecting(value), b"def")
    assert talk.statuses == [100, 200, 100, 200]
    assert [request.body for request in talk.app.requests] == [b"abc", b"def"]


async def test_continue_for_a_chunked_body() -> None:
    """The same for a body that says its own length."""
    talk = Talk()
    talk.receive(
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert talk.sent == CONTINUE
    talk.receive(b"3\r\nabc\r\n0\r\n\r\n")
    assert talk.statuses == [100, 200]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(expecting(version="1.0"), id="http-1.0"),
        pytest.param(expecting("something-else"), id="unknown"),
        pytest.param(expecting("100-continued"), id="longer"),
        pytest.param(expecting() + b"a", id="body-has-begun"),
        pytest.param(expecting() + b"abc", id="body-is-there"),
        pytest.param(expecting(length=0), id="no-body"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", id="get"),
    ],
)
async def test_no_continue(data: bytes) -> None:
    """Who did not ask, may not be told, or has sent its body already is told nothing."""
    talk = Talk()
    talk.receive(data)
    assert CONTINUE not in talk.sent


async def test_continue_waits_for_the_application() -> None:
    """An awaitable of `headers_received` decides first."""
    talk = Talk()
    gate = asyncio.get_running_loop().create_future()
    talk.app.on_head = lambda request: gate
    talk.receive(expecting())
    assert talk.sent == b""
    gate.set_result(None)
    await talk.turn()
    assert talk.sent == CONTINUE


async def test_a_final_answer_before_the_body() -> None:
    """An answer instead of 100 says that the connection closes, and it does: no body is read."""
    talk = Talk()
    talk.app.on_head = lambda request: request.answer(b"no", 403)
    talk.receive(expecting())
    await talk.turn()
    assert talk.statuses == [403]
    assert b"\r\nConnection: close\r\n" in talk.sent
    assert talk.transport.eof_written
    assert talk.app.requests[0].ended == ["close"]
    talk.receive(b"abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(talk.app.requests) == 1


async def test_too_large_a_body_is_not_asked_for() -> None:
    """A body beyond the limit is refused instead of asked for."""
    talk = Talk(max_body_size=2)
    talk.receive(expecting())
    assert talk.statuses == [413]


async def test_the_application_continues_itself() -> None:
    """An application that writes the 100 itself is not repeated."""
    talk = Talk()
    talk.app.on_head = lambda request: (
        request.connection.write_headers(("", 100, "Continue"), HTTPHeaders()),
        None,
    )[1]
    talk.receive(expecting())
    assert talk.sent == CONTINUE
    talk.receive(b"abc")
    assert talk.statuses == [100, 200]
    assert b"close" not in talk.sent


@pytest.mark.parametrize("headers", [HTTPHeaders({"Link": "</s.css>"}), [(b"link", b"</s.css>")]])
async def test_early_hints(headers: Any) -> None:
    """Any number of 1xx goes before the answer, without framing of their own."""
    talk, request = request_of()
    for _ in range(2):
        request.connection.write_headers(("", 103, "Early Hints"), headers)
    request.answer(b"ok")
    hint = b"http/1.1 103 early hints\r\nlink: </s.css>\r\n\r\n"
    assert talk.sent.lower().startswith(hint * 2 + b"http/1.1 200 ok\r\n")
    assert talk.connection.exchange is None


async def test_informational_has_no_framing() -> None:
    """Neither Content-Length nor Transfer-Encoding stands in a 1xx."""
    talk, request = request_of()
    lines = fields(Content_Length="5", Transfer_Encoding="chunked")
    request.connection.write_headers(("", 102, "Processing"), lines)
    assert talk.sent == b"HTTP/1.1 102 Processing\r\nDate: x\r\n\r\n"


async def test_informational_is_not_for_1_0() -> None:
    """A 1.0 client gets no 1xx, and a 101 is the application's mistake."""
    talk, request = request_of(version="1.0")
    assert request.connection.write_headers(("", 103, "Early Hints"), fields()).done()
    assert talk.sent == b""
    with pytest.raises(ValueError, match="101"):
        request.connection.write_headers(("", 101, "Switching Protocols"), fields())
    request.answer(b"ok")
    assert talk.statuses == [200]


async def test_a_refusal_after_an_informational() -> None:
    """A 1xx is no answer: what is refused later still gets one."""
    talk = Talk()

    def refuse(request: Recorder) -> None:
        request.connection.write_headers(("", 103, "Early Hints"), HTTPHeaders())
        raise HTTPInputError("no")

    talk.app.on_finish = refuse
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert talk.statuses == [103, 400]


# 101 and what follows it.

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"


def switch(request: Recorder) -> Any:
    """Answer 101, and take the connection over."""
    request.connection.write_headers(
        ("", 101, "Switching Protocols"), HTTPHeaders({"Connection": "Upgrade", "Upgrade": "test"})
    )
    request.connection.finish()
    return request.connection.detach()


@pytest.mark.parametrize("leftover", [b"", b"GET /not-http HTTP/1.1\r\nHost: a\r\n\r\n", b"x" * 9])
async def test_detach(leftover: bytes) -> None:
    """After 101 the stream has every byte that came, and nothing of it is a request."""
    talk = Talk()
    streams = []
    talk.app.on_finish = lambda request: streams.append(switch(request))
    talk.receive(UPGRADE + leftover)
    (stream,) = streams
    assert talk.sent.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
    assert b"\r\nConnection: close" not in talk.sent
    talk.transport.protocol.data_received(b"more")
    assert await stream.read_bytes(len(leftover) + 4) == leftover + b"more"
    await stream.write(b"frame")
    assert talk.sent.endswith(b"\r\n\r\nframe")
    assert len(talk.app.requests) == 1
    assert talk.app.closed == 1
    assert not talk.service.connections.open
    assert talk.service.connections.detached_count() == 1
    connection = talk.app.requests[0].connection
    assert connection.stream is None
    assert isinstance(connection.write(b"x").exception(), StreamClosedError)
    with pytest.raises(StreamClosedError):
        connection.detach()
    stream.close()
    await talk.turn()
    assert talk.service.connections.detached_count() == 0


async def test_detach_later() -> None:
    """Between the 101 and a later `detach` nothing is read as a request, and nothing is lost."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(UPGRADE)
    connection = talk.app.requests[0].connection
    connection.write_headers(("", 101, "Switching Protocols"), HTTPHeaders())
    connection.finish()
    talk.receive(b"GET /not-http HTTP/1.1\r\n", b"Host: a\r\n\r\n")
    await talk.later(100)
    assert len(talk.app.requests) == 1
    assert not talk.transport.closed
    stream = connection.detach()
    assert await stream.read_until(b"\r\n\r\n") == b"GET /not-http HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_detach_with_much_leftover_reads_on() -> None:
    """A connection that had paused reading is handed over with reading resumed."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(UPGRADE)
    talk.receive(b"x" * 70_000)
    assert not talk.transport.reading
    stream = switch(talk.app.requests[0])
    assert len(await stream.read_bytes(70_000)) == 70_000
    assert talk.transport.reading


async def test_detach_tells_of_a_stalled_peer() -> None:
    """A peer that takes nothing is known to the stream, too: its writes wait."""
    talk, request = request_of()
    talk.transport.stalled = True
    request.connection.write(b"x" * (HIGH_WATER + 1))
    stream = request.connection.detach()
    writing = stream.write(b"y")
    assert not writing.done()
    talk.transport.take()
    assert writing.done()


async def test_a_lost_peer_of_a_switched_connection() -> None:
    """A peer that goes between the 101 and `detach` is told to the close callback."""
    talk, request = request_of()
    told = []
    request.connection.set_close_callback(lambda: told.append(1))
    request.connection.write_headers(("", 101, "Switching Protocols"), HTTPHeaders())
    request.connection.finish()
    talk.transport.abort()
    await talk.turn()
    assert told == [1]
    with pytest.raises(StreamClosedError):
        request.connection.detach()
