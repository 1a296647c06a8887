"""`100 Continue`: said once the application asks for the body, on every version of Python."""

import asyncio

import pytest

from tests.adapters.asgi.serving import answer, serving, split
from tests.adapters.serving import STEP_S, hang_up, reset, until
from tests.loops import on_both_loops

FRAMINGS = {"length": b"Content-Length: 5\r\n", "chunked": b"Transfer-Encoding: chunked\r\n"}
BODIES = {"length": b"hello", "chunked": b"5\r\nhello\r\n0\r\n\r\n"}
CONTINUE = b"HTTP/1.1 100 "


def head(method, framing):
    """Return the head of a request whose client waits."""
    fields = FRAMINGS[framing] + b"Expect: 100-continue\r\n"
    return method + b" / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=["post", "get"])
@pytest.mark.parametrize("waits", [False, True], ids=["at-once", "later"])
@on_both_loops
async def test_a_refusal_is_all_that_a_client_gets(method, framing, waits):
    """An application that answers without asking for the body has it not sent."""

    async def app(scope, receive, send):
        if waits:
            for _ in range(3):
                await asyncio.sleep(0)
        await answer(send, b"no", status=401)

    async with serving(app) as served:
        said = await served.ask(head(method, framing))
    status, fields, body = split(said)
    assert (status, body) == (401, b"no")
    assert fields["connection"] == "close"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("method", [b"POST", b"GET"], ids=["post", "get"])
@pytest.mark.parametrize("waits", [False, True], ids=["at-once", "later"])
@on_both_loops
async def test_a_client_is_told_to_go_on_when_it_is_asked(method, framing, waits):
    """The first `receive()` says 100; the body comes, and the connection goes on."""
    asked = []

    async def app(scope, receive, send):
        if waits:
            await asyncio.sleep(0)
        asked.append(1)
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await answer(send, body)

    async with serving(app) as served:
        reader, writer = await served.connect()
        for _ in range(2):
            writer.write(head(method, framing))
            said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
            assert said.startswith(CONTINUE)
            assert asked
            writer.write(BODIES[framing])
            said = await asyncio.wait_for(reader.readuntil(b"hello"), STEP_S)
            assert said.startswith(b"HTTP/1.1 200 ")
        await hang_up(writer)


@on_both_loops
async def test_a_client_that_leaves_instead():
    """One that goes away while it waits ends the application's wait."""
    heard = []

    async def app(scope, receive, send):
        heard.append((await receive())["type"])

    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(head(b"POST", "length"))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
        reset(writer)
        await until(lambda: heard)
    assert heard == ["http.disconnect"]


@on_both_loops
async def test_a_client_that_does_not_wait():
    """A body that has come already needs no 100."""

    async def app(scope, receive, send):
        await answer(send, (await receive())["body"])

    async with serving(app) as served:
        reader, writer = await served.connect()
        writer.write(head(b"POST", "length") + b"hello")
        said = await asyncio.wait_for(reader.readuntil(b"hello"), STEP_S)
        assert said.startswith(b"HTTP/1.1 200 ")
        await hang_up(writer)
