"""Gzip bodies: whole or in pieces, members and rubbish, and where a bomb is cut."""

from __future__ import annotations

import asyncio
import gzip
import logging
import tracemalloc
import zlib
from typing import Any

import pytest

from tests.http1.conversation import Recorder, Talk

BODY = bytes(i * i % 251 for i in range(100_000))


def post(body: bytes, *lines: str) -> bytes:
    """Return a request with a gzip body."""
    lines = lines or ("Content-Encoding: gzip",)
    head = ["POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def receive(talk: Talk, data: bytes, segment: int) -> None:
    """Let the connection receive `data` in segments."""
    talk.receive(*(data[i : i + segment] for i in range(0, len(data), segment)))


@pytest.mark.parametrize("segment", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("chunk_size", [1, 1000, 65536])
@pytest.mark.parametrize("members", [1, 3])
async def test_decompress(segment: int, chunk_size: int, members: int) -> None:
    """The application gets what was packed, all members of it, in pieces of at most chunk_size."""
    body = BODY[: 500 if 1 in (segment, chunk_size) else None] + bytes(2000)
    talk = Talk(decompress_request=True, chunk_size=chunk_size)
    receive(talk, post(gzip.compress(body) * members), segment)
    await talk.turn(20 + len(body) * members // chunk_size // 16)
    (request,) = talk.app.requests
    assert request.body == body * members
    assert max(map(len, request.pieces)) <= chunk_size
    assert request.ended == ["finish"]
    assert talk.statuses == [200]


@pytest.mark.parametrize("value", ["gzip", "GZIP", "Gzip"])
async def test_the_encoding_is_consumed(value: str) -> None:
    """The field that says gzip has another name afterwards."""
    talk = Talk(decompress_request=True)
    talk.receive(post(gzip.compress(b"abc"), f"Content-Encoding: {value}", "X: y"))
    (request,) = talk.app.requests
    assert "Content-Encoding" not in request.headers
    assert request.headers["X-Consumed-Content-Encoding"] == value
    assert request.headers["X"] == "y"
    assert request.body == b"abc"


@pytest.mark.parametrize(
    ("lines", "decompress"),
    [
        (("Content-Encoding: gzip",), False),
        (("Content-Encoding: br",), True),
        (("Content-Encoding: gzip, gzip",), True),
        (("Content-Encoding: br, gzip",), True),
        (("Content-Encoding: br", "Content-Encoding: gzip"), True),
        (("Content-Encoding: gzip", "Content-Encoding: br"), True),
        (("Content-Encoding: gzip", "Content-Encoding: gzip"), True),
        (("X: y",), True),
    ],
)
async def test_what_is_left_as_it_is(lines: tuple[str, ...], decompress: bool) -> None:
    """Only one coding, gzip, is taken away, and only if it was asked for."""
    talk = Talk(decompress_request=decompress)
    talk.receive(post(b"rubbish", *lines))
    (request,) = talk.app.requests
    assert request.body == b"rubbish"
    assert "X-Consumed-Content-Encoding" not in request.headers
    assert talk.statuses == [200]


async def test_a_request_without_body() -> None:
    """A field that says gzip of nothing is no error."""
    talk = Talk(decompress_request=True)
    talk.receive(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n", post(b""))
    assert talk.statuses == [200, 200]


PACKED = gzip.compress(BODY[:1000])


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(PACKED + b"junk", id="junk-behind"),
        pytest.param(PACKED + b"\x00" * 20, id="zeros-behind"),
        pytest.param(PACKED + PACKED[:15], id="half-a-member-behind"),
        pytest.param(PACKED[:-1], id="last-byte-missing"),
        pytest.param(PACKED[:10], id="nothing-but-a-head"),
        pytest.param(PACKED[:1], id="one-byte"),
        pytest.param(b"plain text", id="plain"),
        pytest.param(zlib.compress(BODY), id="zlib"),
        pytest.param(PACKED[:-8] + b"\x00" * 8, id="bad-checksum"),
        pytest.param(PACKED[:50] + b"\xff" * 20 + PACKED[70:], id="broken"),
    ],
)
@pytest.mark.parametrize("segment", [1, 10**6], ids=["bytewise", "whole"])
async def test_rubbish(packed: bytes, segment: int, caplog: pytest.LogCaptureFixture) -> None:
    """What is not gzip to its last byte is refused, and the delegate hears of the end."""
    caplog.set_level(logging.INFO)
    talk = Talk(decompress_request=True)
    receive(talk, post(packed), segment)
    await talk.turn()
    (request,) = talk.app.requests
    assert talk.statuses == [400]
    assert request.ended == ["close"]
    assert talk.ending
    (record,) = caplog.records
    assert "invalid gzip data" in record.getMessage()


@pytest.mark.parametrize("limit", [1_000_000, 1_000_000 - 1])
async def test_max_body_size_counts_what_comes_out(limit: int) -> None:
    """The limit is of the decompressed body."""
    talk = Talk(decompress_request=True, max_body_size=limit)
    talk.receive(post(gzip.compress(bytes(1_000_000))))
    await talk.turn(50)
    assert talk.statuses == ([200] if limit == 1_000_000 else [413])
    assert len(talk.app.requests[0].body) <= limit


async def test_max_body_size_of_one_request() -> None:
    """An application's own limit holds for what comes out, too."""
    talk = Talk(decompress_request=True)
    talk.app.on_head = lambda request: request.connection.set_max_body_size(999)
    talk.receive(post(gzip.compress(bytes(1000))))
    assert talk.statuses == [413]


async def test_a_bomb_costs_little_memory() -> None:
    """A bomb is cut at the limit, and never unpacked beyond a piece in memory."""
    bomb = gzip.compress(bytes(50_000_000))
    talk = Talk(decompress_request=True, max_body_size=10_000_000)
    sizes = []

    def count(request: Recorder) -> None:
        sizes.append(len(request.pieces.pop()))
        request.body = b""

    talk.app.on_data = count
    tracemalloc.start()
    try:
        talk.receive(post(bomb))
        await talk.turn(100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert talk.statuses == [413]
    assert 9_000_000 < sum(sizes) <= 10_000_000
    assert peak < 2_000_000


async def test_a_bomb_yields() -> None:
    """The event loop has its turn while a small body becomes a large one."""
    talk = Talk(decompress_request=True, chunk_size=1000)
    talk.receive(post(gzip.compress(bytes(100_000))))
    (request,) = talk.app.requests
    assert len(request.pieces) < 100
    await talk.turn(20)
    assert len(request.pieces) == 100
    assert talk.statuses == [200]


async def test_an_awaitable_in_the_middle() -> None:
    """An awaitable holds back the rest of what a piece unpacks to."""
    talk = Talk(decompress_request=True, chunk_size=100)
    gates: list[asyncio.Future[None]] = []

    def hold(request: Recorder) -> Any:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    talk.app.on_data = hold
    talk.receive(post(gzip.compress(b"x" * 250)))
    (request,) = talk.app.requests
    for size in (100, 200, 250):
        assert len(request.body) == size
        assert request.ended == []
        gates[-1].set_result(None)
        await talk.turn()
    assert request.ended == ["finish"]


async def test_rubbish_behind_an_awaitable(caplog: pytest.LogCaptureFixture) -> None:
    """What is found to be rubbish after an awaitable is refused all the same."""
    caplog.set_level(logging.WARNING)
    talk = Talk(decompress_request=True)
    talk.app.on_data = lambda request: asyncio.sleep(0)
    talk.receive(post(gzip.compress(b"abc") + b"junk"))
    await talk.turn(10)
    assert talk.statuses == [400]
    assert talk.app.requests[0].ended == ["close"]
    assert not caplog.records


async def test_rubbish_that_nobody_reads_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger cannot have errors logged by leaving rubbish behind."""
    caplog.set_level(logging.WARNING)
    talk = Talk(decompress_request=True)
    gate = asyncio.get_running_loop().create_future()
    talk.app.on_data = lambda request: gate
    talk.receive(post(gzip.compress(b"abc") + b"junk"))
    talk.transport.abort()
    await talk.turn()
    gate.set_result(None)
    await talk.turn()
    assert talk.app.requests[0].ended == ["close"]
    assert not caplog.records


@pytest.mark.parametrize("how", ["lost", "answered"])
async def test_nothing_is_delivered_after_the_end(how: str) -> None:
    """A delegate that has heard of the end is given nothing that was still packed."""
    talk = Talk(decompress_request=True, chunk_size=10)
    gate = asyncio.get_running_loop().create_future()
    talk.app.on_data = lambda request: gate
    talk.receive(post(gzip.compress(b"x" * 100))[:-1])
    (request,) = talk.app.requests
    if how == "lost":
        talk.transport.abort()
    else:
        request.answer(b"enough")
    await talk.turn()
    gate.set_result(None)
    await talk.turn()
    assert request.ended == ["close"]
    assert request.pieces == [b"x" * 10]
