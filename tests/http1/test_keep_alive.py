"""Whether a connection goes on: as the client says, as the server says, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest

from edgeserver.httputil import HTTPHeaders
from tests.http1.conversation import App, Recorder, TakingApp, Talk

CASES = [
    # version, Connection lines, goes on
    ("1.1", [], True),
    ("1.1", ["keep-alive"], True),
    ("1.1", ["Keep-Alive"], True),
    ("1.1", ["KEEP-ALIVE"], True),
    ("1.1", ["close"], False),
    ("1.1", ["Close"], False),
    ("1.1", ["CLOSE"], False),
    ("1.1", ["close, x"], False),
    ("1.1", ["x,close"], False),
    ("1.1", ["x ,\tcLoSe\t, y"], False),
    ("1.1", [",,close,,"], False),
    ("1.1", ["keep-alive, close"], False),
    ("1.1", ["close, keep-alive"], False),
    ("1.1", ["keep-alive", "close"], False),
    ("1.1", ["close", "keep-alive"], False),
    ("1.1", ["x", "close", "keep-alive"], False),
    ("1.1", ["closed"], True),
    ("1.1", ["not-close"], True),
    ("1.1", ["clo se"], True),
    ("1.1", ['"close"'], True),
    ("1.1", [""], True),
    ("1.1", ["upgrade"], True),
    ("1.0", [], False),
    ("1.0", ["close"], False),
    ("1.0", ["keep-alive"], True),
    ("1.0", ["KEEP-alive"], True),
    ("1.0", ["x, Keep-Alive"], True),
    ("1.0", ["x", "keep-alive"], True),
    ("1.0", ["keep-alive", "close"], False),
    ("1.0", ["close", "keep-alive"], False),
    ("1.0", ["keep-alives"], False),
    ("1.9", [], True),
    ("1.9", ["close"], False),
]


def request(version: str, lines: list[str], *more: str) -> bytes:
    """Return a request with these `Connection` lines."""
    options = [f"Connection: {line}" for line in lines]
    return "\r\n".join([f"GET / HTTP/{version}", "Host: a", *options, *more, "", ""]).encode()


@pytest.mark.parametrize("app", [App, TakingApp], ids=["delegate", "take-request"])
@pytest.mark.parametrize(("version", "lines", "goes_on"), CASES, ids=str)
async def test_what_the_client_says(
    version: str, lines: list[str], goes_on: bool, app: Any
) -> None:
    """`close` anywhere in the list closes; without it 1.1 goes on, and 1.0 if it asks to."""
    talk = Talk(app=app())
    data = request(version, lines)
    talk.receive(data)
    assert talk.transport.closed == (not goes_on)
    head = talk.sent.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert (b"Connection: Keep-Alive\r\n" in head) == (goes_on and version == "1.0")
    assert (b"Connection: close\r\n" in head) == (not goes_on and version != "1.0")
    assert head.count(b"Connection") <= 1
    talk.receive(data)
    assert talk.statuses == ([200, 200] if goes_on else [200])


@pytest.mark.parametrize(("version", "lines", "goes_on"), CASES, ids=str)
async def test_the_same_spoken_bytewise(version: str, lines: list[str], goes_on: bool) -> None:
    """The road that a head takes through the parser changes nothing."""
    talk = Talk()
    talk.receive_bytewise(request(version, lines) * 2)
    assert talk.statuses == ([200, 200] if goes_on else [200])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_no_keep_alive(version: str) -> None:
    """A server may close after every answer."""
    talk = Talk(no_keep_alive=True)
    talk.receive(request(version, ["keep-alive"]) * 2)
    assert talk.statuses == [200]
    assert talk.ending
    assert (b"Connection: close\r\n" in talk.sent) == (version == "1.1")


@pytest.mark.parametrize(
    ("options", "closes", "written"),
    [
        ("close", True, b"Connection: close\r\n"),
        ("Close", True, b"Connection: close\r\n"),
        ("x, CLOSE", True, b"Connection: x\r\nConnection: close\r\n"),
        ("keep-alive", False, b""),
        ("Keep-Alive", False, b""),
        ("x", False, b"Connection: x\r\n"),
        ("x, keep-alive, y", False, b"Connection: x, y\r\n"),
        ("", False, b""),
    ],
)
@pytest.mark.parametrize("raw", [False, True], ids=["headers", "raw"])
async def test_what_the_application_says(
    options: Any, closes: bool, written: bytes, raw: bool
) -> None:
    """The application may close; keep-alive is the server's to say, and other options pass."""

    def answer(request: Recorder) -> None:
        headers: Any = HTTPHeaders({"Content-Length": "0", "Date": "x"})
        if raw:
            value = options if isinstance(options, bytes) else options.encode()
            headers = [(b"content-length", b"0"), (b"date", b"x"), (b"connection", value)]
        else:
            headers["Connection"] = options
        request.connection.write_headers(("", 200, "OK"), headers)
        request.connection.finish()

    talk = Talk()
    talk.app.on_finish = answer
    talk.receive(request("1.1", []))
    assert talk.transport.closed == closes
    lines = talk.sent.splitlines(keepends=True)
    assert b"".join(line for line in lines if line.startswith(b"Connection")) == written


async def test_connect_closes() -> None:
    """After CONNECT nothing is a request: who succeeds would speak through a tunnel."""
    talk = Talk()
    talk.receive(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(talk.app.requests) == 1
    assert talk.ending


@pytest.mark.parametrize("line", ["keep-alive", "close"])
async def test_chunked_from_1_0_closes(line: str) -> None:
    """A 1.0 request with Transfer-Encoding is served, and nothing after it."""
    talk = Talk()
    head = request("1.0", [line], "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    talk.receive(head + b"1\r\nx\r\n0\r\n\r\n" + request("1.0", []))
    assert talk.statuses == [200]
    assert talk.app.requests[0].body == b"x"
    assert talk.ending


async def test_close_with_input_behind_it_lingers() -> None:
    """Where more has come already the close lingers, or a reset would destroy the answer."""
    talk = Talk()
    talk.receive(request("1.1", ["close"]) + b"more")
    assert talk.transport.eof_written
    assert not talk.transport.closed
    talk.receive_eof()
    assert talk.transport.closed


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_upgrade_is_offered_in_1_1_only(version: str) -> None:
    """An application learns whether the client offers another protocol."""
    talk = Talk()
    talk.receive(request(version, ["upgrade"], "Upgrade: x"))
    assert talk.app.requests[0].connection.upgrades == (version == "1.1")
    assert talk.statuses == [200]
