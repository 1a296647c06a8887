"""Answers: how they are framed, what is never written, and to whom they belong."""

from __future__ import annotations

import pytest

from edgeserver.errors import HTTPOutputError, StreamClosedError
from edgeserver.httputil import HTTPHeaders, ResponseStartLine
from tests.http1.conversation import Recorder, Talk, fields, request_of

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
DATE = b"Date: x\r\n"


# Framing.


async def test_a_declared_length() -> None:
    """An answer with its length goes out as it is, and the connection lives on."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(Content_Length="5"), b"hel")
    request.connection.write(b"lo")
    request.connection.finish()
    assert talk.sent == b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 5\r\n\r\nhello"
    assert not talk.transport.closed


async def test_no_length_means_chunked() -> None:
    """Without a length an answer to 1.1 is chunked, and an empty write is no chunk."""
    talk, request = request_of()
    request.connection.write_headers(OK, fields(), b"abc")
    request.connection.write(b"")
    request.connection.write(b"x" * 0x1F)
    request.connection.write(b"")
    request.connection.finish()
    assert talk.sent == (
        b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n1f\r\n" + b"x" * 0x1F + b"\r\n0\r\n\r\n"
    )
    assert not talk.transport.closed


@pytest.mark.parametrize("size", [16383, 16384, 16385, 65535, 65536, 65537, 300_000])
@pytest.mark.parametrize("length", [False, True], ids=["chunked", "length"])
@pytest.mark.parametrize("sync", [False, True], ids=["later", "sync"])
async def test_large_pieces_are_framed_as_small_ones(size: int, length: bool, sync: bool) -> None:
    """However a piece is handed to the transport, the bytes are the same."""
    chunk = bytes(range(256)) * (size // 256 + 1)
    chunk = chunk[:size]
    headers = fields(Content_Length=str(2 * size)) if length else fields()

    def answer(request: Recorder) -> None:
        request.connection.write_headers(OK, headers, chunk)
        request.connection.write(chunk)
        request.connection.finish()

    talk = Talk()
    talk.app.on_finish = answer if sync else lambda request: None
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    if not sync:
        answer(talk.app.requests[0])
    await talk.turn()
    body = talk.sent.partition(b"\r\n\r\n")[2]
    piece = b"%x\r\n%b\r\n" % (size, chunk)
    assert body == (chunk * 2 if length else piece * 2 + b"0\r\n\r\n")
    assert talk.app.requests[0].connection.bytes_sent >= 2 * size


async def test_no_length_to_1_0_ends_with_the_connection() -> None:
    """Without a length an answer to 1.0 is raw, and closes, even if keep-alive was asked for."""
    talk, request = request_of(version="1.0", lines="Connection: keep-alive\r\n")
    request.connection.write_headers(OK, fields(), b"abc")
    request.connection.write(b"def")
    request.connection.finish()
    assert talk.sent == b"HTTP/1.1 200 OK\r\n" + DATE + b"\r\nabcdef"
    assert talk.transport.closed
    assert not talk.transport.aborted


@pytest.mark.parametrize("act", ["abort", "less", "lost"])
async def test_a_broken_answer_to_1_0_is_reset(act: str) -> None:
    """Where only the end of the connection ends the body, a cut one does not look complete."""
    talk, request = request_of(version="1.0")
    request.connection.write_headers(OK, fields(), b"abc")
    if act == "abort":
        request.connection.abort()
    elif act == "less":
        request.connection.stream.close()
    else:
        talk.connection.close()
    assert talk.transport.aborted


@pytest.mark.parametrize("length", ["5", None])
async def test_head_has_the_same_head_and_no_body(length: str | None) -> None:
    """An answer to HEAD has the fields of the one to GET but the body, which is dropped."""
    talk, request = request_of("HEAD")
    headers = fields(Content_Length=length) if length else fields()
    request.connection.write_headers(OK, headers, b"hel")
    request.connection.write(b"lo")
    request.connection.finish()
    line = b"Content-Length: 5\r\n" if length else b""
    assert talk.sent == b"HTTP/1.1 200 OK\r\n" + DATE + line + b"\r\n"
    assert not talk.transport.closed


@pytest.mark.parametrize("code", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_statuses_without_body(code: int, method: str, version: str) -> None:
    """204 and 304 have neither body nor coding; a 304 may say the length that it stands for."""
    talk, request = request_of(method, version, "Connection: keep-alive\r\n")
    request.connection.write_headers(("", code, "X"), fields(Content_Length="5"))
    request.connection.finish()
    kept = b"Content-Length: 5\r\n" if code == 304 else b""
    echo = b"Connection: Keep-Alive\r\n" if version == "1.0" else b""
    assert talk.sent == b"HTTP/1.1 %d X\r\n" % code + DATE + kept + echo + b"\r\n"
    assert not talk.transport.closed


@pytest.mark.parametrize("code", [204, 304])
async def test_a_body_where_there_is_none(code: int) -> None:
    """A body of a 204 or 304 is the application's mistake, and never written."""
    talk, request = request_of()
    request.connection.write_headers(("", code, "X"), fields())
    with pytest.raises(HTTPOutputError, match=f"a {code} answer has no body"):
        request.connection.write(b"x")
    assert talk.sent.endswith(b"\r\n\r\n")
    assert talk.transport.closed


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"123456"], "Tried to write more data than Content-Length"),
        ([b"123", b"456"], "Tried to write more data than Content-Length"),
        ([b"12345", b"6"], "Tried to write more data than Content-Length"),
        ([], "Tried to write 5 bytes less than Content-Length"),
        ([b"1", b"23"], "Tried to write 2 bytes less than Content-Length"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["with-head", "after-head"])
