"""Pipelines: answers in order, one request at a time, and nothing of one in the next."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from edgeserver.http1 import HTTP1Connection
from edgeserver.httputil import HTTPHeaders
from tests.http1.conversation import FakeTransport, Recorder, TakingApp, Talk, turns_of_units

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")

BATCH = 64
"""How many requests of one connection a turn has time for, in these tests."""


def make_talk() -> Talk:
    """Return a conversation in which a turn of the event loop ends after a batch of requests."""
    return Talk(shared={"turns": turns_of_units(BATCH)})


def get(path: str, *lines: str) -> bytes:
    """Return a request for `path`."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def answer_path(request: Recorder) -> None:
    """Answer with the path."""
    request.answer(request.head[1].encode())


def answer_path_soon(request: Recorder) -> None:
    """Answer with the path in the event loop's next turn."""
    asyncio.get_running_loop().call_soon(answer_path, request)


def answer_path_sometimes_soon(request: Recorder) -> None:
    """Answer with the path, every other one in the event loop's next turn."""
    if int(request.head[1][1:]) % 2:
        answer_path_soon(request)
    else:
        answer_path(request)


@pytest.mark.parametrize(
    "on_finish",
    [answer_path, answer_path_soon, answer_path_sometimes_soon],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
async def test_answers_come_in_order(on_finish: Any, bytewise: bool) -> None:
    """Whether the application answers at once or later, answers have the order of requests."""
    talk = Talk()
    talk.app.on_finish = on_finish
    data = b"".join(get(f"/{i}") for i in range(10))
    if bytewise:
        talk.receive_bytewise(data)
    else:
        talk.receive(data)
    await talk.turn(60)
    assert talk.bodies == [b"/%d" % i for i in range(10)]
    assert not talk.transport.closed


async def test_the_next_request_never_begins_inside_finish() -> None:
    """While the application is inside its `finish()`, no other request is begun."""
    talk = Talk()
    seen = []

    def answer(request: Recorder) -> None:
        request.answer(b"ok")
        seen.append(len(talk.app.requests))

    talk.app.on_finish = answer
    talk.receive(get("/") * 3)
    assert seen == [1, 2, 3]


async def test_the_next_request_never_begins_inside_a_later_finish() -> None:
    """The same, where the answer is completed by a callback of the application's own."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(get("/") * 2)
    talk.app.requests[0].answer(b"ok")
    assert len(talk.app.requests) == 1
    await talk.turn()
    assert len(talk.app.requests) == 2


async def test_one_request_at_a_time() -> None:
    """The second request of a pipeline is begun when the first has its answer."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(get("/0"), get("/1"), get("/2"))
    await talk.turn()
    assert [request.head[1] for request in talk.app.requests] == ["/0"]


async def test_answers_of_one_segment_leave_in_one_write() -> None:
    """What a pipeline's requests answer at once goes out together."""
    talk = Talk()
    talk.receive(get("/") * 10)
    assert talk.statuses == [200] * 10
    assert talk.transport.writes == 1


async def test_a_long_pipeline_yields() -> None:
    """After a batch of requests the event loop has its turn, and then the rest is served."""
    talk = make_talk()
    talk.receive(get("/") * (BATCH + 6))
    assert len(talk.app.requests) == BATCH
    await talk.turn()
    assert len(talk.app.requests) == BATCH + 6
    assert talk.statuses == [200] * (BATCH + 6)


async def test_input_during_the_pause_is_in_order() -> None:
    """What comes while a long pipeline rests comes after it."""
    talk = make_talk()
    talk.app.on_finish = answer_path
    talk.receive(b"".join(get(f"/{i}") for i in range(BATCH + 3)))
    talk.receive(get("/last"))
    await talk.turn()
    assert talk.bodies == [b"/%d" % i for i in range(BATCH + 3)] + [b"/last"]


@pytest.mark.parametrize("app", [None, TakingApp], ids=["delegate", "take-request"])
async def test_nothing_is_served_behind_connection_close(app: Any) -> None:
    """What follows a request that says close is no request any more."""
    talk = Talk(app=app() if app else None)
    talk.receive(get("/") + get("/", "Connection: close") + get("/smuggled"))
    assert len(talk.app.requests) == 2
    assert talk.statuses == [200, 200]
    assert talk.ending


async def test_nothing_is_served_behind_an_answer_that_closes() -> None:
    """What follows an answer that says close is no request any more, whenever that was said."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(get("/") + get("/smuggled"))
    connection = talk.app.requests[0].connection
    connection.write_headers(
        ("", 200, "OK"), HTTPHeaders({"Connection": "close", "Content-Length": "0"})
    )
    connection.finish()
    await talk.turn()
    talk.receive(get("/smuggled"))
    assert len(talk.app.requests) == 1
    assert talk.ending


@pytest.mark.parametrize(
    "on_finish",
    [answer_path, answer_path_soon, answer_path_sometimes_soon],
    ids=lambda f: f.__name__,
)
async def test_a_pipeline_and_then_the_end(on_finish: Any) -> None:
    """A peer that sends requests and closes its half gets all answers, and then our end."""
    talk = make_talk()
    talk.app.on_finish = on_finish
    talk.receive(b"".join(get(f"/{i}") for i in range(BATCH + 6)))
    talk.receive_eof()
    await talk.turn(3 * BATCH)
    assert talk.bodies == [b"/%d" % i for i in range(BATCH + 6)]
    assert talk.transport.closed
    assert not talk.transport.aborted


@pytest.mark.parametrize(
    "how",
    ["sync", "soon", "task", "awaitable-head", "awaitable-data"],
)
async def test_no_context_leaks_to_the_next_request(how: str) -> None:
    """What a request sets in its context is there for its own calls, and never for another's."""
    talk = Talk()
    seen: list[tuple[str, str]] = []
    tasks = []

    def head(request: Recorder) -> Any:
        seen.append(("head", NAME.get()))
        NAME.set(request.head[1])
        return asyncio.sleep(0) if how == "awaitable-head" else None

    def data(request: Recorder) -> Any:
        seen.append(("data", NAME.get()))
        return asyncio.sleep(0) if how == "awaitable-data" else None

    def finish(request: Recorder) -> None:
        seen.append(("finish", NAME.get()))
        if how == "soon":
            answer_path_soon(request)
        elif how == "task":

            async def answer() -> None:
                await asyncio.sleep(0)
                answer_path(request)

            tasks.append(asyncio.create_task(answer()))
        else:
            answer_path(request)

    talk.app.on_head, talk.app.on_data, talk.app.on_finish = head, data, finish
    post = "POST /{} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    talk.receive("".join(post.format(i) for i in range(4)).encode())
    await talk.turn(40)
    assert talk.bodies == [b"/0", b"/1", b"/2", b"/3"]
    for i in range(4):
        assert seen[3 * i : 3 * i + 3] == [
            ("head", "nobody"),
            ("data", f"/{i}"),
            ("finish", f"/{i}"),
        ]
    assert NAME.get() == "nobody"


async def test_the_context_of_a_batch_does_not_leak() -> None:
    """A request that is begun after the loop's turn has a fresh context, too."""
    talk = make_talk()
    seen = []

    def finish(request: Recorder) -> None:
        seen.append(NAME.get())
        NAME.set("somebody")
        request.answer(b"ok")

    talk.app.on_finish = finish
    talk.receive(get("/") * (BATCH * 2 + 2))
    await talk.turn()
    assert seen == ["nobody"] * (BATCH * 2 + 2)


async def test_a_connection_that_comes_in_a_request_takes_nothing_of_its_context() -> None:
    """Requests begin as the server's first connection came, wherever theirs was accepted."""
    talk = Talk()
    seen = []

    def finish(request: Recorder) -> None:
        seen.append(NAME.get())
        request.answer(b"ok")

    def accept() -> None:
        NAME.set("somebody")
        connection = HTTP1Connection(talk.http1)
        connection.connection_made(FakeTransport())
        connection.data_received(get("/"))

    talk.app.on_finish = finish
    copy_context().run(accept)
    assert seen == ["nobody"]


async def test_the_close_callback_runs_in_the_requests_context() -> None:
    """What hears of a lost connection hears of it in its request's context."""
    talk = Talk()
    seen = []

    def finish(request: Recorder) -> None:
        NAME.set("mine")
        request.connection.set_close_callback(lambda: seen.append(NAME.get()))

    talk.app.on_finish = finish
    talk.receive(get("/"))
    talk.transport.abort()
    await talk.turn()
    assert seen == ["mine"]


async def test_a_long_pipeline_with_half_a_head_and_then_the_end() -> None:
    """What is whole is answered, what is not is forgotten."""
    talk = make_talk()
    talk.receive(get("/") * (BATCH + 6) + b"GET / HT")
    talk.receive_eof()
    await talk.turn()
    assert talk.statuses == [200] * (BATCH + 6)
    assert talk.transport.closed


@pytest.mark.parametrize("how", ["lost", "closed"])
async def test_a_connection_that_goes_while_a_pipeline_rests(how: str) -> None:
    """What is left of a pipeline is not served to nobody."""
    talk = make_talk()
    talk.receive(get("/") * (BATCH + 6))
    if how == "lost":
        talk.connection.connection_lost(None)
    else:
        talk.service.connections.close()
    await talk.turn()
    assert len(talk.app.requests) == BATCH
    assert talk.app.closed == 1
