"""The end of a server: nothing that a client has asked for is lost."""

from __future__ import annotations

import pytest

from tests.http2.conversation import ACK, PING, Talk, frame

LAST = 2**31 - 1


def busy(**limits: float) -> Talk:
    """Return a conversation in which a request waits for its answer."""
    talk = Talk(**limits)  # type: ignore[arg-type]  # any limit
    talk.app.on_finish = lambda request: None
    talk.ask()
    return talk


@pytest.mark.parametrize("how", ["ping", "time"])
async def test_goaway_twice(how: str) -> None:
    """What was on its way is served; after the PING's answer, or a second, no more is."""
    talk = busy()
    talk.service.drain(1.0)
    assert talk.goaways == [(LAST, 0)]
    (ping,) = talk.frames(PING)
    on_its_way = talk.ask()
    if how == "ping":
        talk.receive(frame(PING, ACK, 0, ping.payload))
    else:
        for _ in range(15):
            await talk.later(0.1)
    assert talk.goaways == [(LAST, 0), (3, 0)]
    late = talk.ask()
    assert talk.answer(late).reset == 7  # REFUSED_STREAM: to be asked elsewhere
    for request in talk.app.requests:
        request.answer(b"ok")
    await talk.turn()
    assert talk.answer(1).body == talk.answer(on_its_way).body == b"ok"
    assert talk.ending


async def test_an_idle_connection_is_closed_after_its_last_call() -> None:
    """It hears of it twice, too."""
    talk = Talk()
    talk.service.drain(1.0)
    (ping,) = talk.frames(PING)
    assert not talk.ending
    talk.receive(frame(PING, ACK, 0, ping.payload))
    await talk.turn()
    assert talk.goaways == [(LAST, 0), (0, 0)]
    assert talk.ending


async def test_a_drain_without_patience() -> None:
    """It says at once which stream was the last."""
    talk = busy()
    talk.service.drain()
    assert talk.goaways == [(1, 0)]
    assert not talk.ending
    talk.app.requests[0].answer(b"ok")
    await talk.turn()
    assert talk.answer(1).body == b"ok"
    assert talk.ending


async def test_a_connection_that_comes_during_a_drain() -> None:
    """It may ask once more, and is told."""
    old = Talk()
    old.service.drain(1.0)
    talk = Talk(app=old.app, http2=old.http2)
    stream = talk.ask()
    assert talk.answer(stream).body == b"ok"
    assert talk.goaways == [(LAST, 0)]


async def test_no_keep_alive() -> None:
    """The first stream is the last, and is answered."""
    talk = Talk(no_keep_alive=True)
    first = talk.ask()
    second = talk.ask()
    assert talk.goaways == [(1, 0)]
    assert talk.answer(first).body == b"ok"
    assert talk.answer(second).reset == 7
    await talk.turn()
    assert talk.ending


async def test_close_cuts_what_is_in_flight() -> None:
    """As in HTTP/1; who is idle is told."""
    cut, idle = busy(), Talk()
    cut.service.connections.close()
    idle.service.connections.close()
    assert cut.transport.aborted
    assert idle.goaways == [(0, 0)]
    assert idle.transport.closed
    assert not idle.transport.aborted


async def test_an_answer_without_an_end_can_be_cut() -> None:
    """The server sees which ones have begun and do not say how long they are."""
    talk = busy()
    connection = talk.app.requests[0].connection
    connection.write_headers(("", 200, ""), [])
    (streaming,) = talk.service.connections.streaming()
    closed: list[int] = []
    connection.set_close_callback(lambda: closed.append(1))
    streaming.leave()
    assert closed == [1]
    streaming.abort()
    assert talk.answer(1).reset == 2
    assert not talk.service.connections.streaming()
