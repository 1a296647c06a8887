"""Clients that leave a Tornado application: one line at INFO, whatever the handler was doing."""

import asyncio
import logging

import pytest
import tornado.web

from edgeserver.adapters.detect import make_delegate
from edgeserver.httpserver import HTTPServer
from tests.adapters.serving import listening, reset, until


class Endless(tornado.web.RequestHandler):
    """A handler that writes as long as somebody reads."""

    async def get(self) -> None:
        while True:
            self.write("x" * 100_000)
            await self.flush()


class Wrong(tornado.web.RequestHandler):
    """A handler with a mistake, after its head was written."""

    async def get(self) -> None:
        await self.flush()
        raise LookupError("a mistake")


APPLICATION = tornado.web.Application([("/", Endless), ("/wrong", Wrong)])


async def _leave(path: str) -> None:
    """Ask for a path, and leave once the answer has begun."""
    server = HTTPServer(make_delegate("tornado", APPLICATION, {}))
    async with listening(server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await reader.readline()
        reset(writer)
        await until(lambda: not server.open_connections)


async def test_it_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that goes on writing is no error of the application."""
    caplog.set_level(logging.INFO)
    await _leave("/")
    await until(lambda: caplog.records)
    (record,) = [each for each in caplog.records if each.name != "tornado.access"]
    assert record.levelname == "INFO"
    assert record.getMessage() == (
        "The answer was not completed, since the client has left: GET / (127.0.0.1)"
    )
    assert record.exc_info is None


async def test_a_mistake_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong with a handler is logged as Tornado logs it."""
    await _leave("/wrong")
    await until(lambda: len(caplog.records) > 1)
    assert "a mistake" in caplog.text
    assert "Cannot send error response after headers written" in caplog.text
