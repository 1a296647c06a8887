"""What an answer may not be made of: then there is an exception, and nothing was written."""

from __future__ import annotations

import http
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders as TornadoHeaders
from tornado.httputil import ResponseStartLine as TornadoStartLine

from edgeserver.errors import HTTPOutputError
from edgeserver.httputil import ResponseStartLine
from tests.http1.conversation import Recorder, Talk, fields, request_of

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
DATE = b"Date: x\r\n"


@pytest.mark.parametrize(
    ("start_line", "headers"),
    [
        pytest.param(("HTTP/1.0", 200, "OK"), fields(X="y"), id="triple"),
        pytest.param(("", http.HTTPStatus.OK, "OK"), fields(X="y"), id="enum"),
        pytest.param(
            TornadoStartLine("", 200, "OK"), TornadoHeaders({"date": "x", "x": "y"}), id="tornado"
        ),
        pytest.param(OK, [(b"date", b"x"), (b"x", b"y")], id="raw"),
    ],
)
async def test_shapes_of_heads(start_line: Any, headers: Any) -> None:
    """Anything of the right shape is a start line or a head; the version is always ours."""
    talk, request = request_of()
    request.connection.write_headers(start_line, headers, b"", whole=True)
    request.connection.finish()
    assert talk.sent.lower() == b"http/1.1 200 ok\r\ndate: x\r\nx: y\r\ncontent-length: 0\r\n\r\n"


CONTROLS = [f"a{control}b" for control in "\r\n\x00\x01\x0b\x1f\x7f"] + ["a\r\nSet-Cookie: b"]


def injections() -> Iterator[Any]:
    """Give a reason and fields for each place in which each control could stand."""
    for bad in CONTROLS:
        raw = bad.encode()
        for where, reason, headers in [
            ("reason", bad, [(b"x", b"y")]),
            ("name", "OK", [(raw, b"y")]),
            ("value", "OK", [(b"x", raw)]),
            ("connection", "OK", [(b"connection", raw)]),
            ("date", "OK", [(b"date", raw)]),
            ("str-name", "OK", TornadoPairs([(bad, "y")])),
            ("str-value", "OK", TornadoPairs([("X", bad)])),
        ]:
            yield pytest.param(reason, headers, id=f"{where}-{bad!a}")
    for headers in ([("X\u2603", "y")], [("X", "\u2603")]):
        yield pytest.param("OK", TornadoPairs(headers), id=ascii(headers[0]))


class TornadoPairs:
    """A headers object of another package, which checks nothing."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def get_all(self) -> list[tuple[str, str]]:
        """Give the lines."""
        return self.pairs


@pytest.mark.parametrize(("reason", "headers"), list(injections()))
@pytest.mark.parametrize("code", [200, 103])
async def test_header_injection(reason: str, headers: Any, code: int) -> None:
    """A control character in a name, value or reason raises, and nothing was written."""
    talk, request = request_of()
    for _ in range(2):  # and again, for what is cached
        with pytest.raises(ValueError, match=r"[Ii]llegal|name|latin-1|framing"):
            request.connection.write_headers(("", code, reason), headers)
    assert talk.sent == b""
    assert request.connection.status == 0
    request.answer(b"sorry", 500)
    assert talk.statuses == [500]


@pytest.mark.parametrize("name", [b"Content-length", b"CONTENT-LENGTH", b"tRANSFER-eNCODING"])
async def test_raw_names_that_decide_the_framing(name: bytes) -> None:
    """A field that decides the framing cannot slip by in an odd spelling."""
    talk, request = request_of()
    with pytest.raises(ValueError, match="lower case"):
        request.connection.write_headers(OK, [(name, b"5")])
    for odd in (name.decode(), name.decode().lower()):
        with pytest.raises(ValueError, match=r"lower case|title case"):
            request.connection.write_headers(OK, [(odd, "5")])
    assert talk.sent == b""


@pytest.mark.parametrize("code", [99, 1000, 0, -200])
async def test_statuses_that_are_none(code: int) -> None:
    """A status has three digits."""
    talk, request = request_of()
    with pytest.raises(ValueError, match="three digits"):
        request.connection.write_headers(("", code, "X"), fields())
    assert talk.sent == b""


async def test_two_heads() -> None:
    """A second head for one request is the application's mistake."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="2"))
    before = talk.sent
    with pytest.raises(HTTPOutputError, match="twice"):
        request.connection.write_headers(OK, fields())
    assert talk.sent == before


async def test_no_head_at_all() -> None:
    """An answer that was finished without a head would give its client the next one's."""
    talk, request = request_of()
    talk.receive(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(HTTPOutputError, match="write_headers"):
        request.connection.finish()
    await talk.turn()
    assert talk.sent == b""
    assert len(talk.app.requests) == 1
    assert talk.transport.closed


@pytest.mark.parametrize("chunk", [bytearray(b"abc"), memoryview(b"abc")], ids=["array", "view"])
@pytest.mark.parametrize("size", [1, 10_000])
async def test_buffers_are_copied(chunk: Any, size: int) -> None:
    """What is written is what was given, whatever becomes of the buffer afterwards."""
    given = bytearray(bytes(chunk) * size)
    talk = Talk()

    def answer(request: Recorder) -> None:
        request.connection.write_headers(OK, fields(Content_Length=str(len(given))))
        request.connection.write(given if isinstance(chunk, bytearray) else memoryview(given))
        given[:] = b"?" * len(given)
        request.connection.finish()

    talk.app.on_finish = answer
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert talk.bodies == [b"abc" * size]


async def test_text_is_no_body() -> None:
    """Text is refused where it is written, not when it would go out."""
    talk, request = request_of()
    with pytest.raises(TypeError):
        request.connection.write_headers(OK, fields(Content_Length="2"), "ok")
    assert talk.sent == b""
    request.answer(b"no")  # nothing has been written: another head may be
    assert talk.bodies == [b"no"]
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="2"))
    with pytest.raises(TypeError):
        request.connection.write("ok")
    request.connection.write(b"ok")
    request.connection.finish()
    assert talk.bodies == [b"ok"]


async def test_bytes_without_a_head_go_out_as_they_are() -> None:
    """Tornado's way to write a preformatted answer works."""
    talk, request = request_of()
    request.connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    request.connection.finish()
    assert talk.bodies == [b"ok"]
    assert not talk.transport.closed
