"""Clients that leave, bodies that are refused, servers that stop: no application is to blame."""

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from edgeserver.adapters.leaving import comes_of_leaving
from edgeserver.errors import StreamClosedError
from tests.adapters.asgi.serving import serving
from tests.adapters.serving import STEP_S, hang_up, reset, until
from tests.loops import on_both_loops

HEAD = b"POST /upload HTTP/1.1\r\nHost: h\r\n"


async def upload(request):
    """Read a whole body, as a form handler does."""
    return PlainTextResponse(str(len(await request.body())))


async def push(websocket):
    """Say something for as long as somebody listens."""
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0)


async def echo(websocket):
    """Give back what comes."""
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


SITE = Starlette(
    routes=[
        Route("/upload", upload, methods=["POST"]),
        WebSocketRoute("/push", push),
        WebSocketRoute("/echo", echo),
    ]
)


def one_line(caplog):
    """Return the one line that the log of the application has; it is no error."""
    records = [each for each in caplog.records if each.name.startswith("edgeserver")]
    assert [each.levelname for each in records if each.levelno > logging.DEBUG] == ["INFO"]
    return records[0].getMessage()


@on_both_loops
async def test_a_client_that_leaves_in_its_body(caplog):
    """The framework's own error for that is one line, with the reason and without a traceback."""
    caplog.set_level(logging.INFO)
    async with serving(SITE) as served:
        _, writer = await served.connect()
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        await until(lambda: served.adapter.calls)
        reset(writer)
        await until(lambda: served.connection is None and not served.adapter.calls)
    line = one_line(caplog)
    assert line.startswith("The answer was not completed, since the connection was closed: POST")
    assert "ClientDisconnect" in line
    assert not line.endswith(": ")  # it has no text of its own


@on_both_loops
async def test_a_body_that_the_server_refuses(caplog):
    """An application whose body was refused with 413 is told of an end that is not the client's."""
    caplog.set_level(logging.INFO, "edgeserver.application")
    async with serving(SITE, server={"max_body_size": 10}) as served:
        reader, writer = await served.connect()
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await until(lambda: served.adapter.calls)
        writer.write(b"20\r\n" + bytes(32) + b"\r\n0\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), STEP_S)
        await hang_up(writer)
        await until(lambda: not served.adapter.calls)
    assert said.startswith(b"HTTP/1.1 413 ")
    records = [each for each in caplog.records if each.name == "edgeserver.application"]
    assert [each.levelname for each in records] == ["INFO"]
    assert "since the server has answered 413: POST /upload" in records[0].getMessage()


async def test_an_endless_answer_that_the_server_ends(caplog):
    """An application that never listens is told by its next message, not by its 64th."""
    caplog.set_level(logging.INFO)
    sent = []
    left = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent.append(1)
            await left.wait()
            await asyncio.sleep(0)

    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"x")
        reset(writer)
        await until(lambda: served.connection is None)
        left.set()
        await served.adapter.shutdown()
        assert len(sent) <= 2
        assert not served.adapter.calls
    assert "The answer was not completed" in one_line(caplog)


async def test_a_request_that_the_server_ends(caplog):
    """A call that is told to end since the server stops says so, not that its client left."""
    caplog.set_level(logging.INFO)
    async with serving(SITE) as served:
        _, writer = await served.connect()
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        await until(lambda: served.adapter.calls)
        await served.adapter.shutdown()
        await hang_up(writer)
    assert "since the server stops: POST /upload" in one_line(caplog)


@on_both_loops
@pytest.mark.parametrize("path", ["/push", "/echo"])
async def test_a_websocket_client_that_leaves(path, caplog):
    """Neither a push loop nor one that receives makes an error of it."""
    caplog.set_level(logging.INFO)
    async with serving(SITE) as served:
        websocket = await connect(f"ws://127.0.0.1:{served.port}{path}")
        if path == "/push":
            await websocket.recv()
        websocket.transport.abort()
        await until(lambda: not served.adapter.calls)
        await websocket.wait_closed()
    line = one_line(caplog)
    assert line.startswith(
        f"The WebSocket {path} from 127.0.0.1 has ended, since it was closed wit"
    )


async def test_a_websocket_that_the_server_closes(caplog):
    """A push loop that the server's stop has ended says so."""
    caplog.set_level(logging.INFO)
    async with serving(SITE) as served:
        websocket = await connect(f"ws://127.0.0.1:{served.port}/push")
        await websocket.recv()
        await served.adapter.shutdown()
        await websocket.close()
    assert "The WebSocket /push from 127.0.0.1 has ended, since the server stops" in one_line(
        caplog
    )


class OwnError(Exception):
    """An error that is not Python's own."""


def caused(error, cause):
    """Return `error` with a stated cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told", "is_of_it"),
    [
        pytest.param(StreamClosedError(), False, True, id="ours"),
        pytest.param(caused(RuntimeError(), StreamClosedError()), False, True, id="ours-wrapped"),
        pytest.param(OwnError(), True, True, id="own"),
        pytest.param(OwnError(), False, False, id="own-untold"),
        pytest.param(caused(RuntimeError(), OwnError()), True, True, id="own-wrapped"),
        pytest.param(ExceptionGroup("g", [OwnError(), OwnError()]), True, True, id="own-group"),
        pytest.param(ExceptionGroup("g", [OwnError(), KeyError()]), True, False, id="mixed-group"),
        pytest.param(LookupError("a bug"), True, False, id="pythons"),
    ],
)
def test_what_comes_of_leaving(error, told, is_of_it):
    """An error of Python's own is a mistake, one of a framework's own says what it was told."""
    assert comes_of_leaving(error, told=told) is is_of_it


def test_causes_in_a_circle_end():
    """An error that is its own cause is looked at only so often."""
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert not comes_of_leaving(first, told=True)
