"""Bodies of unknown length: collected in memory and then in a file, and given with their length."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeserver.adapters.wsgi.spool import IN_MEMORY, SpooledBody
from tests.adapters.serving import until
from tests.adapters.wsgi.serving import ask, running, serving, talking

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Measuring:
    """An application that keeps what it was told of its body."""

    def __init__(self) -> None:
        self.found: list[tuple[str | None, int, str | None]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        size = sum(len(line) for line in environ["wsgi.input"])
        coding = environ.get("HTTP_TRANSFER_ENCODING")
        self.found.append((environ.get("CONTENT_LENGTH"), size, coding))
        start_response("200 OK", [])
        return [b"%d" % size]


@pytest.mark.parametrize("size", [0, 1, 5_000, IN_MEMORY, IN_MEMORY + 1, 3_000_000])
async def test_the_length_is_told(size: int) -> None:
    """The application sees how long the body is, and none of the framing that it came in."""
    app = Measuring()
    body = b"".join(chunk(bytes(min(50_000, size - at))) for at in range(0, size, 50_000))
    async with serving(app) as port:
        assert (await ask(port, CHUNKED + body + END)).endswith(b"\r\n\r\n%d" % size)
    assert app.found == [(str(size), size, None)]


async def test_a_client_that_expects_100_hears_it_at_once() -> None:
    """No application can be called before its length is known."""
    app = Measuring()
    async with serving(app) as port, talking(port) as talk:
        talk.send(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert await talk.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.send(chunk(b"hello") + END)
        assert (await talk.rest()).endswith(b"\r\n\r\n5")


async def test_a_body_over_the_limit() -> None:
    """What is more than `max_body_size` is refused, and the application is not called."""
    app = Measuring()
    async with serving(app, max_body_size=100) as port:
        said = await ask(port, CHUNKED + chunk(bytes(101)) + END)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert not app.found


@pytest.mark.parametrize("size", [1000, 2 * IN_MEMORY])
async def test_memory_is_counted_and_given_back(size: int) -> None:
    """What is in memory counts as held, what is in a file does not; a client may leave."""
    app = Measuring()
    async with running(app) as served:
        async with talking(served.port) as talk:
            talk.send(CHUNKED + chunk(bytes(size)) + chunk(b"x")[:-2])
            expected = size + 1 if size < IN_MEMORY else 0
            await until(lambda: served.server.held_bytes == expected and talk.writer)
            talk.send(b"\r\n")
        await until(lambda: served.server.open_connections == 0)
        assert served.server.held_bytes == 0
    assert not app.found


async def test_a_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that cannot be kept is answered 500, and the log says where there is no room."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    app = Measuring()
    async with serving(app) as port, talking(port) as talk:
        talk.send(CHUNKED + chunk(bytes(2 * IN_MEMORY)))
        assert (await talk.head()).startswith(b"HTTP/1.1 500 ")
    assert not app.found
    [record] = caplog.records
    assert str(tmp_path / "missing") in record.getMessage()
    assert "--no-wsgi-buffering" in record.getMessage()


@pytest.fixture
def spooled() -> Iterator[SpooledBody]:
    """Return a body that is forgotten in the end."""
    body = SpooledBody()
    yield body
    body.abandon()


@pytest.mark.parametrize("size", [IN_MEMORY, IN_MEMORY + 1])
def test_where_a_body_is(spooled: SpooledBody, size: int) -> None:
    """Beyond so many bytes nothing of it is in memory."""
    for _ in range(size // 1024):
        spooled.add(bytes(1024))
    spooled.add(b"x" * (size % 1024) or b"x")
    assert spooled.size == size or spooled.size == size + 1
    assert spooled.memory == (spooled.size if spooled.size <= IN_MEMORY else 0)
    assert len(spooled.open().read()) == spooled.size


async def test_many_at_once() -> None:
    """Each request has a body of its own."""
    app = Measuring()
    sizes = [IN_MEMORY + number for number in range(1, 9)]
    async with serving(app) as port:
        answers = await asyncio.gather(
            *(ask(port, CHUNKED + chunk(bytes(size)) + END) for size in sizes)
        )
    assert [int(answer.partition(b"\r\n\r\n")[2]) for answer in answers] == sizes
