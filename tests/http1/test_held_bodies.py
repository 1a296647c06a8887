"""Tests for what HTTP/1.1 connections hold together: who begins, who waits, what is given back."""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Any

import pytest

from edgeserver.adapters.callback import CallbackAdapter
from edgeserver.httputil import HTTPServerRequest
from edgeserver.support.held import PATIENCE_S, SMALL
from tests.http1.conversation import App, TakingApp, Talk, fields

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(size: int) -> bytes:
    """Return a chunk of so many bytes."""
    return b"%x\r\n%s\r\n" % (size, b"x" * size)


def gzipped(size: int) -> tuple[bytes, bytes]:
    """Return a request, head and body, that is little on the wire and `size` bytes in memory."""
    body = gzip.compress(bytes(size))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    return head % len(body), body


class Collecting:
    """A callback that keeps each request, and answers when it is told to."""

    def __init__(self) -> None:
        self.requests: list[HTTPServerRequest] = []
        self.delegate = CallbackAdapter(self.requests.append)

    def answer(self, request: HTTPServerRequest) -> None:
        """Answer one."""
        self.requests.remove(request)
        request.connection.write_headers(("HTTP/1.1", 200, "OK"), fields(Content_Length="0"))
        request.connection.finish()


def talks(count: int, delegate: Any, **limits: Any) -> list[Talk]:
    """Return conversations on connections of one server."""
    first = Talk(app=delegate, **limits)
    return [first, *(Talk(app=delegate, http1=first.http1) for _ in range(count - 1))]


async def test_a_body_that_begins_beyond_the_budget_is_told_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is called for it, it may come back soon, the connection lingers; GET is served."""
    caplog.set_level(logging.INFO)
    app = App()
    app.on_finish = lambda request: None
    first, second, third = talks(3, app, max_held=1000)
    first.service.budget.take(1000)
    second.receive(CHUNKED + chunk(1))
    assert second.statuses == [503]
    assert b"\r\nRetry-After: 5\r\n" in second.sent
    assert b"\r\nConnection: close\r\n" in second.sent
    assert b"(max_held)" in second.sent
    assert second.transport.eof_written
    assert not second.transport.closed
    assert not app.requests
    third.receive(CHUNKED)
    assert third.statuses == [503]
    assert caplog.text.count("max_held") == 1  # once a minute
    first.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(app.requests) == 1
    first.service.budget.give(1000)
    app.requests[0].answer(b"")
    first.receive(CHUNKED + chunk(1) + END)
    app.requests[1].answer(b"")
    assert first.statuses == [200, 200]


async def test_a_body_that_has_begun_may_finish() -> None:
    """A small one goes on beyond the budget, and so does one large one."""
    app = Collecting()
    first, second, third = talks(3, app.delegate, max_held=1000)
    first.receive(CHUNKED)
    second.receive(CHUNKED)
    first.receive(chunk(3 * SMALL))
    second.receive(chunk(900) + END)
    third.receive(CHUNKED)
    assert (first.statuses, second.statuses, third.statuses) == ([], [], [503])
    first.receive(chunk(SMALL) + END)
    await first.turn()
    assert sorted(len(request.body) for request in app.requests) == [900, 4 * SMALL]
    for request in [*app.requests]:
        app.answer(request)
    assert (first.statuses, second.statuses) == ([200], [200])
    assert first.service.budget.held == 0


async def test_ten_bombs_stay_within_the_budget_and_one_body() -> None:
    """Gzip bodies that all begin at once are all answered, and never held at once."""
    app = Collecting()
    size, budget = 2_000_000, 3_000_000
    bombs = talks(10, app.delegate, max_held=budget, decompress_request=True)
    service = bombs[0].service
    head, body = gzipped(size)
    for talk in bombs:
        talk.receive(head)
    for talk in bombs:
        talk.receive(body)
    highest = 0
    for _ in range(10 * 10):
        for _ in range(10):
            await asyncio.sleep(0)
            highest = max(highest, service.budget.held)
        for request in [*app.requests]:
            assert len(request.body) == size
            app.answer(request)
    assert budget < highest <= budget + size + 10 * 2 * SMALL
    assert [talk.statuses for talk in bombs] == [[200]] * 10
    assert service.budget.held == 0


async def test_who_waits_for_room_for_too_long_is_told_503() -> None:
    """One body that never ends does not keep the others for good."""
    app = Collecting()
    first, second, third = talks(3, app.delegate, max_held=3 * SMALL, decompress_request=True)
    first.receive(CHUNKED)
    second.receive(CHUNKED)
    head, body = gzipped(2 * SMALL)
    third.receive(head + body[:-8])
    first.receive(chunk(2 * SMALL))
    second.receive(chunk(2 * SMALL))
    await first.later(PATIENCE_S + 1)
    assert (first.statuses, second.statuses, third.statuses) == ([], [503], [])
    assert b"\r\nRetry-After: 5\r\n" in second.sent
    assert first.service.budget.held == 4 * SMALL
    first.receive(END)
    app.answer(app.requests[0])
    assert first.statuses == [200]
    third.receive_eof()
    await third.turn()
    assert first.service.budget.held == 0


async def test_input_that_nobody_takes_counts() -> None:
    """What has come while the application keeps back the body is held, and given back."""
    held: list[asyncio.Future[None]] = []

    def hold(request: Any) -> asyncio.Future[None]:
        held.append(asyncio.get_running_loop().create_future())
        return held[-1]

    app = App()
    app.on_data = hold
    talk = Talk(app=app)
    talk.receive(CHUNKED + chunk(1), chunk(3 * SMALL), chunk(SMALL))
    assert talk.service.budget.held >= 3 * SMALL
    app.on_data = None
    held[0].set_result(None)
    await talk.turn()
    talk.receive(END)
    await talk.turn()
    assert talk.statuses == [200]
    assert talk.service.budget.held == 0


async def test_a_request_that_has_ended_holds_nothing_more() -> None:
    """Who counts for an exchange after its end counts nothing."""
    app = App()
    app.on_finish = lambda request: None
    talk = Talk(app=app)
    talk.receive(CHUNKED + chunk(5) + END)
    [request] = app.requests
    request.connection.hold(5)
    assert talk.service.budget.held == 5
    request.connection.release(2)
    assert talk.service.budget.held == 3
    request.answer(b"")
    assert talk.service.budget.held == 0
    request.connection.hold(7)
    request.connection.release(7)
    assert request.connection.room_to_hold() is None
    assert talk.service.budget.held == 0


class Fixed(TakingApp):
    """A delegate that says that nothing behind it replaces limits."""

    keeps_limits = True


@pytest.mark.parametrize("app", [App, Fixed], ids=["may-replace-limits", "keeps-limits"])
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["plain", "expect"])
async def test_who_is_called_for_a_declared_length_over_the_limit(
    app: type[App], expect: str
) -> None:
    """Whoever might allow more hears of the head; nobody else is called."""
    talk = Talk(app=app(), max_body_size=10)
    talk.receive(f"POST / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 11\r\n\r\n".encode())
    assert talk.statuses == [413]
    assert [request.ended for request in talk.app.requests] == ([] if app is Fixed else [["close"]])
