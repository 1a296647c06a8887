"""The wire: how output is joined, and what is written when."""

from __future__ import annotations

import pytest

from edgeserver.errors import StreamClosedError
from edgeserver.http1.wire import JOIN_LIMIT
from tests.http1.conversation import Recorder, Talk, fields, request_of

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = ("", 200, "OK")


async def test_an_answer_in_hand_is_one_write() -> None:
    """Head, body and end of an answer that is in hand leave in one write."""
    talk = Talk()
    talk.receive(GET)
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
    assert talk.transport.writes == 1


async def test_a_later_answer_is_one_write() -> None:
    """A head that waits for its body is joined with it, also outside of the loop's own calls."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="2"))
    assert talk.transport.writes == 0
    request.connection.write(b"ok")
    assert talk.transport.writes == 1
    request.connection.finish()
    assert talk.transport.writes == 1


async def test_a_head_without_a_body_does_not_wait_for_long() -> None:
    """A head alone leaves in the loop's next turn: its client may want to see it."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields())
    assert talk.sent == b""
    await talk.turn()
    assert talk.sent.endswith(b"\r\n\r\n")


async def test_pieces_leave_as_they_are_written() -> None:
    """A streamed piece is written at once."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields())
    for count in range(1, 4):
        request.connection.write(b"x")
        assert talk.sent.count(b"1\r\nx\r\n") == count


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
    talk.connection.flush()
