"""The access log: how a line looks, when it is written, and what a bad reader costs."""

import asyncio
import io
import json
import os
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.logs import access
from edgeserver.logs.access import PIPE_BYTES, AccessLog, render_json, render_text

NOW_S = 1_700_000_000.25


def _exchange(**changed: Any) -> Any:
    """Return an exchange that has ended."""
    values: dict[str, Any] = {
        "remote_ip": "203.0.113.9",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes_sent": 512,
        "duration_s": 0.0012345,
        "context": SimpleNamespace(peer="10.0.0.1"),
    }
    return SimpleNamespace(**(values | changed))


def test_text() -> None:
    """A text line says when, who, what, and how it went."""
    assert render_text(_exchange(), NOW_S) == (
        '2023-11-14T22:13:20.250Z 203.0.113.9 "GET /a?b=c HTTP/1.1" 200 512 1.234ms\n'
    )


def test_json() -> None:
    """A JSON line holds the same, and the peer."""
    assert json.loads(render_json(_exchange(), NOW_S)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "client": "203.0.113.9",
        "peer": "10.0.0.1",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes": 512,
        "ms": 1.234,
    }


def test_no_answer() -> None:
    """A request that got no head has no status."""
    assert '" - 0 ' in render_text(_exchange(status=0, bytes_sent=0), NOW_S)
    assert json.loads(render_json(_exchange(status=0), NOW_S))["status"] is None


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ('/"', "/\\x22"),
        ("/\\", "/\\\\"),
        ("/\n127.0.0.1 GET", "/\\x0a127.0.0.1\\x20GET"),
        ("/\x1b[2J", "/\\x1b[2J"),
        ("/\xe9\x7f", "/\\xe9\\x7f"),
        ("/\u202e", "/\\xe2\\x80\\xae"),
    ],
    ids=["quote", "backslash", "newline", "terminal", "latin-1", "direction"],
)
def test_what_strangers_write_is_escaped(target: str, shown: str) -> None:
    """A target cannot end its quotes, its line or the terminal's patience."""
    assert f'"GET {shown} HTTP/1.1"' in render_text(_exchange(target=target), NOW_S)


@pytest.mark.parametrize("render", [render_text, render_json], ids=["text", "json"])
@given(target=st.text(max_size=4000), method=st.text(max_size=4000))
def test_a_line_is_one_line(render: Callable[[Any, float], str], target: str, method: str) -> None:
    """Whatever a request says, it is one printable line."""
    line = render(_exchange(target=target, method=method), NOW_S)
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()


@pytest.mark.parametrize("character", ["a", '"', "\xff"], ids=["plain", "quote", "high"])
def test_a_text_line_goes_into_a_pipe_whole(character: str) -> None:
    """The longest line is one write that the system keeps together."""
    long = character * 70_000
    line = render_text(_exchange(target=long, method=long, version=long), NOW_S)
    assert len(line) <= PIPE_BYTES
    assert "bytes)" in line


def test_lines_are_gathered_and_soon_written() -> None:
    """Lines of one moment become one write, without anything else happening."""
    writes: list[str] = []
    written = asyncio.Event()

    class _Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            written.set()
            return len(text)

    async def scenario() -> None:
        log = AccessLog(_Stream())
        log(_exchange())
        log(_exchange())
        assert not writes
        await asyncio.wait_for(written.wait(), 10)

    asyncio.run(scenario())
    assert [text.count("\n") for text in writes] == [2]


def test_without_a_loop_lines_are_written_at_once() -> None:
    """Where nothing can call later, nothing waits."""
    stream = io.StringIO()
    AccessLog(stream)(_exchange())
    assert stream.getvalue().count("\n") == 1


def test_much_is_written_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy server does not gather without end."""
    monkeypatch.setattr(access, "FLUSH_DELAY_S", 1000)
    stream = io.StringIO()

    async def scenario() -> None:
        log = AccessLog(stream)
        for _ in range(1000):
            log(_exchange())

    asyncio.run(scenario())
    assert stream.getvalue().count("\n") > 100


def test_close_writes_the_rest() -> None:
    """What was gathered at the end is written, and nothing after it."""
    stream = io.StringIO()

    async def scenario() -> None:
        log = AccessLog(stream, "json")
        log(_exchange())
        log.close()
        log(_exchange())

    asyncio.run(scenario())
    assert stream.getvalue().count("\n") == 1


def test_a_reader_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A broken pipe ends the log with one warning, and nothing else."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with open(write_fd, "w") as stream:
        log = AccessLog(stream)
        for _ in range(3):
            log(_exchange())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "gone away" in caplog.text


def test_a_full_disk(caplog: pytest.LogCaptureFixture) -> None:
    """A disk without room is said once, and tried again."""
    with open("/dev/full", "w") as stream:
        log = AccessLog(stream)
        for _ in range(3):
            log(_exchange())
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "No space left" in caplog.text
        log.close()


def test_a_stopped_reader_costs_lines_not_the_server() -> None:
    """A pipe that nobody reads never blocks, is bounded, and what was lost is counted."""
    read_fd, write_fd = os.pipe()
    sent = 20_000

    async def scenario(stream: Any) -> bytes:
        log = AccessLog(stream)
        for _ in range(sent):
            log(_exchange())
            log.flush() if _ % 1000 == 0 else None
        loop = asyncio.get_running_loop()
        seen = bytearray()
        done = loop.create_future()

        def read() -> None:
            seen.extend(os.read(read_fd, 65536))
            if b"lines dropped" in seen:
                loop.remove_reader(read_fd)
                done.set_result(None)

        loop.add_reader(read_fd, read)
        await asyncio.wait_for(done, 30)
        return bytes(seen)

    with open(write_fd, "w") as stream:
        seen = asyncio.run(scenario(stream))
    os.close(read_fd)
    lines = seen.decode("ascii").splitlines()
    match = re.search(r"- ([0-9]+) lines dropped", lines[-1])
    assert match is not None
    assert all(line.endswith("1.234ms") for line in lines[:-1])
    assert len(lines) - 1 + int(match[1]) == sent
