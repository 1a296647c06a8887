"""Every path of a request: its delegate hears exactly one of `finish` and `on_connection_close`.

The table crosses where something happens (in the head, in the body, while an awaitable is
pending, at the end) with what happens there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from edgeserver.errors import HTTPInputError
from tests.http1.conversation import Recorder, Talk

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class ForeignHTTPInputError(Exception):
    """As another package raises it."""


ForeignHTTPInputError.__name__ = "HTTPInputError"


def fail(request: Recorder) -> None:
    """Fail as an application does."""
    raise ZeroDivisionError


def refuse(request: Recorder) -> None:
    """Refuse the request."""
    raise HTTPInputError("no such thing")


def refuse_foreign(request: Recorder) -> None:
    """Refuse the request with another package's exception."""
    raise ForeignHTTPInputError("no such\nthing")


def answer(request: Recorder) -> None:
    """Answer at once."""
    request.answer(b"early")


def answer_then_fail(request: Recorder) -> None:
    """Answer, then fail."""
    request.answer(b"early")
    raise ZeroDivisionError


def answer_then_refuse(request: Recorder) -> None:
    """Answer, then refuse."""
    request.answer(b"early")
    raise HTTPInputError("too late")


def abort(request: Recorder) -> None:
    """Cut the connection."""
    request.connection.abort()


def later(act: Callable[[Recorder], None]) -> Callable[[Recorder], Any]:
    """Do the same from an awaitable, after the event loop's turn."""

    async def wait(request: Recorder) -> None:
        await asyncio.sleep(0)
        act(request)

    wait.__name__ = f"{act.__name__}_later"
    return wait


ACTS = [fail, refuse, refuse_foreign, answer, answer_then_fail, answer_then_refuse, abort]
ALL = ACTS + [later(act) for act in ACTS]

