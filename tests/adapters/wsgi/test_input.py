"""`wsgi.input`: how bodies reach an application, whole and as they come, over real sockets."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests import inside
from tests.adapters.serving import STEP_S, until
from tests.adapters.wsgi.serving import ask, running, serving, talking

Read = Callable[[Any], Any]
POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
LINES = b"one\ntwo\n\nlast"


class Reading:
    """An application that keeps what `read` made of its input."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.found: Any = None
        self.length: str | None = None
        self.error: BaseException | None = None
        self.ended = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.length = environ.get("CONTENT_LENGTH")
        try:
            self.found = self.read(environ["wsgi.input"])
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()
        start_response("200 OK", [])
        return [b"read"]


class ReadingLate:
    """An application that echoes its input, which it does not want before it is told to."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.called.set()
        assert self.go_on.wait(STEP_S)
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]


def whole(body: bytes) -> bytes:
    """Return a request whose length is declared."""
    return POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    """Return a request whose body comes in chunks of three bytes."""
    chunks = [body[i : i + 3] for i in range(0, len(body), 3)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


READS = [
    pytest.param(lambda body: body.read(), LINES, id="read"),
    pytest.param(lambda body: body.read(-1), LINES, id="read-all"),
    pytest.param(lambda body: (body.read(5), body.read(100)), (LINES[:5], LINES[5:]), id="sizes"),
    pytest.param(
        lambda body: (body.read(), body.read(), body.read(1)), (LINES, b"", b""), id="end"
    ),
    pytest.param(lambda body: body.read(0), b"", id="none"),
    pytest.param(lambda body: body.readline(), b"one\n", id="readline"),
    pytest.param(lambda body: body.readline(2), b"on", id="readline-size"),
    pytest.param(lambda body: body.readlines(), LINES.splitlines(keepends=True), id="readlines"),
    pytest.param(list, LINES.splitlines(keepends=True), id="iterate"),
]


@pytest.mark.parametrize("buffering", [True, False], ids=["collected", "streamed"])
@pytest.mark.parametrize("send", [whole, chunked])
@pytest.mark.parametrize(("read", "expected"), READS)
async def test_reading(
    read: Read, expected: Any, send: Callable[[bytes], bytes], *, buffering: bool
) -> None:
    """Every way to read that PEP 3333 names gives the body, however it was framed."""
    app = Reading(read)
    async with serving(app, wsgi_buffering=buffering) as port:
        answer = await ask(port, send(LINES))
    assert app.found == expected
    assert answer.endswith(b"read")
    assert app.length == (None if send is chunked and not buffering else str(len(LINES)))


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
async def test_sizes(size: int) -> None:
    """Bodies of any length arrive, those awaited whole and those that are streamed."""
    body = bytes(range(251)) * (size // 251 + 1)
    app = Reading(lambda stream: stream.read())
    async with serving(app) as port:
        assert (await ask(port, whole(body[:size]))).endswith(b"read")
    assert app.found == body[:size]


async def test_a_decompressed_body_has_its_own_length() -> None:
    """What decompression has made of a body is what the application is told of."""
    import gzip

    coded = gzip.compress(b"x" * 50_000)
    app = Reading(lambda stream: len(stream.read()))
    async with serving(app, decompress_request=True) as port:
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
        assert (await ask(port, POST + head + coded)).endswith(b"read")
    assert (app.found, app.length) == (50_000, "50000")


@pytest.mark.parametrize("buffering", [True, False], ids=["collected", "streamed"])
async def test_a_body_that_decompresses_to_much(*, buffering: bool) -> None:
    """A short compressed body does not become a long one in memory."""
    import gzip

    coded = gzip.compress(bytes(5_000_000))
    app = Reading(lambda stream: sum(len(line) for line in iter(lambda: stream.read(65536), b"")))
    async with serving(app, decompress_request=True, wsgi_buffering=buffering) as port:
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
        assert (await ask(port, POST + head + coded)).endswith(b"read")
    assert app.found == 5_000_000
    assert app.length == ("5000000" if buffering else None)


async def test_a_short_body_is_awaited_without_a_thread() -> None:
    """A slow client with a short body holds no thread until its body is there."""
    app = Reading(lambda stream: stream.read())
    async with running(app, threads=1) as served, talking(served.port) as slow:
        slow.send(POST + b"Content-Length: 10\r\n\r\nhalf-")
        assert (await ask(served.port, whole(b"quick"))).endswith(b"read")
        assert app.found == b"quick"
        slow.send(b"there")
        await slow.head()
        assert app.found == b"half-there"


async def test_a_chunked_body_is_read_as_it_comes() -> None:
    """What has come is read before the client sends more, where it is not to be collected."""
    pieces: list[bytes] = []
    came = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        while piece := environ["wsgi.input"].read1(100):
            pieces.append(piece)
            came.set()
        start_response("200 OK", [])
        return [b"".join(pieces)]

    async with serving(app, wsgi_buffering=False) as port, talking(port) as talk:
        talk.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert await asyncio.to_thread(came.wait, STEP_S)
        assert pieces == [b"one"]
        talk.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert (await talk.rest()).endswith(b"onetwo")


async def test_a_body_nobody_reads_holds_the_client_back() -> None:
    """While the application does not read, only so much of a body is taken in."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert go_on.wait(STEP_S)
        size = 0
        while piece := environ["wsgi.input"].read(65536):
            size += len(piece)
        start_response("200 OK", [])
        return [b"%d" % size]

    size = 32 * 1024 * 1024
    async with running(app) as served, talking(served.port) as talk:
        talk.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            talk.send(bytes(65536))
        await until(lambda: any(map(inside.is_read_paused, inside.connections(served.server))))
        left = talk.writer.transport.get_write_buffer_size
        before, unchanged = 0, 0
        while unchanged < 100:  # what the sockets' own buffers hold goes on its way
            await asyncio.sleep(0)
            before, unchanged = left(), (unchanged + 1 if left() == before else 0)
        assert before > size // 2
        go_on.set()
        assert (await talk.rest()).endswith(b"\r\n%d" % size)


