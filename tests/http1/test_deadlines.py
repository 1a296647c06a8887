"""Deadlines: a peer that is late is told so where it can be, and never keeps a connection.

The clock of the event loop is put forward; nothing here waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError, StreamClosedError
from tests.http1.conversation import HIGH_WATER, Recorder, Talk, fields, request_of

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
OK = ("", 200, "OK")


# Before a request.


@pytest.mark.parametrize("before", [b"", b"\r\n", GET, b"\r\n" + GET], ids=ascii)
async def test_idle(before: bytes) -> None:
    """A connection without a request closes silently after its time, counted from the last."""
    talk = Talk(idle_connection_timeout=75)
    talk.receive(before)
    for _ in range(2):
        await talk.later(70)
        assert not talk.transport.closed
        talk.receive(GET)
    answers = talk.sent
    await talk.later(80)
    assert talk.transport.closed
    assert not talk.transport.aborted
    assert talk.sent == answers


async def test_idle_with_an_answer_that_is_not_taken() -> None:
    """A peer that does not take the answer either is cut."""
    talk = Talk(idle_connection_timeout=10)
    talk.transport.stalled = True
    talk.receive(GET)
    await talk.later(12)
    assert talk.transport.aborted


@pytest.mark.parametrize(
    ("idle", "header"), [(1, 60), (60, 1), (1, 1)], ids=["idle-is-less", "header-is-less", "equal"]
)
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
async def test_half_a_head_has_the_smaller_time(before: bytes, idle: float, header: float) -> None:
    """Tornado's `idle_connection_timeout` is the time for the next head to be there."""
    talk = Talk(header_timeout=header, idle_connection_timeout=idle)
    talk.receive(before + b"GET / HTTP/1.1\r\nHost:")
    await talk.later(0.5)
    assert not talk.transport.closed
    await talk.later(5)
    assert b"HTTP/1.1 408 " in talk.sent


