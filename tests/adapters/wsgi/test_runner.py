"""How answers are sent: every shape that PEP 3333 lets an application choose, over real sockets."""

import asyncio
import contextvars
import logging
import re
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests import inside
from tests.adapters.inside import pool_of
from tests.adapters.serving import reset, until
from tests.adapters.wsgi.serving import ask, running, serving, talking

GET = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def fields_of(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return the status line, the fields but Date and Connection, and what follows."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert fields.pop("Date")
    fields.pop("Connection", None)
    return status, fields, body


class Body:
    """An iterable body that tells whether it was closed, and how far it was read."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = chunks
        self.given = 0
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        for chunk in self.chunks:
            self.given += 1
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed += 1


def answering(result: Any, *fields: tuple[str, str], status: str = "200 OK") -> Any:
    """Return an application that gives `result`."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(fields))
        return result

    return app


CHUNKED = {"Transfer-Encoding": "chunked"}
LENGTH_5 = ("Content-Length", "5")
SHAPES = [
    pytest.param([b"hello"], (), {"Content-Length": "5"}, b"hello", id="list-of-one"),
    pytest.param([b"he", b"", b"llo"], (), {"Content-Length": "5"}, b"hello", id="list"),
    pytest.param((b"hello",), (), {"Content-Length": "5"}, b"hello", id="tuple"),
    pytest.param([], (), {"Content-Length": "0"}, b"", id="empty-list"),
    pytest.param([b""], (), {"Content-Length": "0"}, b"", id="empty-string"),
    pytest.param(Body(), (), {"Content-Length": "0"}, b"", id="empty-iterable"),
    pytest.param(Body(b"", b""), (), {"Content-Length": "0"}, b"", id="empty-strings"),
    pytest.param(Body(b"hello"), (LENGTH_5,), {"Content-Length": "5"}, b"hello", id="declared"),
    pytest.param(
        Body(b"he", b"", b"llo", b"!"), (LENGTH_5,), {"Content-Length": "5"}, b"hello", id="enough"
    ),
    pytest.param([b"x" * 70_000], (), CHUNKED, b"11170\r\n" + b"x" * 70_000, id="long-list"),
    pytest.param(Body(b"hello"), (), CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", id="not-declared"),
]


@pytest.mark.parametrize(("result", "declared", "fields", "body"), SHAPES)
async def test_shapes(
    result: Any, declared: tuple[Any, ...], fields: dict[str, str], body: bytes
) -> None:
    """A body in hand has a length; any other is sent as it comes, up to what is declared."""
    async with serving(answering(result, ("X-A", "1"), *declared)) as port:
        answer = await ask(port, GET)
    status, found, sent = fields_of(answer)
    assert status == "HTTP/1.1 200 OK"
    assert found == {"X-A": "1", **fields}
    if fields == CHUNKED and len(body) < 100:
        sent = re.sub(rb"(?s)^5\r\nhello\r\n(.*)$", rb"5\r\nhello\r\n\1", sent)
    assert sent.startswith(body)
    if isinstance(result, Body):
        assert result.closed == 1


@pytest.mark.parametrize(
    ("request_line", "status", "length"),
    [
        pytest.param(b"HEAD", "200 OK", "5", id="head"),
        pytest.param(b"GET", "204 No Content", None, id="204"),
        pytest.param(b"GET", "304 Not Modified", None, id="304"),
    ],
)
@pytest.mark.parametrize("shape", ["list", "iterable"])
async def test_answers_without_a_body(
    request_line: bytes,
    status: str,
    length: str | None,
    shape: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What must have no body has none, whatever the application gives; the connection goes on."""
    body = Body(b"hello", b"never asked for")
    app = answering([b"hello"] if shape == "list" else body, ("X-A", "1"), status=status)
    async with serving(app) as port, talking(port) as talk:
        for _ in range(2):
            talk.send(request_line + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            found = fields_of(await talk.head())
            assert found[0] == "HTTP/1.1 " + status
            assert found[1].get("Content-Length") == (length if shape == "list" else None)
    if shape == "iterable":
        assert (body.given, body.closed) == (2, 2)
    # One warning for each answer; what a GET would have been answered with is no mistake.
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warned) == (0 if request_line == b"HEAD" else 2)
    assert all(f"with status {status[:3]}, which has none" in each for each in warned)


async def test_chunks_are_sent_as_they_come() -> None:
    """A piece reaches the client before the application makes the next one."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"one"
        assert go_on.wait(20)
        yield b"two"

    async with serving(app) as port, talking(port) as talk:
        talk.send(GET)
        await talk.head()
        assert await talk.exactly(3) == b"one"
        go_on.set()
        assert await talk.rest() == b"two"


async def test_the_write_callable() -> None:
    """What is given to `write` goes out before what is returned."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "9")])
        write(b"one")
        write(b"")
        write(b"two")
        return [b"end"]

    async with serving(app) as port:
        assert fields_of(await ask(port, GET))[2] == b"onetwoend"


async def test_http_1_0() -> None:
    """Without a length the end of the connection ends the body."""
    async with serving(answering(Body(b"a", b"b"))) as port:
        status, fields, body = fields_of(await ask(port, b"GET / HTTP/1.0\r\n\r\n"))
    assert (status, fields, body) == ("HTTP/1.1 200 OK", {}, b"ab")


async def test_start_response_on_first_iteration() -> None:
    """A generator calls start_response when its first piece is asked for."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("404 Not Found", [("Content-Length", "2")])
        yield b"no"

    async with serving(app) as port:
        status, _, body = fields_of(await ask(port, GET))
    assert (status, body) == ("HTTP/1.1 404 Not Found", b"no")


async def test_file_wrapper(tmp_path: Any) -> None:
    """A file given through `wsgi.file_wrapper` is sent and closed."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1024)
    opened = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", str(path.stat().st_size))])
        opened.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](opened[0], 8192)

    async with serving(app) as port:
        assert fields_of(await ask(port, GET))[2] == path.read_bytes()
    assert opened[0].closed


# Mistakes.


def raising(environ: dict[str, Any], start_response: Any) -> Any:
    """Fail before anything."""
    raise ZeroDivisionError("before")


def twice(environ: dict[str, Any], start_response: Any) -> Any:
    """Call start_response twice."""
    start_response("200 OK", [])
    start_response("200 OK", [])


def not_called(environ: dict[str, Any], start_response: Any) -> Any:
    """Give a body without a head."""
    return [b"hello"]


def exiting(environ: dict[str, Any], start_response: Any) -> Any:
    """Try to end the process."""
    raise SystemExit(1)


MISTAKES = [
    pytest.param(raising, "before", id="raises"),
    pytest.param(exiting, "SystemExit", id="exits"),
    pytest.param(twice, "start_response was called twice", id="start-response-twice"),
    pytest.param(not_called, "before it called start_response", id="no-start-response"),
    pytest.param(answering(None), "NoneType", id="returns-nothing"),
    pytest.param(answering("hello"), "a str where PEP 3333 wants bytes", id="returns-str"),
    pytest.param(answering(["hello"]), "a str where PEP 3333 wants bytes", id="list-of-str"),
    pytest.param(answering([b"a", "b"]), "a str where PEP 3333 wants bytes", id="str-in-list"),
    pytest.param(answering(Body(b"", 7)), "a int where PEP 3333 wants bytes", id="yields-int"),
    pytest.param(answering([b"hell"], LENGTH_5), "Content-Length: 5 and gave 4", id="too-little"),
    pytest.param(answering([b"hello!"], LENGTH_5), "Length: 5 and gave 6", id="too-much"),
    pytest.param(answering([], LENGTH_5), "Content-Length: 5 and gave 0", id="nothing"),
    pytest.param(answering(Body(), LENGTH_5), "Content-Length: 5 and gave 0", id="yields-nothing"),
    pytest.param(
        answering(Body(b"hello!"), LENGTH_5), "gave at least 6", id="yields-too-much-at-once"
    ),
    pytest.param(answering([], ("Connection", "close")), "hop-by-hop", id="hop-by-hop"),
    pytest.param(answering([], ("A", "b\r\nc")), "control character", id="bad-header"),
    pytest.param(answering([], status="100 Continue"), "not a code of 200", id="bad-status"),
]


@pytest.mark.parametrize(("app", "part"), MISTAKES)
async def test_mistakes_before_the_head(
    app: Any, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake before the head is answered by 500, which shows nothing; the log shows it all."""
    async with serving(app) as port:
        status, fields, body = fields_of(await ask(port, GET))
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert fields["Content-Length"] == str(len(body))
    assert body == b"Internal Server Error\n"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "GET /page from 127.0.0.1" in record.getMessage()
    assert part in caplog.text


LATE = [
    pytest.param(Body(b"hell", ZeroDivisionError("late")), (), "late", id="raises"),
    pytest.param(Body(b"hell", "o"), (), "a str where PEP 3333 wants bytes", id="str"),
    pytest.param(Body(b"hell"), (LENGTH_5,), "Content-Length: 5 and gave 4", id="too-little"),
    pytest.param(Body(b"hell", b"o!"), (LENGTH_5,), "gave at least 6", id="too-much"),
]


@pytest.mark.parametrize(("body", "fields", "part"), LATE)
async def test_mistakes_after_the_head(
    body: Body, fields: Any, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake after the head cuts the connection, so that nobody takes the body for whole."""
    async with serving(answering(body, *fields)) as port:
        answer = await ask(port, GET)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hell" in answer
    assert not answer.endswith((b"hello", b"0\r\n\r\n"))
    assert part in caplog.text
    assert "GET /page from 127.0.0.1" in caplog.text
    assert body.closed == 1


async def test_a_failing_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is complete stays so when `close` fails."""

    class Failing(Body):
        def close(self) -> None:
            raise ZeroDivisionError("closing")

    async with serving(answering(Failing(b"hello"), LENGTH_5)) as port:
        assert fields_of(await ask(port, GET))[2] == b"hello"
    assert "close() of the WSGI application, GET /page" in caplog.text


async def test_exc_info_before_the_head() -> None:
    """With `exc_info` another head replaces the first, as long as none was sent."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        import sys

        start_response("200 OK", [("X-First", "1")])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("503 Sorry", [("X-Second", "1")], sys.exc_info())
        return [b"sorry"]

    async with serving(app) as port:
        status, fields, body = fields_of(await ask(port, GET))
    assert (status, body) == ("HTTP/1.1 503 Sorry", b"sorry")
    assert fields == {"X-Second": "1", "Content-Length": "5"}


async def test_exc_info_after_the_head(caplog: pytest.LogCaptureFixture) -> None:
    """With `exc_info` after the head the application's own exception is raised again."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        import sys

        start_response("200 OK", [])
        yield b"begun"
        try:
            raise ZeroDivisionError("the first cause")
        except ZeroDivisionError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"never"

    async with serving(app) as port:
        answer = await ask(port, GET)
    assert b"begun" in answer
    assert b"never" not in answer
    assert "the first cause" in caplog.text


async def test_hostile_targets_are_escaped_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What a stranger wrote reaches the log as printable ASCII."""
    async with serving(raising) as port:
        await ask(port, b"GET /%0a<b> HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert "/%0a<b> from" in caplog.text


# The client leaves.


async def test_a_client_that_leaves_stops_the_body(caplog: pytest.LogCaptureFixture) -> None:
    """An endless body ends, and is closed, when nobody takes it."""
    caplog.set_level(logging.INFO)
    closed = threading.Event()

    class Endless(Body):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

        def close(self) -> None:
            closed.set()

    async with serving(answering(Endless())) as port:
        async with talking(port) as talk:
            talk.send(GET)
            await talk.head()
        assert await asyncio.to_thread(closed.wait, 20)
    assert "GET /page from 127.0.0.1 was not completed: " in caplog.text
    assert "the connection was closed before the answer was complete" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "some"])
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_an_iterator_is_not_asked_on(
    piece: bytes, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it yields, it is closed once its client has left."""
    caplog.set_level(logging.INFO)
    begun, left, closed = threading.Event(), threading.Event(), threading.Event()
    after: list[int] = []

    class Slow(Body):
        def __iter__(self) -> Iterator[bytes]:
            begun.set()
            assert left.wait(20)
            for number in range(1000):
                after.append(number)
                yield piece
                threading.Event().wait(0.001)  # the event loop has its turn

        def close(self) -> None:
            closed.set()

    async with running(answering(Slow())) as served:
        async with talking(served.port) as talk:
            talk.send(GET)
            assert await asyncio.to_thread(begun.wait, 20)
            if way == "reset":
                reset(talk.writer)
        if way == "reset":
            await until(lambda: served.server.open_connections == 0)
        else:
            [connection] = inside.connections(served.server)
            await until(lambda: inside.input_has_ended(connection))
        left.set()
        assert await asyncio.to_thread(closed.wait, 20)
    assert len(after) < (100 if piece else 5)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_write_raises_when_the_client_has_left() -> None:
    """An application that writes is told by an OSError."""
    raised: list[BaseException] = []
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        try:
            while True:
                write(b"x" * 65536)
        except OSError as error:
            raised.append(error)
            raise
        finally:
            ended.set()

    async with serving(app) as port:
        async with talking(port) as talk:
            talk.send(GET)
            await talk.head()
        assert await asyncio.to_thread(ended.wait, 20)
    assert isinstance(raised[0], ConnectionResetError)


async def test_a_half_closed_connection_is_answered() -> None:
    """A client that has only said that it will send no more gets its whole answer."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        assert go_on.wait(20)
        start_response("200 OK", [("Content-Length", "200000")])
        for _ in range(4):
            yield b"x" * 50_000

    async with running(app) as served, talking(served.port) as talk:
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        talk.writer.write_eof()
        await until(lambda: any(map(inside.input_has_ended, inside.connections(served.server))))
        go_on.set()
        await talk.head()
        assert len(await talk.rest()) == 200_000


async def test_a_request_that_waits_for_a_thread_is_dropped_with_its_client() -> None:
    """An application is not called for a client that has left before its turn came."""
    called: list[str] = []
    busy, go_on = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/first":
            busy.set()
            assert go_on.wait(20)
        start_response("200 OK", [])
        return [b"ok"]

    request = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
    async with running(app, threads=1) as served, talking(served.port) as first:
        server, pool = served.server, pool_of(served.adapter)
        first.send(request % b"first")
        assert await asyncio.to_thread(busy.wait, 20)
        async with talking(served.port) as second:
            second.send(request % b"second")
            await until(lambda: pool.waiting == 1)
            # A reset: an orderly close would look like one who still waits for the answer.
            sock = second.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            second.writer.transport.abort()
            await until(lambda: server.open_connections == 1)
        async with talking(served.port) as third:
            third.send(request % b"third")
            await until(lambda: pool.waiting == 2)
            go_on.set()
            await third.head()
    assert called == ["/first", "/third"]


# Where it runs.


async def test_context_variables() -> None:
    """Each call has a copy of its request's context: it sees it, and leaves no trace in it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        seen.append(variable.get())
        variable.set(environ["PATH_INFO"])
        start_response("200 OK", [])
        yield b"a"
        seen.append(variable.get())

    variable.set("outside")
    async with serving(app, threads=1) as port:
        for path in (b"/1", b"/2"):
            await ask(port, b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)
    assert seen == ["outside", "/1", "outside", "/2"]
    assert variable.get() == "outside"
