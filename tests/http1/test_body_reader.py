"""Bodies: their limits, the pieces that an application gets, and what reading in bulk changes."""

from __future__ import annotations

import gzip

import pytest

from edgeserver.http1.connection import BATCH
from tests.http1.conversation import Talk

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(length: int, *lines: str) -> bytes:
    """Return a head that announces `length` bytes."""
    return "\r\n".join(
        ["POST / HTTP/1.1", "Host: a", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


def in_chunks(body: bytes, size: int) -> bytes:
    """Return `body` chunked in pieces of `size`."""
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# Pieces.


@pytest.mark.parametrize("segment", [1000, 20, 7, 1])
@pytest.mark.parametrize("coding", ["length", "chunked-50", "chunked-10", "chunked-1", "gzip"])
async def test_pieces_are_never_longer_than_chunk_size(coding: str, segment: int) -> None:
    """50 bytes at 16 are 16, 16, 16 and 2, or less where less has come."""
    body = bytes(range(50))
    talk = Talk(chunk_size=16, decompress_request=True)
    if coding == "length":
        data = post(50) + body
    elif coding == "gzip":
        packed = gzip.compress(body)
        data = post(len(packed), "Content-Encoding: gzip") + packed
    else:
        data = CHUNKED + in_chunks(body, int(coding.partition("-")[2]))
    talk.receive(*(data[i : i + segment] for i in range(0, len(data), segment)))
    (request,) = talk.app.requests
    assert request.body == body
    assert all(0 < len(piece) <= 16 for piece in request.pieces)
    if segment == 1000 and coding != "gzip":
        assert [len(piece) for piece in request.pieces] == [16, 16, 16, 2]
    assert request.ended == ["finish"]


async def test_small_chunks_of_one_segment_are_joined() -> None:
    """A flood of tiny chunks does not become a flood of calls."""
    talk = Talk()
    talk.receive(CHUNKED + in_chunks(b"x" * 60, 1))
    assert talk.app.requests[0].pieces == [b"x" * 60]


async def test_small_chunks_do_not_wait_for_more() -> None:
    """What has come is delivered before more is waited for."""
    talk = Talk()
    talk.receive(CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n")
    assert talk.app.requests[0].pieces == [b"a", b"b"]


async def test_a_body_in_many_pieces_yields() -> None:
    """The event loop has its turn after a batch of pieces of one segment."""
    talk = Talk(chunk_size=10)
    talk.receive(post(BATCH * 10 + 50) + b"x" * (BATCH * 10 + 50) + NEXT)
    (request,) = talk.app.requests
    assert len(request.pieces) <= BATCH
    await talk.turn()
    assert len(request.pieces) == BATCH + 5
    assert talk.statuses == [200, 200]


@pytest.mark.parametrize("segments", [1, 2])
async def test_what_follows_a_body_is_the_next_request(segments: int) -> None:
    """A body ends where its framing says, to the byte."""
    talk = Talk()
    data = post(3) + b"abc" + CHUNKED + b"3\r\ndef\r\n0\r\nX: y\r\n\r\n" + NEXT
    talk.receive(
        *(data[i::segments] for i in range(1)) if segments == 1 else (data[:70], data[70:])
    )
    assert [request.body for request in talk.app.requests] == [b"abc", b"def", b""]
    assert talk.statuses == [200] * 3


# Limits.


@pytest.mark.parametrize("body", [b"", b"12345", b"123456"], ids=["none", "at-the-limit", "over"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("limit", [0, 5])
async def test_max_body_size(body: bytes, chunked: bool, limit: int) -> None:
    """A body at its limit is served, one beyond it is refused with 413 before it is read."""
    talk = Talk(max_body_size=limit)
    talk.receive(CHUNKED + in_chunks(body, 4) if chunked else post(len(body)) + body)
    (request,) = talk.app.requests
    if len(body) <= limit:
        assert talk.statuses == [200]
        assert request.body == body
        return
    assert talk.statuses == [413]
    assert request.ended == ["close"]
    assert len(request.body) <= limit
    assert b"max_body_size" in talk.sent
    assert talk.transport.eof_written


async def test_too_large_a_body_is_refused_by_its_head() -> None:
    """No byte of a body that is announced as too large is waited for."""
    talk = Talk(max_body_size=5)
    talk.receive(post(6))
    assert talk.statuses == [413]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("limit", [2, 1000])
async def test_max_body_size_of_one_request(chunked: bool, limit: int) -> None:
    """An application sets the limit of one request, and the next one has the server's again."""
    talk = Talk(max_body_size=50)
    body = b"x" * 51
    data = CHUNKED + in_chunks(body, 51) if chunked else post(51) + body
    talk.app.on_head = lambda request: request.connection.set_max_body_size(limit)
    talk.receive(data)
    assert talk.statuses == ([200] if limit == 1000 else [413])
    if limit == 1000:
        talk.app.on_head = None
        talk.receive(data)
        assert talk.statuses == [200, 413]


async def test_max_body_size_in_the_middle_of_a_chunked_body() -> None:
    """The limit of a chunked body may be changed as long as it is read."""
    talk = Talk()
    talk.app.on_data = lambda request: request.connection.set_max_body_size(3)
    talk.receive(CHUNKED, b"2\r\nab\r\n", b"2\r\ncd\r\n")
    assert talk.statuses == [413]
    assert talk.app.requests[0].body == b"ab"


async def test_a_refusal_in_the_body() -> None:
    """A body that breaks its framing is refused, and its delegate hears of the end."""
    talk = Talk()
    talk.receive(CHUNKED, b"2\r\nab\r\n", b"zz\r\n" + NEXT)
    await talk.turn()
    (request,) = talk.app.requests
    assert talk.statuses == [400]
    assert request.ended == ["close"]
    assert request.body == b"ab"
    talk.receive(NEXT)
    assert len(talk.app.requests) == 1


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_a_refusal_of_head_has_no_body(method: str) -> None:
    """What is refused of a HEAD is told in the head alone."""
    talk = Talk(max_body_size=1)
    talk.receive(post(2).replace(b"POST", method.encode()))
    head, _, body = talk.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert bool(body) == (method == "POST")


async def test_a_refusal_behind_an_answer_that_has_begun() -> None:
    """Where an answer has begun, no other one is put into its middle."""
    talk = Talk()
    talk.app.on_head = lambda request: (
        request.connection.write_headers(("", 200, "OK"), [(b"date", b"x")], b"abc") and None
    )
    talk.receive(CHUNKED, b"zz\r\n")
    assert talk.statuses == [200]
    assert talk.sent.endswith(b"3\r\nabc\r\n")
    assert talk.transport.eof_written