async def test_the_client_leaves_while_the_body_is_read() -> None:
    """Reading raises an OSError when the rest of the body will never come."""
    app = Reading(lambda stream: stream.read())
    async with serving(app) as port:
        async with talking(port) as talk:
            talk.send(POST + b"Content-Length: 100000\r\n\r\nonly this")
        assert await asyncio.to_thread(app.ended.wait, STEP_S)
    assert isinstance(app.error, ConnectionResetError)
    assert "will never be complete, since the connection was closed" in str(app.error)


async def test_the_client_leaves_before_a_short_body_is_there() -> None:
    """A request whose body never came is never given to the application."""
    app = Reading(lambda stream: stream.read())
    async with running(app) as served:
        async with talking(served.port) as talk:
            talk.send(POST + b"Content-Length: 10\r\n\r\nhalf-")
            await until(lambda: served.server.open_connections == 1)
        await until(lambda: served.server.open_connections == 0)
    assert not app.ended.is_set()


async def test_an_application_that_does_not_read() -> None:
    """An answer before the body is complete is whole, and says that the connection closes."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    async with serving(app) as port, talking(port) as talk:
        talk.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun")
        head = await talk.head()
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"\r\nConnection: close\r\n" in head
        assert await talk.rest() == b"no"


async def test_an_unread_short_body_keeps_the_connection() -> None:
    """A body that came whole is no reason to close, read or not."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    async with serving(app) as port, talking(port) as talk:
        for _ in range(2):
            talk.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            assert b"Connection" not in await talk.head()
            assert await talk.exactly(2) == b"ok"


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_continue_is_said_when_the_application_reads(framing: bytes) -> None:
    """A client that expects 100-continue hears it when somebody wants its body."""
    app = ReadingLate()
    async with serving(app, wsgi_buffering=False) as port, talking(port) as talk:
        talk.send(POST + framing + b"Expect: 100-continue\r\n\r\n")
        assert await asyncio.to_thread(app.called.wait, STEP_S)
        answer = asyncio.ensure_future(talk.head())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not answer.done()
        app.go_on.set()
        assert await answer == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.send(b"hello" if b"Length" in framing else b"5\r\nhello\r\n0\r\n\r\n")
        assert (await talk.rest()).endswith(b"\r\n\r\nhello")


async def test_an_application_that_is_slow_to_want_a_body_is_not_cut_off() -> None:
    """While a client waits for its 100 Continue it is not the one who is late."""
    app = ReadingLate()
    limits = {"idle_connection_timeout": 5, "header_timeout": 5, "body_timeout": 5}
    async with running(app, **limits) as served, talking(served.port) as talk:
        talk.send(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.to_thread(app.called.wait, STEP_S)
        [connection] = inside.connections(served.server)
        connection.check_deadlines(asyncio.get_running_loop().time() + 3600)
        app.go_on.set()
        assert await talk.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        # From now on it is.
        connection.check_deadlines(asyncio.get_running_loop().time() + 3600)
        assert (await talk.head()).startswith(b"HTTP/1.1 408 ")


async def test_continue_is_not_said_for_a_body_nobody_wants() -> None:
    """A client that expects 100-continue is answered at once where nobody reads."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("401 Unauthorized", [])
        return [b"no"]

    async with serving(app) as port:
        answer = await ask(
            port,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        )
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"no")


async def test_an_echo() -> None:
    """An answer may be sent while its request is still being read."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", environ["CONTENT_LENGTH"])])
        return iter(lambda: environ["wsgi.input"].read(10_000), b"")

    body = bytes(range(250)) * 4000
    async with serving(app) as port, talking(port) as talk:
        talk.send(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        await talk.writer.drain()
        sending = asyncio.create_task(_send(talk.writer, body))
        await talk.head()
        assert await talk.rest() == body
        await sending


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    for start in range(0, len(body), 50_000):
        writer.write(body[start : start + 50_000])
        await writer.drain()


async def test_an_input_that_the_application_has_closed() -> None:
    """A closed input raises ValueError, and the answer is sent all the same."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].close()
        with pytest.raises(ValueError, match="closed"):
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"ok"]

    async with serving(app) as port:
        assert (await ask(port, chunked(b"hello"))).endswith(b"ok")
