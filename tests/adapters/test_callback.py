"""Tests for `edgeserver.adapters.callback`: what becomes of what a callback raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from edgeserver.adapters.callback import RequestCallback
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPServerRequest
from tests.adapters.serving import STEP_S, listening
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
