"""The wire: how output is joined, and what is written when."""

from __future__ import annotations

import pytest

from edgeserver.errors import StreamClosedError
from edgeserver.http import batching
from edgeserver.http.batching import FLUSH_WITHIN_S
from edgeserver.http.output import JOIN_LIMIT
from tests.http1.conversation import Recorder, Talk, fields, request_of, requests_of_one_server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = ("", 200, "OK")


async def test_an_answer_in_hand_is_one_write() -> None:
    """Head, body and end of an answer that is in hand leave in one write."""
    talk = Talk()
    talk.receive(GET)
    await talk.turn(1)
    assert talk.transport.writes == 1


async def test_a_chunked_answer_in_hand_is_one_write() -> None:
    """The same in pieces, chunked, from within `finish`."""
    talk = Talk()

    def answer(request: Recorder) -> None:
        request.connection.write_headers(OK, fields())
        for _ in range(10):
            request.connection.write(b"x" * 100)
        request.connection.finish()

    talk.app.on_finish = answer
    talk.receive(GET)
    await talk.turn(1)
    assert talk.transport.writes == 1


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
async def test_the_last_answer_of_a_connection_leaves_in_its_turn(whole: bool) -> None:
    """An answer after which the connection closes is one write, and waits for no further piece."""
    talk = Talk()

    def answer(request: Recorder) -> None:
        request.connection.write_headers(
            OK, fields(Content_Length="4"), b"body"[: 4 if whole else 2]
        )
        if whole:
            request.connection.finish()

    talk.app.on_finish = answer
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await talk.turn(1)
    assert talk.transport.writes == 1
    assert talk.transport.sent.endswith(b"\r\n\r\nbody" if whole else b"\r\n\r\nbo")
    assert talk.transport.closed == whole


async def test_a_later_answer_is_one_write() -> None:
    """What is written in one turn of the loop leaves in one write, outside of its own calls too."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="4"))
    request.connection.write(b"ok")
    assert talk.transport.writes == 0
    await talk.turn(1)
    assert talk.transport.writes == 1
    request.connection.write(b"ok")
    request.connection.finish()
    await talk.turn(1)
    assert talk.transport.writes == 2
    assert talk.transport.sent.endswith(b"\r\n\r\nokok")


async def test_pieces_leave_in_the_turn_in_which_they_are_written() -> None:
    """A streamed piece waits for no other, and a head for no body: a client may want to see it."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields())
    await talk.turn(1)
    assert talk.transport.sent.endswith(b"\r\n\r\n")
    for count in range(1, 4):
        request.connection.write(b"x")
        await talk.turn(1)
        assert talk.transport.sent.count(b"1\r\nx\r\n") == count


async def test_long_pieces_leave_at_once() -> None:
    """A piece that is not worth a copy is handed to the transport as it is."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="20000"))
    request.connection.write(b"x" * 20_000)
    assert talk.transport.sent.endswith(b"x" * 20_000)


async def test_the_answers_of_one_turn_leave_together() -> None:
    """The answers of several connections are written at the end of the turn, in their order."""
    first, second = requests_of_one_server(2)
    first[1].answer(b"1")
    second[1].answer(b"2")
    assert (first[0].transport.writes, second[0].transport.writes) == (0, 0)
    await first[0].turn(1)
    assert (first[0].transport.writes, second[0].transport.writes) == (1, 1)


async def test_a_transport_that_fails_keeps_no_answer_of_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception of one transport is logged, ends its connection, and concerns no other."""
    first, second = requests_of_one_server(2)
    first[0].transport.eof_written = True  # from now on it takes nothing
    first[1].answer(b"1")
    second[1].answer(b"2")
    await first[0].turn(1)
    assert first[0].transport.aborted
    assert second[0].transport.sent.endswith(b"2")
    assert [record.getMessage() for record in caplog.records] == ["Cannot write to 192.0.2.7"]


