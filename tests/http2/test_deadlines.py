"""Who is late, and what follows: the clock of the event loop is put forward."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2.conversation import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Talk,
    frame,
    number,
    settings,
)


async def pass_time(talk: Talk, seconds: float) -> None:
    """Let time pass in steps of a second, as the clock of a server sees it."""
    for _ in range(int(seconds)):
        await talk.later(1)


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE, PREFACE + settings()[:5]], ids=len)
async def test_a_preface_that_does_not_come(sent: bytes) -> None:
    """Whoever connects and says nothing is told goodbye after header_timeout."""
    talk = Talk(greet=False, header_timeout=5, idle_connection_timeout=100)
    if sent:
        talk.receive(sent)
    await pass_time(talk, 4)
    assert not talk.goaways
    await pass_time(talk, 4)
    assert [last for last, _ in talk.goaways] == [0]
    assert talk.ending


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"\0\0", id="half a frame's header"),
        pytest.param(frame(HEADERS, 5, 1, b"\x82" * 9)[:12], id="half a frame"),
        pytest.param(frame(HEADERS, 1, 1, b"\x82"), id="half a block"),
        pytest.param(frame(DATA, 0, 1, b"12345")[:12], id="half of nobody's DATA"),
    ],
)
async def test_a_head_that_stops(half: bytes) -> None:
    """It has header_timeout, which more CONTINUATION or PINGs do not prolong."""
    talk = Talk(header_timeout=5, idle_connection_timeout=100)
    talk.receive(half)
    await pass_time(talk, 3)
    if len(half) == 10:  # a block that may go on
        talk.receive(frame(CONTINUATION, 0, 1, b"\x86"))
    assert not talk.goaways
    await pass_time(talk, 4)
    assert talk.goaways == [(0, 11)]
    assert talk.ending


async def test_an_idle_connection() -> None:
    """It is closed after idle_connection_timeout without a stream; PINGs do not prolong that."""
    talk = Talk(idle_connection_timeout=5)
    talk.ask()
    for _ in range(8):
        await talk.later(1)
        if not talk.ending:
            talk.receive(frame(PING, 0, 0, b"12345678"))
    assert talk.goaways == [(1, 0)]
    assert talk.ending


async def test_a_stream_that_is_served_keeps_its_connection() -> None:
    """Idle means that nothing is asked for."""
    talk = Talk(idle_connection_timeout=5)
    talk.app.on_finish = lambda request: None
    talk.ask()
    await pass_time(talk, 20)
    assert not talk.ending
    talk.app.requests[0].answer(b"late")
    assert talk.answer(1).body == b"late"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_body_that_stops(begun: bool) -> None:
    """It is told 408, and its stream ends; the others go on."""
    talk = Talk(body_timeout=5, idle_connection_timeout=100)
    late = talk.post()
    if begun:
        talk.app.requests[0].connection.write_headers(("", 200, ""), [])
    await pass_time(talk, 3)
    other = talk.post()
    await pass_time(talk, 4)
    assert talk.answer(late).status == (200 if begun else 408)
    assert talk.answer(late).reset == (1 if begun else 0)
    assert talk.app.requests[0].ended == ["close"]
    talk.data(other, b"x", ends=True)
    assert talk.answer(other).body == b"ok"


def unread(window: int, count: int = 1, **limits: Any) -> Talk:
    """Return a conversation whose peer grants `window` bytes of each answer, and no more."""
    talk = Talk(write_timeout=5, idle_connection_timeout=100, **limits)
    talk.app.on_finish = lambda request: None
    talk.receive(settings(_4=window))
    for _ in range(count):
        talk.ask()
        talk.app.requests[-1].connection.write_headers(("", 200, ""), [])
        talk.app.requests[-1].connection.write(bytes(30_000))
    return talk


async def test_a_peer_that_opens_no_window() -> None:
    """Its streams are given up, and the connection with them."""
    talk = unread(0, count=2)
    await pass_time(talk, 4)
    assert not talk.goaways
    await pass_time(talk, 5)
    assert [talk.answer(each).reset for each in (1, 3)] == [8, 8]
    assert talk.goaways == [(3, 0)]
    await talk.turn()
    assert talk.ending


async def test_one_stream_whose_window_stays_shut() -> None:
    """It alone is given up, while others get on."""
    talk = unread(0, count=2)
    for _ in range(9):
        await talk.later(1)
        talk.receive(frame(WINDOW_UPDATE, 0, 3, number(2000)))
    assert talk.answer(1).reset == 8
    assert talk.answer(3).reset is None
    assert not talk.goaways


async def test_a_transport_that_takes_nothing() -> None:
    """As in HTTP/1: it is aborted after write_timeout."""
    talk = Talk(write_timeout=5, idle_connection_timeout=100)
    talk.app.on_finish = lambda request: None
    talk.receive(settings(_4=1 << 20), frame(WINDOW_UPDATE, 0, 0, number(1 << 20)))
    talk.ask()
    talk.transport.stalled = True
    talk.app.requests[0].connection.write_headers(("", 200, ""), [])
    talk.app.requests[0].connection.write(bytes(200_000))
    assert talk.sent
    await pass_time(talk, 8)
    assert talk.transport.aborted


async def test_a_connection_that_is_lost() -> None:
    """Every application hears of it once, and nothing is left."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.ask()
    talk.post()
    closed: list[int] = []
    talk.app.requests[0].connection.set_close_callback(lambda: closed.append(1))
    talk.connection.connection_lost(None)
    assert closed == [1]
    assert talk.app.requests[1].ended == ["close"]
    assert talk.app.closed == 1
    assert len(talk.service.connections) == 0
    assert talk.service.budget.held == 0


async def test_a_reset_is_heard_by_the_application() -> None:
    """As a client that leaves is in HTTP/1, but for this stream alone."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.ask()
    posted = talk.post()
    closed: list[int] = []
    talk.app.requests[0].connection.set_close_callback(lambda: closed.append(1))
    talk.receive(frame(RST_STREAM, 0, 1, number(8)), frame(DATA, 0, posted, b"x"))
    assert closed == [1]
    assert talk.app.requests[1].ended == []
    assert talk.app.requests[1].body == b"x"


@pytest.mark.parametrize("served", [False, True])
async def test_a_peer_that_closes_its_half(served: bool) -> None:
    """What it has asked for completely is still answered."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    if served:
        talk.ask()
    half = talk.post()
    talk.receive_eof()
    assert talk.app.requests[-1].ended == ["close"]
    assert half
    if not served:
        assert talk.ending
        return
    assert not talk.ending
    talk.app.requests[0].answer(b"ok")
    assert talk.answer(1).body == b"ok"
    await talk.turn()
    assert talk.ending
