"""Bodies: their limits, the pieces that an application gets, and what reading in bulk changes."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from edgeserver.http1.bodies import BULK_BODY
from edgeserver.http1.bulk import BulkReader
from edgeserver.http1.connection import BATCH
from tests.http1.conversation import Recorder, Talk

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


# In bulk.


def is_bulk(talk: Talk) -> bool:
    """Say whether a `BulkReader` reads at the moment."""
    return isinstance(talk.transport.protocol, BulkReader)


@pytest.mark.parametrize("segment", [1_000, 65_536, 100_000])
@pytest.mark.parametrize("first", [0, 1, 50_000], ids=["head-alone", "one-byte", "more"])
async def test_bulk_reading_changes_nothing(segment: int, first: int) -> None:
    """A long body arrives whole, in pieces of the right size, and so does what follows it."""
    body = bytes(i % 251 for i in range(300_000))
    talk = Talk()
    talk.receive(post(len(body)) + body[:first])
    assert is_bulk(talk)
    data = body[first:] + NEXT
    talk.receive(*(data[i : i + segment] for i in range(0, len(data), segment)))
    assert not is_bulk(talk)
    assert [request.body for request in talk.app.requests] == [body, b""]
    assert all(len(piece) <= 65_536 for piece in talk.app.requests[0].pieces)
    assert talk.statuses == [200, 200]


@pytest.mark.parametrize("length", [BULK_BODY, BULK_BODY + 1])
async def test_when_bodies_are_read_in_bulk(length: int) -> None:
    """Only what is longer than a piece is worth it, and never a chunked body."""
    talk = Talk()
    talk.receive(post(length))
    assert is_bulk(talk) == (length > BULK_BODY)
    talk = Talk()
    talk.receive(CHUNKED + b"fffff\r\n")
    assert not is_bulk(talk)


async def test_bulk_reading_is_held() -> None:
    """An awaitable stops the socket at once, and lets it go on."""
    talk = Talk()
    gates: list[asyncio.Future[None]] = []

    def hold(request: Recorder) -> Any:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    talk.app.on_data = hold
    talk.receive(post(200_000))
    while len(talk.app.requests[0].body) < 200_000:
        talk.receive(b"x" * 40_000)
        assert talk.transport.reading == (len(talk.app.requests[0].body) == 200_000)
        assert talk.app.requests[0].ended == []
        gates[-1].set_result(None)
        await talk.turn()
        assert talk.transport.reading
    assert talk.app.requests[0].ended == ["finish"]
    assert talk.statuses == [200]
    talk.receive(NEXT)
    assert talk.statuses == [200, 200]


@pytest.mark.parametrize("how", ["eof", "lost", "timeout", "answer", "fail", "close", "refuse"])
async def test_bulk_reading_ends(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """However it ends, the delegate hears of it once, and nothing more is read as a body."""
    talk = Talk(body_timeout=60)
    talk.receive(post(200_000))
    talk.receive(b"x" * 1000)
    (request,) = talk.app.requests
    assert is_bulk(talk)
    if how == "eof":
        talk.receive_eof()
    elif how == "lost":
        talk.transport.abort()
    elif how == "timeout":
        await talk.later(70)
        assert talk.statuses == [408]
    elif how == "answer":
        request.answer(b"enough")
        assert talk.statuses == [200]
    elif how == "close":
        talk.endpoint.close()
    else:

        def fail(request: Recorder) -> None:
            raise (ValueError if how == "fail" else type("HTTPInputError", (Exception,), {}))

        talk.app.on_data = fail
        talk.receive(b"x")
    await talk.turn()
    talk.receive(b"y" * 1000)
    await talk.turn()
    assert request.ended == ["close"]
    assert b"y" not in request.body
    assert talk.ending
    assert len(caplog.records) == (how == "fail")
    talk.transport.abort()
    await talk.turn()
    assert request.ended == ["close"]


async def test_bulk_reading_passes_flow_control_on() -> None:
    """While a body is read in bulk the connection still hears of a stalled peer."""
    talk = Talk()
    talk.receive(post(200_000))
    (request,) = talk.app.requests
    talk.transport.stalled = True
    request.connection.write_headers(("", 200, "OK"), [(b"date", b"x")])
    pending = request.connection.write(b"x" * 70_000)
    assert not pending.done()
    talk.transport.take()
    assert pending.done()
    assert talk.transport.reading