@pytest.mark.parametrize("before", [b"", GET, GET * 3], ids=["first", "second", "fourth"])
@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"\r\nGET / H", b"\r"])
async def test_a_slow_head(part: bytes, before: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A head has its time from its first byte, however many come later; then there is 408."""
    caplog.set_level(logging.INFO)
    talk = Talk(header_timeout=60, idle_connection_timeout=3600)
    talk.receive(before + part)
    await talk.later(50)
    if part.startswith(b"G"):
        talk.receive(b"E" if part == b"G" else b"")
    await talk.later(5)
    assert not talk.ending
    await talk.later(10)
    assert talk.statuses[-1] == 408
    assert talk.ending
    assert [record.getMessage() for record in caplog.records] == [
        "Timeout reading head from 192.0.2.7"
    ]
    talk.receive(b"T / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(talk.app.requests) == before.count(b"GET")


async def test_a_pipelined_head_has_its_time_from_when_it_is_looked_at() -> None:
    """Half a head behind a slow answer is not late because of the answer."""
    talk = Talk(header_timeout=60)
    talk.app.on_finish = lambda request: None
    talk.receive(GET + b"GET / HT")
    await talk.later(100)
    talk.app.requests[0].answer(b"ok")
    await talk.later(50)
    assert not talk.ending
    talk.receive(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert len(talk.app.requests) == 2


async def test_the_application_has_all_the_time() -> None:
    """Neither limit runs while an answer is outstanding, nor while `headers_received` waits."""
    talk = Talk(header_timeout=1, idle_connection_timeout=1, body_timeout=1)
    gate = asyncio.get_running_loop().create_future()
    talk.app.on_head = lambda request: gate
    talk.app.on_finish = lambda request: None
    talk.receive_bytewise(POST)
    await talk.later(1000)
    assert not talk.ending
    talk.app.on_head = None
    gate.set_result(None)
    await talk.turn()
    talk.receive(b"x" * 100)
    await talk.later(1000)
    assert not talk.ending
    talk.app.requests[0].answer(b"ok")
    assert talk.statuses == [200]


# The body.


@pytest.mark.parametrize("data", [b"", b"x" * 99], ids=["nothing", "nearly-all"])
async def test_a_slow_body(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A body has its time as a whole; then there is 408, and the delegate hears of the end."""
    caplog.set_level(logging.INFO)
    talk = Talk(body_timeout=60)
    talk.receive(POST, data)
    await talk.later(50)
    assert not talk.ending
    await talk.later(20)
    assert talk.statuses == [408]
    assert talk.ending
    assert talk.app.requests[0].ended == ["close"]
    assert caplog.records[0].getMessage() == "Timeout reading body from 192.0.2.7"


async def test_a_slow_body_without_a_limit() -> None:
    """Without a limit a body may take for ever."""
    talk = Talk(header_timeout=1, idle_connection_timeout=1)
    talk.receive(POST)
    await talk.later(10_000)
    assert not talk.ending


@pytest.mark.parametrize("when", ["start", "head", "data"])
async def test_body_timeout_of_one_request(when: str) -> None:
    """An application sets the limit for one request, before or during its body."""
    talk = Talk(body_timeout=1000)

    def limit(request: Recorder) -> None:
        request.connection.set_body_timeout(10)

    if when == "data":
        talk.app.on_data = limit
    else:
        talk.app.on_head = limit
    talk.receive(POST, b"x")
    await talk.later(5)
    assert not talk.ending
    talk.receive(b"x" * 99)
    assert talk.statuses == [200]
    talk.app.on_head = talk.app.on_data = None
    talk.receive(POST, b"x")
    await talk.later(500)
    assert not talk.ending
    talk.receive(b"x" * 99)
    (talk.app.on_head, talk.app.on_data) = (None, limit) if when == "data" else (limit, None)
    talk.receive(POST, b"x")
    await talk.later(15)
    assert talk.statuses == [200, 200, 408]


async def test_a_slow_body_behind_an_answer_that_has_begun() -> None:
    """Where an answer has begun no 408 is put into its middle."""
    talk = Talk(body_timeout=10)
    talk.app.on_head = lambda request: request.connection.write_headers(OK, fields()) and None
    talk.receive(POST)
    before = talk.sent
    await talk.later(20)
    assert talk.sent == before
    assert talk.ending


# The peer that does not read.


async def test_a_peer_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that takes nothing for the time of a write is cut, and the application is told."""
    caplog.set_level(logging.INFO)
    talk, request = request_of(write_timeout=60)
    told: list[int] = []
    request.connection.set_close_callback(lambda: told.append(1))
    talk.transport.stalled = True
    request.connection.write_headers(OK, fields())
    pending = request.connection.write(b"x" * (2 * HIGH_WATER))
    await talk.later(50)
    assert not pending.done()
    await talk.later(20)
    assert talk.transport.aborted
    assert pending.result() is None
    assert told == [1]
    assert isinstance(request.connection.write(b"y").exception(), StreamClosedError)
    assert [record.getMessage() for record in caplog.records] == [
        "Timeout writing to 192.0.2.7: it takes no bytes"
    ]


async def test_a_peer_that_takes_little() -> None:
    """A peer that takes a little each time is slow, not gone."""
    talk, request = request_of(write_timeout=60)
    talk.transport.stalled = True
    request.connection.write_headers(OK, fields())
    pending = request.connection.write(b"x" * (2 * HIGH_WATER))
    for _ in range(20):
        talk.transport.take(1000)
        await talk.later(61)
    assert not talk.transport.closed
    assert not pending.done()
    talk.transport.take()
    await talk.later(200)
    assert not talk.transport.closed


async def test_a_peer_that_does_not_take_the_last_answer() -> None:
    """After the close, too, a peer has only the time of a write to take what is left."""
    talk, request = request_of(write_timeout=60, lines="Connection: close\r\n")
    talk.transport.stalled = True
    closing: list[int] = []
    talk.transport.close = lambda: closing.append(1)  # as with a full buffer
    request.answer(b"x" * 1000)
    assert closing == [1]
    talk.transport.take(10)
    await talk.later(61)
    assert not talk.transport.aborted
    await talk.later(61)
    assert talk.transport.aborted


# The peer that has closed its half.


@pytest.mark.parametrize("told", ["told", "not-listening"])
async def test_half_closed_with_an_answer_owed(told: str) -> None:
    """The application is told once, and still answers; then the connection closes."""
    talk, request = request_of()
    calls: list[int] = []
    if told == "told":
        request.connection.set_close_callback(lambda: calls.append(1))
    talk.receive_eof()
    await talk.turn()
    assert not talk.transport.closed
    request.answer(b"late")
    await talk.turn()
    assert talk.bodies == [b"late"]
    assert talk.transport.closed
    assert calls == ([1] if told == "told" else [])


async def test_half_closed_and_no_answer() -> None:
    """An answer that does not come is not waited for longer than a write may take."""
    talk, _ = request_of(write_timeout=60)
    talk.receive_eof()
    await talk.later(50)
    assert not talk.transport.closed
    await talk.later(20)
    assert talk.transport.closed


async def test_half_closed_and_a_long_answer() -> None:
    """An answer that gets on is not cut because its reader has closed its half."""
    talk, request = request_of(write_timeout=60)
    talk.receive_eof()
    request.connection.write_headers(OK, fields())
    for _ in range(10):
        await talk.later(50)
        request.connection.write(b"x")
        await talk.turn()
    request.connection.finish()
    assert talk.sent.endswith(b"0\r\n\r\n")
    assert talk.transport.closed
    assert not talk.transport.aborted


@pytest.mark.parametrize("part", [b"", b"G", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=ascii)
async def test_the_end_before_a_request(part: bytes) -> None:
    """The end of the input between requests, or in a head, closes silently."""
    talk = Talk()
    talk.receive(part)
    talk.receive_eof()
    await talk.turn()
    assert talk.transport.closed
    assert talk.sent == b""
    assert talk.app.closed == 1


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_end_in_a_body(held: bool, chunked: bool) -> None:
    """The end of the input in a body is told to the delegate, once, when it takes again."""
    talk = Talk()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talk.app.on_data = lambda request: gate if held else None
    if chunked:
        talk.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
    else:
        talk.receive(POST + b"ab")
    talk.receive_eof()
    await talk.turn()
    (request,) = talk.app.requests
    if held:
        assert request.ended == []
        gate.set_result(None)
        await talk.turn()
    assert request.ended == ["close"]
    assert request.body == b"ab"
    assert talk.transport.closed
    assert talk.sent == b""


async def test_the_end_behind_a_whole_body_that_is_held() -> None:
    """A request that has come whole is served, even if the end of the input came before it was."""
    talk = Talk(write_timeout=60)
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talk.app.on_head = lambda request: gate
    told: list[int] = []
    talk.app.on_finish = lambda request: request.connection.set_close_callback(
        lambda: told.append(1)
    )
    talk.receive(POST + b"x" * 100)
    talk.receive_eof()
    await talk.later(1000)
    gate.set_result(None)
    await talk.turn()
    (request,) = talk.app.requests
    assert request.ended == ["finish"]
    assert told == [1]
    await talk.later(50)
    request.answer(b"ok")
    await talk.turn()
    assert talk.bodies == [b"ok"]
    assert talk.transport.closed


async def test_the_end_without_half_close() -> None:
    """Where a transport cannot be half closed the end is the end."""
    talk, request = request_of()
    talk.transport.can_write_eof = lambda: False
    told: list[Any] = []
    request.connection.set_close_callback(lambda: told.append(1))
    talk.receive_eof()
    await talk.turn()
    assert talk.transport.closed
    assert told == [1]


async def test_the_end_and_then_a_refusal() -> None:
    """A peer that has closed its half reads a refusal that comes later, and then our end."""
    talk = Talk()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talk.app.on_head = lambda request: gate
    talk.receive(POST + b"x" * 100)
    talk.receive_eof()
    gate.set_exception(HTTPInputError("no"))
    await talk.turn()
    assert talk.statuses == [400]
    assert talk.transport.closed
    assert not talk.transport.aborted