async def test_wrong_length(chunks: list[bytes], message: str, first: bool) -> None:
    """More or less than was declared raises, closes, and never writes past the length."""
    talk, request = request_of()
    connection = request.connection

    def write() -> None:
        rest = chunks
        if first and chunks:
            connection.write_headers(OK, fields(Content_Length="5"), chunks[0])
            rest = chunks[1:]
        else:
            connection.write_headers(OK, fields(Content_Length="5"))
        for chunk in rest:
            connection.write(chunk)
        connection.finish()

    with pytest.raises(HTTPOutputError, match=message):
        write()
    await talk.turn()
    assert talk.transport.closed
    assert len(talk.sent.partition(b"\r\n\r\n")[2]) <= 5
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(talk.app.requests) == 1


@pytest.mark.parametrize("value", ["five", "", "-1", "+5", "5.0", " 5", "5,5", "\u0665", "1" * 19])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_length_that_is_none(value: str, whole: bool) -> None:
    """A length that is no number raises, and nothing was written."""
    talk, request = request_of()
    with pytest.raises(ValueError, match=r"Content-Length|latin-1"):
        request.connection.write_headers(OK, [(b"content-length", value)], b"12345", whole=whole)
    assert talk.sent == b""
    request.answer(b"sorry", 500)
    assert talk.statuses == [500]


async def test_two_lengths() -> None:
    """Two lengths that agree are one; two that do not raise, and nothing was written."""
    talk, request = request_of()
    headers = fields(Content_Length="5")
    headers.add("Content-Length", "6")
    with pytest.raises(ValueError, match="Content-Length is both 5 and 6"):
        request.connection.write_headers(OK, headers)
    assert talk.sent == b""
    pairs = [(b"content-length", b"2"), (b"Content-Length", b"2"), (b"date", b"x")]
    request.connection.write_headers(OK, pairs, b"ok")
    request.connection.finish()
    assert talk.sent.count(b"ontent-") == 1


@pytest.mark.parametrize(
    ("length", "chunk", "outcome"),
    [
        (None, b"abc", b"Content-Length: 3\r\n\r\nabc"),
        (None, b"", b"Content-Length: 0\r\n\r\n"),
        (None, None, b"Content-Length: 0\r\n\r\n"),
        ("3", b"abc", b"Content-Length: 3\r\n\r\nabc"),
        ("4", b"abc", None),
        ("2", b"abc", None),
    ],
)
async def test_a_whole_body(length: str | None, chunk: bytes | None, outcome: bytes | None) -> None:
    """A body given whole has its length declared; a length that differs raises in time."""
    talk, request = request_of()
    headers = fields(Content_Length=length) if length else fields()
    if outcome is None:
        with pytest.raises(HTTPOutputError, match="and the body has 3"):
            request.connection.write_headers(OK, headers, chunk, whole=True)
        assert talk.sent == b""
        assert request.connection.status == 0
        request.answer(b"sorry", 500)
        assert talk.statuses == [500]
        return
    request.connection.write_headers(OK, headers, chunk, whole=True)
    request.connection.finish()
    assert talk.sent.endswith(outcome)
    assert not talk.transport.closed


@pytest.mark.parametrize(("method", "code"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_whole_where_there_is_no_body(method: str, code: int) -> None:
    """What has no body is not given a length by itself."""
    talk, request = request_of(method)
    request.connection.write_headers(("", code, "X"), fields(), b"", whole=True)
    request.connection.finish()
    assert talk.sent == b"HTTP/1.1 %d X\r\n" % code + DATE + b"\r\n"


async def test_the_servers_own_fields() -> None:
    """Transfer-Encoding is the server's; a Date of the application's stands, else there is one."""
    talk, request = request_of()
    headers = HTTPHeaders({"Transfer-Encoding": "gzip, chunked"})
    request.connection.write_headers(OK, headers)
    request.connection.finish()
    assert talk.sent.count(b"Transfer-Encoding") == 1
    assert b"Transfer-Encoding: chunked\r\n" in talk.sent
    assert b"GMT\r\n" in talk.sent


# To whom an answer belongs.


async def test_a_stale_exchange_reaches_nobody() -> None:
    """After `finish` nothing that is written, set or closed touches the next request."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    (first,) = talk.app.requests
    stream = first.connection.stream
    first.answer(b"one")
    talk.receive(b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    before = talk.sent
    stale = first.connection
    for future in (stale.write(b"x"), stale.write_headers(OK, fields()), stale.write(b"")):
        assert isinstance(future.exception(), StreamClosedError)
    stale.finish()
    stale.abort()
    stale.set_max_body_size(1)
    stale.set_body_timeout(0.001)
    with pytest.raises(StreamClosedError):
        stale.detach()
    assert stream.closed()
    with pytest.raises(StreamClosedError):
        stream.write(b"x")
    stream.close()
    stale.stream.close()
    await talk.later(1)
    assert talk.sent == before
    assert not talk.ending
    talk.receive(b"5\r\nhello\r\n0\r\n\r\n")
    talk.app.requests[1].answer(b"two")
    assert talk.bodies == [b"one", b"two"]


async def test_a_refusal_behind_an_answer_to_1_0_is_reset() -> None:
    """Half an answer that only the end of the connection ends does not look complete."""
    talk = Talk()
    talk.app.on_head = lambda request: (
        request.connection.write_headers(OK, fields(), b"abc") and None
    )
    talk.receive(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    assert talk.sent.endswith(b"\r\n\r\nabc")
    assert talk.transport.aborted
