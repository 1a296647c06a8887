"""Tests for `edgeserver.adapters.callback`: what becomes of what a callback raises."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from edgeserver.adapters.callback import RequestCallback
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPHeaders, HTTPServerRequest
from tests.adapters.serving import STEP_S, listening, reset, until
from tests.loops import LOOPS, on_both_loops

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"


def plain(error: BaseException) -> RequestCallback:
    """Return a plain function that raises `error`."""

    def callback(request: HTTPServerRequest) -> None:
        raise error

    return callback


def coroutine(error: BaseException) -> RequestCallback:
    """Return a coroutine function that raises `error` before it waits."""

    async def callback(request: HTTPServerRequest) -> None:
        raise error

    return callback


def waiting(error: BaseException) -> RequestCallback:
    """Return a coroutine function that waits, and then raises `error`."""

    async def callback(request: HTTPServerRequest) -> None:
        await asyncio.sleep(0)
        raise error

    return callback


async def cancelled_future(request: HTTPServerRequest) -> None:
    """Wait for something that another part of the application cancels."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


async def exchange(callback: RequestCallback, sent: bytes) -> bytes:
    """Return all that a server of `callback` answers to `sent`."""
    async with listening(HTTPServer(callback)) as port, asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize("sent", [GET, POST], ids=["no-body", "body"])
@pytest.mark.parametrize(
    "callback",
    [
        pytest.param(cancelled_future, id="future"),
        pytest.param(plain(asyncio.CancelledError()), id="plain"),
        pytest.param(coroutine(asyncio.CancelledError()), id="coroutine"),
        pytest.param(waiting(ValueError("no")), id="another-error"),
    ],
)
@on_both_loops
async def test_a_cancelled_wait_is_an_error_like_another(
    callback: RequestCallback, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers 500 and is logged, since nobody cancelled the callback itself."""
    answer = await exchange(callback, sent)
    assert answer.startswith(b"HTTP/1.1 500 ")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.message.startswith("Uncaught exception")
    assert record.exc_info is not None


@on_both_loops
async def test_a_cancelled_callback_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """Who cancels the callback's own task wanted no answer, and nothing is logged."""

    async def callback(request: HTTPServerRequest) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert await exchange(callback, GET) == b""
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS.keys())
@pytest.mark.parametrize("sent", [GET, POST], ids=["no-body", "body"])
@pytest.mark.parametrize("make", [plain, coroutine, waiting])
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"]
)
def test_what_ends_a_process_ends_the_loop(
    error: BaseException,
    make: Callable[[BaseException], RequestCallback],
    sent: bytes,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It leaves the runner, from a plain function and a coroutine alike; an exit is logged."""

    async def main() -> Any:
        return await exchange(make(error), sent)

    with (
        asyncio.Runner(loop_factory=loop_factory) as runner,
        pytest.raises(type(error)) as raised,
    ):
        runner.run(main())
    assert raised.value is error
    logged = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert any("ends the process" in each for each in logged) == isinstance(error, SystemExit)
    assert len(logged) <= 1


KEPT: list[Any] = []


def forgetful(request: HTTPServerRequest) -> None:
    """Return without an answer."""


async def forgetful_later(request: HTTPServerRequest) -> None:
    """End without an answer, after a while."""
    await asyncio.sleep(0)


def forgetful_with_a_value(request: HTTPServerRequest) -> Any:
    """Return an answer, as in another framework."""
    return "hello"


def drops_it_later(request: HTTPServerRequest) -> None:
    """Keep the request, and let go of it before it was answered."""
    KEPT.append(request)
    asyncio.get_running_loop().call_soon(KEPT.clear)


@on_both_loops
@pytest.mark.parametrize("sent", [GET, POST], ids=["get", "post"])
@pytest.mark.parametrize(
    "callback", [forgetful, forgetful_later, forgetful_with_a_value, drops_it_later]
)
async def test_a_request_that_nobody_can_answer(
    callback: Callable[..., Any], sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told 500, and the log says so, instead of silence."""
    answer = await exchange(callback, sent)
    assert answer.startswith(b"HTTP/1.1 500 ")
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert re.search("nobody can answer any more: (GET|POST) / from 127.0.0.1", record.getMessage())


def say(connection: Any) -> None:
    """Answer."""
    KEPT.clear()
    connection.write_headers(("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0"}))
    connection.finish()


def keeps_the_request(request: HTTPServerRequest) -> None:
    """Answer later, by the request."""
    loop = asyncio.get_running_loop()
    KEPT.append(request)
    loop.call_soon(loop.call_soon, loop.call_soon, lambda: say(KEPT[0].connection))


def keeps_the_connection(request: HTTPServerRequest) -> None:
    """Answer later, by the connection alone."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, say, request.connection)


def keeps_a_method(request: HTTPServerRequest) -> None:
    """Answer later, by a method of the connection."""
    write, finish = request.connection.write_headers, request.connection.finish

    def later() -> None:
        write(("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0"}))
        finish()

    asyncio.get_running_loop().call_later(0.01, later)


def keeps_it_in_a_thread(request: HTTPServerRequest) -> None:
    """Answer later, from a thread that knows the way back."""
    loop, connection = asyncio.get_running_loop(), request.connection
    threading.Thread(target=lambda: loop.call_soon_threadsafe(say, connection)).start()


@on_both_loops
@pytest.mark.parametrize("sent", [GET, POST], ids=["get", "post"])
@pytest.mark.parametrize(
    "callback", [keeps_the_request, keeps_the_connection, keeps_a_method, keeps_it_in_a_thread]
)
async def test_a_request_that_is_answered_later(
    callback: Callable[..., Any], sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever kept the request, or the way to its answer, has all the time it takes."""
    answer = await exchange(callback, sent)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


@on_both_loops
async def test_a_client_that_has_left(caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises because nobody hears it is one line at INFO."""
    caplog.set_level(logging.INFO)
    ready, over = asyncio.Event(), asyncio.Event()

    async def callback(request: HTTPServerRequest) -> None:
        request.connection.set_close_callback(over.set)
        ready.set()
        await over.wait()
        await request.connection.write_headers(("HTTP/1.1", 200, "OK"), HTTPHeaders())

    server = HTTPServer(callback)
    async with listening(server) as port, asyncio.timeout(STEP_S):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await ready.wait()
        reset(writer)
        await over.wait()
        await until(lambda: caplog.records)
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "was not answered, since its client has left: " in record.getMessage()
