"""The access log: how a line looks, when it is written, and what a bad reader costs."""

import asyncio
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import ConfigurationError
from edgeserver.logs import access
from edgeserver.logs.access import (
    AccessLog,
    render_coloured,
    render_combined,
    render_json,
    render_text,
)
from edgeserver.logs.writer import PIPE_BYTES

NOW_S = 1_700_000_000.25


def _exchange(**changed: Any) -> Any:
    """Return an exchange that has ended."""
    fields: dict[bytes, bytes] = changed.pop("fields", {})
    values: dict[str, Any] = {
        "remote_ip": "203.0.113.9",
        "protocol": "https",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes_sent": 512,
        "duration_s": 0.0012345,
        "info": SimpleNamespace(peer="10.0.0.1", tls=None),
        "client": SimpleNamespace(verified=True, reason="first-untrusted"),
        "request_id": None,
        "head_value": fields.get,
        "has_findings": lambda: False,
    }
    return SimpleNamespace(**(values | changed))


def test_text() -> None:
    """A text line says when, who, what, and how it went; and its id where there is one."""
    line = '2023-11-14T22:13:20.250Z 203.0.113.9 "GET /a?b=c HTTP/1.1" 200 512 1.234ms'
    assert render_text(_exchange(), NOW_S) == f"{line}\n"
    assert render_text(_exchange(request_id="r-1"), NOW_S) == f"{line} r-1\n"


@pytest.mark.parametrize(
    ("status", "colour"), [(200, "32"), (304, "36"), (404, "33"), (502, "31"), (0, None)]
)
def test_colours(status: int, colour: str | None) -> None:
    """On a terminal the status has the colour of its class, and nothing else differs."""
    line = render_coloured(_exchange(status=status, target="/\x1b[31m", request_id="r-1"), NOW_S)
    plain = render_text(_exchange(status=status, target="/\x1b[31m", request_id="r-1"), NOW_S)
    if colour is not None:
        assert f'" \x1b[{colour}m{status}\x1b[0m 512 ' in line
    assert re.sub(r"\x1b\[[0-9]+m", "", line) == plain


def test_json() -> None:
    """A JSON line holds the same, the peer, and why the client is who it is."""
    assert json.loads(render_json(_exchange(), NOW_S)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "client": "203.0.113.9",
        "peer": "10.0.0.1",
        "verified": True,
        "reason": "first-untrusted",
        "scheme": "https",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes": 512,
        "ms": 1.234,
    }


FULL = {
    b"host": b"shop.example",
    b"user-agent": b"probe/1",
    b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "shop.example"),
        ("user_agent", "probe/1"),
        ("tls", "TLSv1.3"),
        ("request_id", "r-1"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("span_id", "b7ad6b7169203331"),
        ("worker", 3),
        ("sample", 0.1),
    ],
)
def test_json_where_there_is_more(key: str, value: object) -> None:
    """What a request may have or not is left out where it has none."""
    full = _exchange(
        fields=FULL,
        request_id="r-1",
        info=SimpleNamespace(peer="10.0.0.1", tls=SimpleNamespace(version="TLSv1.3")),
    )
    assert json.loads(render_json(full, NOW_S, worker=3, sample=0.1))[key] == value
    assert key not in json.loads(render_json(_exchange(), NOW_S))


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, '"-" "-"'),
        ({b"referer": b"/x", b"user-agent": b"a b"}, '"/x" "a b"'),
        ({b"user-agent": b'"\n\xff\\'}, '"-" "\\x22\\x0a\\xff\\\\"'),
    ],
    ids=["neither", "both", "escaped"],
)
def test_combined(fields: dict[bytes, bytes], end: str) -> None:
    """The combined format is what tools of Apache and nginx read."""
    assert render_combined(_exchange(fields=fields), NOW_S) == (
        f'203.0.113.9 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=c HTTP/1.1" 200 512 {end}\n'
    )


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


@pytest.mark.parametrize(
    "render", [render_text, render_json, render_combined], ids=["text", "json", "combined"]
)
@given(target=st.text(max_size=4000), method=st.text(max_size=4000), agent=st.binary(max_size=400))
def test_a_line_is_one_line(
    render: Callable[[Any, float], str], target: str, method: str, agent: bytes
) -> None:
    """Whatever a request says, it is one printable line."""
    fields = {b"host": agent, b"user-agent": agent, b"referer": agent, b"traceparent": agent}
    line = render(_exchange(target=target, method=method, fields=fields), NOW_S)
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()


@pytest.mark.parametrize(
    "render", [render_text, render_json, render_combined], ids=["text", "json", "combined"]
)
@pytest.mark.parametrize("character", ["a", '"', "\xff", "\x00"], ids=["a", "quote", "high", "nul"])
def test_a_line_goes_into_a_pipe_whole(render: Callable[[Any, float], str], character: str) -> None:
    """The longest line is one write that the system keeps together."""
    long = character * 70_000
    fields = dict.fromkeys((b"host", b"user-agent", b"referer"), long.encode("latin-1"))
    line = render(_exchange(target=long, method=long, version=long, fields=fields), NOW_S)
    assert len(line) <= PIPE_BYTES


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
    assert "access log: its reader has gone away" in caplog.text


def test_a_file_is_opened_again(tmp_path: Path) -> None:
    """What was logged before a rotation is in the old file, what comes after in the new one."""
    path = tmp_path / "access.log"
    log = AccessLog(path)

    async def scenario() -> None:
        log(_exchange(target="/before"))
        path.rename(tmp_path / "access.log.1")
        log.reopen()
        log(_exchange(target="/after"))

    asyncio.run(scenario())
    log.close()
    assert "/before" in (tmp_path / "access.log.1").read_text()
    assert [line.split()[3] for line in path.read_text().splitlines()] == ["/after"]


def test_a_sample() -> None:
    """Requests that nothing is remarkable about are left out, and those kept say their share."""
    stream = io.StringIO()
    log = AccessLog(stream, "json", sample=1e-9)
    log(_exchange())
    log(_exchange(status=500))
    log(_exchange(has_findings=lambda: True))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["status"], "sample" in line) for line in lines] == [(500, False), (200, False)]


def test_a_format_that_is_none() -> None:
    """What a line cannot look like is refused, with what it can."""
    with pytest.raises(ConfigurationError, match="give 'text', 'json', 'combined'"):
        AccessLog(io.StringIO(), "xml")


def test_a_stopped_reader_costs_lines_not_the_server() -> None:
    """A pipe that nobody reads never blocks, is bounded, and what was lost is counted."""
    read_fd, write_fd = os.pipe()
    sent = 20_000

    async def scenario(log: AccessLog) -> bytes:
        for _ in range(sent):
            log(_exchange())
        assert not log.flush()
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
        log = AccessLog(stream)
        seen = asyncio.run(scenario(log))
        log.close()
    os.close(read_fd)
    lines = seen.decode("ascii").splitlines()
    match = re.search(r"- ([0-9]+) lines dropped", lines[-1])
    assert match is not None
    assert all(line.endswith("1.234ms") for line in lines[:-1])
    assert len(lines) - 1 + int(match[1]) == sent
    assert log.dropped == int(match[1])