REQUESTS = {
    "no-body": [GET],
    "no-body-pipelined": [GET + NEXT],
    "body-in-hand": [POST + b"abcdef"],
    "body-in-hand-pipelined": [POST + b"abcdef" + NEXT],
    "body-later": [POST, b"abc", b"def"],
    "body-incomplete": [POST, b"abc"],
    "chunked": [CHUNKED, b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"],
    "chunked-in-hand": [CHUNKED + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n" + NEXT],
}

FAILURES = {"fail", "answer_then_fail", "fail_later", "answer_then_fail_later"}


ENDS = ("eof", "lost", "timeout")

CASES = [
    pytest.param(stage, act, id=f"{stage}-{act.__name__}")
    for stage in ("head", "data", "finish")
    for act in (ACTS if stage == "finish" else ALL)
]


@pytest.mark.parametrize(("stage", "act"), CASES)
async def test_one_ending(
    stage: str, act: Callable[[Recorder], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the application does and where, it hears one ending, and a client one answer."""
    for name, segments in REQUESTS.items():
        if stage == "data" and name.startswith("no-body"):
            continue
        for end in ENDS:
            caplog.clear()
            talk, acted = await _converse(stage, act, segments, end)
            _check_endings(talk, act.__name__ if acted else "", after_finish=stage == "finish")
            _check_answers(talk, act.__name__ if acted else "")
            logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
            assert len(logged) == (acted and act.__name__ in FAILURES), (name, end)
            assert all(record.exc_info for record in logged)


async def _converse(
    stage: str, act: Callable[[Recorder], Any], segments: list[bytes], end: str
) -> tuple[Talk, bool]:
    """Hold the conversation; return it, and whether the application came to act."""
    talk = Talk(body_timeout=30)
    acted = False

    def once(request: Recorder) -> Any:
        nonlocal acted
        before, acted = acted, True
        if not before:
            return act(request)
        return request.answer(b"ok") if stage == "finish" else None

    setattr(talk.app, f"on_{stage}", once)
    for segment in segments:
        talk.receive(segment)
        await talk.turn(1)
    await talk.turn()
    if end == "eof":
        talk.receive_eof()
    elif end == "timeout":
        await talk.later(40)
    await talk.turn()
    talk.transport.abort()
    await talk.turn()
    return talk, acted


def _check_endings(talk: Talk, act: str, *, after_finish: bool) -> None:
    ended = [request.ended for request in talk.app.requests]
    if after_finish and act:
        # What fails in finish() has heard that already; it hears of the connection's end, too.
        expected = ["finish"] if act in ("abort", "answer") else ["finish", "close"]
        assert ended.pop(0) == expected
    assert all(len(each) == 1 for each in ended), ended
    assert talk.app.closed == 1
    if act and act not in ("answer", "answer_later"):
        assert len(talk.app.requests) == 1


def _check_answers(talk: Talk, act: str) -> None:
    if "answer" in act:
        assert talk.sent.startswith(b"HTTP/1.1 200 OK\r\n")
        assert talk.bodies[0] == b"early"
        assert talk.statuses in (([200], [200, 200]) if act.startswith("answer") else [[200]])
    elif "refuse" in act:
        assert talk.statuses == [400]
    elif act:
        assert talk.sent == b""
    else:
        assert talk.statuses in ([], [408])


@pytest.mark.parametrize("stage", ["head", "data"])
async def test_an_early_answer_in_full_lets_the_next_request_be(stage: str) -> None:
    """An answer before `finish`, of a request that was read whole, keeps the connection alive."""
    talk = Talk()
    setattr(talk.app, f"on_{stage}", answer)
    data = GET if stage == "head" else POST + b"abcdef"
    talk.receive(data, NEXT)
    assert talk.statuses == [200, 200]
    assert talk.app.requests[0].ended == ["close"]


@pytest.mark.parametrize("code", [200, 204])
@pytest.mark.parametrize("data", [POST, POST + b"abc", CHUNKED + b"3\r\nabc\r\n"], ids=ascii)
async def test_an_answer_before_the_end_of_its_request_says_close(data: bytes, code: int) -> None:
    """A client must not send the next request on a connection that is about to be closed."""
    talk = Talk()
    talk.app.on_head = lambda request: request.answer(b"" if code == 204 else b"no", code)
    talk.receive(data)
    assert b"\r\nConnection: close\r\n" in talk.sent
    assert talk.ending


async def test_an_answer_that_grows_with_its_request_keeps_the_connection() -> None:
    """An answer that begins before its request has ended, and ends after it, closes nothing."""
    talk = Talk()
    talk.app.on_head = lambda request: (
        request.connection.write_headers(("", 200, "OK"), [(b"content-length", b"2")], b"o")
        and None
    )

    def finish(request: Recorder) -> None:
        request.connection.write(b"k")
        request.connection.finish()

    talk.app.on_finish = finish
    talk.receive(POST + b"abc", b"def" + GET)
    assert b"Connection: close" not in talk.sent
    assert len(talk.app.requests) == 2


async def test_on_close_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of `on_connection_close`, or of the server's `on_close`, is logged."""
    talk = Talk()
    talk.receive(POST)

    def fail(*args: object) -> None:
        raise ZeroDivisionError

    talk.app.requests[0].on_connection_close = fail
    talk.app.on_close = fail
    # The service asks its delegate each time, so that what was set now is called.
    talk.transport.abort()
    await talk.turn()
    assert [record.getMessage() for record in caplog.records] == ["Uncaught exception"] * 2
    assert all(record.exc_info for record in caplog.records)


async def test_start_request_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of `start_request` closes the connection without an answer, logged once."""
    talk = Talk()

    def start_request(*args: object) -> None:
        raise ZeroDivisionError

    talk.service.start_request = start_request
    talk.receive(GET + NEXT)
    await talk.turn()
    assert talk.sent == b""
    assert talk.transport.closed
    assert [record.getMessage() for record in caplog.records] == ["Uncaught exception"]


async def test_an_awaitable_that_is_none_is_the_applications_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is neither None nor awaitable is an error of the application's, not the loop's."""
    talk = Talk()
    talk.app.on_head = lambda request: 42
    talk.receive(GET)
    await talk.turn()
    assert talk.transport.closed
    assert talk.app.requests[0].ended == ["close"]
    assert [record.getMessage() for record in caplog.records] == ["Uncaught exception"]


async def test_cancelling_the_awaitable_closes_silently(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled awaitable ends the connection, and is no error to log."""
    talk = Talk()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talk.app.on_head = lambda request: gate
    talk.receive(POST)
    gate.cancel()
    await talk.turn()
    assert talk.transport.closed
    assert talk.app.requests[0].ended == ["close"]
    assert not caplog.records


async def test_a_peer_that_went_leaves_the_awaitable_to_end_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the loss an awaitable's result changes nothing; only its exception is logged."""
    talk = Talk()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talk.app.on_data = lambda request: gate
    talk.receive(POST, b"abc")
    talk.transport.abort()
    await talk.turn()
    assert talk.app.requests[0].ended == ["close"]
    gate.set_exception(ZeroDivisionError())
    await talk.turn()
    assert [record.getMessage() for record in caplog.records] == ["Uncaught exception"]
    assert talk.app.requests[0].ended == ["close"]