async def test_a_slow_turn_does_not_hold_answers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that waited for a slow one leaves with it; those after them leave at once."""
    now = 0.0
    monkeypatch.setattr(batching, "perf_counter", lambda: now)
    talks = requests_of_one_server(3)
    talks[0][1].answer(b"1")
    now += FLUSH_WITHIN_S * 2
    talks[1][1].answer(b"2")
    assert [talk.transport.writes for talk, _ in talks] == [1, 1, 0]
    talks[2][1].answer(b"3")
    assert talks[2][0].transport.writes == 1
    await talks[0][0].turn(1)
    assert [talk.transport.writes for talk, _ in talks] == [1, 1, 1]


async def test_a_long_turn_of_quick_answers_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many are answered in one turn none waits for long, and they go on leaving together."""
    now = 0.0
    monkeypatch.setattr(batching, "perf_counter", lambda: now)
    talks = requests_of_one_server(25)
    written = []
    for _, request in talks:
        request.answer(b"quick")
        now += FLUSH_WITHIN_S / 11
        written.append(sum(talk.transport.writes for talk, _ in talks))
    assert written == [0] * 12 + [13] * 12 + [13]
    await talks[0][0].turn(1)
    assert [talk.transport.writes for talk, _ in talks] == [1] * 25


async def test_answers_of_one_connection_are_quick_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many answers of one output are not taken for one that is slow: the next still wait."""
    now = 1.0
    monkeypatch.setattr(batching, "perf_counter", lambda: now)
    talks = requests_of_one_server(4)
    batch = talks[0][0].service.batch
    talks[0][1].answer(b"1")
    batch.answers += 100  # of an HTTP/2 connection, whose sender says so
    now += FLUSH_WITHIN_S * 2
    talks[1][1].answer(b"2")
    assert [talk.transport.writes for talk, _ in talks] == [1, 1, 0, 0]
    talks[2][1].answer(b"3")
    talks[3][1].answer(b"4")
    assert [talk.transport.writes for talk, _ in talks] == [1, 1, 0, 0]
    await talks[0][0].turn(1)
    assert [talk.transport.writes for talk, _ in talks] == [1, 1, 1, 1]


@pytest.mark.parametrize("end", ["eof", "close", "drain", "abort"])
async def test_what_is_held_is_not_lost_at_the_end(end: str) -> None:
    """An answer of this turn reaches the transport before the connection ends in the same turn."""
    talk, request = request_of()
    request.answer(b"held")
    if end == "eof":
        talk.receive_eof()
    elif end == "abort":
        talk.connection.abort()
    elif end == "close":
        talk.service.connections.close()
    else:
        talk.service.drain()
    assert talk.transport.closed
    assert talk.transport.sent.endswith(b"held")


async def test_much_output_is_not_held() -> None:
    """What an application writes in one go is handed on before it is all there."""
    talk = Talk()
    seen = []

    def answer(request: Recorder) -> None:
        request.connection.write_headers(OK, fields())
        for _ in range(20):
            request.connection.write(b"x" * 10_000)
            seen.append(len(talk.sent))
        request.connection.finish()

    talk.app.on_finish = answer
    talk.receive(GET)
    assert max(200_000 - len(talk.sent), 0) == 0
    assert seen[10] > 0
    assert all((i + 1) * 10_010 - size < 2 * JOIN_LIMIT for i, size in enumerate(seen))


@pytest.mark.parametrize("how", ["lost", "detached"])
async def test_held_output_of_a_connection_that_is_gone(how: str) -> None:
    """Output that waits for the loop's turn is dropped with a lost connection, not with another."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields())
    if how == "lost":
        talk.transport.abort()
        await talk.turn()
        assert talk.sent == b""
    else:
        request.connection.detach()
        assert talk.sent.endswith(b"\r\n\r\n")
        await talk.turn()
    with pytest.raises(StreamClosedError):
        await request.connection.write(b"x")


async def test_every_failed_write_has_its_own_future() -> None:
    """Futures of a closed connection are real, failed, and silent when nobody looks."""
    talk, request = request_of()
    talk.transport.abort()
    await talk.turn()
    first, second = request.connection.write(b"x"), request.connection.write(b"x")
    assert first is not second
    assert isinstance(first.exception(), StreamClosedError)
    del second  # must not be reported as never retrieved: warnings are errors here


async def test_the_end_of_an_endless_deadline() -> None:
    """A lost connection has no deadlines, and no more transport."""
    talk, _ = request_of()
    talk.transport.abort()
    await talk.turn()
    assert talk.connection.transport is None
    assert talk.connection.closing
    talk.connection.check_deadlines(float("inf"))
    talk.connection.pause_writing()
    talk.connection.resume_writing()
    talk.connection.shut()
    talk.connection.linger()
    talk.connection.abort()
    talk.connection.output.flush()
