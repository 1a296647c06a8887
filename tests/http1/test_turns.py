"""Tiny units: whoever sends many of them waits behind whoever sends few.

Time is counted in units done, by a clock that moves when it is looked at: a turn of the event loop
that is too long on a slow machine is too long here.
"""

from __future__ import annotations

import asyncio
import gzip

import pytest

from edgeserver.http.limits import HTTPLimits
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Shared
from edgeserver.http1.body_decoders import MAX_CHUNKS
from edgeserver.http1.request_reader import HELD_INPUT
from tests.http1.conversation import App, Recorder, Talk, turns_of_units

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY_MEMBER = gzip.compress(b"")


def post_gzip(packed: bytes) -> bytes:
    """Return a request with a gzip body."""
    return (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(packed), packed)
    )


LOADS = {
    "requests": GET * 500,
    "heads": HEAD * 500,
    "empty-lines": (b"\r\n" + GET) * 500,
    "chunks": CHUNKED + b"1\r\na\r\n" * 10_000,
    "chunk-extensions": CHUNKED + b"1;a=b\r\na\r\n" * 10_000,
    "tiny-bodies": (CHUNKED + b"1\r\na\r\n0\r\n\r\n") * 500,
    "gzip-members": post_gzip((EMPTY_MEMBER * 10 + gzip.compress(b"x" * 40)) * 100),
    "gzip-bombs": post_gzip(gzip.compress(bytes(300_000))) * 4,
}


class Crowd:
    """Many connections of one server, each sending the same load, and what was done so far."""

    def __init__(self, load: bytes, count: int = 20, units: int = 4, waiting: int = 40) -> None:
        self.app = App()
        self.service = HTTPService(
            HTTPLimits(decompress_request=True, chunk_size=1000),
            self.app,
            turns=turns_of_units(units, waiting),
        )
        self.http1 = HTTP1Shared(self.service)
        self.talks: list[Talk] = []
        for _ in range(count):
            self.join().receive(load)

    @property
    def done(self) -> int:
        """How often the application has been called with a head or a piece."""
        return sum(1 + len(request.pieces) for request in self.app.requests)

    def join(self) -> Talk:
        """Return one more connection to the same server."""
        self.talks.append(Talk(app=self.app, http1=self.http1))
        return self.talks[-1]

    async def turn(self) -> None:
        """Give the event loop one turn."""
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Close all connections, and let what was still at work for them end."""
        self.service.connections.close()
        for _ in range(30):
            await self.turn()


@pytest.mark.parametrize("load", LOADS)
async def test_another_client_is_served_at_once(load: str) -> None:
    """A request that comes by itself does not wait for what others have sent before it."""
    crowd = Crowd(LOADS[load])
    for _ in range(3):
        before = crowd.done
        other = crowd.join()
        other.receive(GET)
        assert other.statuses == [200]
        await crowd.turn()
    assert crowd.done > before + 1  # and the others are not done yet
    await crowd.end()


@pytest.mark.parametrize("load", LOADS)
async def test_a_turn_is_short_over_all_connections(load: str) -> None:
    """What a turn does for all that wait is bounded together, not for each of them."""
    crowd = Crowd(LOADS[load])
    for _ in range(5):
        before = crowd.done
        await crowd.turn()
        assert 0 < crowd.done - before <= 50
    await crowd.end()


async def test_those_that_wait_are_served_in_turns() -> None:
    """Nobody is far ahead of anybody, however long what each of them has sent is."""
    crowd = Crowd(GET * 100)
    for _ in range(20):
        await crowd.turn()
        counts = [len(talk.statuses) for talk in crowd.talks]
        assert max(counts) - min(counts) <= 6
    assert min(counts) > 10


async def test_a_short_pipeline_overtakes_a_long_one() -> None:
    """Who has a little more than one unit to do waits for one round of the others."""
    crowd = Crowd(GET * 2000)
    other = crowd.join()
    other.receive(GET * 3)
    for _ in range(3):
        await crowd.turn()
    assert other.statuses == [200] * 3
    assert max(len(talk.statuses) for talk in crowd.talks) < 20


async def test_what_waits_is_read_no_further() -> None:
    """A connection whose input waits takes no more than its share of memory, and goes on later."""
    crowd = Crowd(b"", count=1)
    (talk,) = crowd.talks
    request = GET[:-2] + b"X: " + b"x" * 2000 + b"\r\n\r\n"
    segments = 2 * HELD_INPUT // len(request) // 10
    talk.receive(*[request * 10] * segments)
    assert not talk.transport.reading
    assert talk.transport.inbox
    for _ in range(100):
        await crowd.turn()
    assert talk.statuses == [200] * 10 * segments
    assert talk.transport.reading


async def test_input_that_comes_meanwhile_is_only_kept() -> None:
    """More input does not buy more time: it is looked at when the connection's turn comes."""
    crowd = Crowd(GET * 100)
    before = crowd.done
    for talk in crowd.talks:
        talk.receive(GET[:5], GET[5:])
    assert crowd.done == before


@pytest.mark.parametrize("how", ["eof", "lost", "drained", "closed"])
async def test_a_connection_that_ends_while_it_waits(how: str) -> None:
    """What waits is served to who still reads, and to nobody else."""
    crowd = Crowd(GET * 30, count=1)
    (talk,) = crowd.talks
    begun = len(talk.statuses)
    if how == "eof":
        talk.receive_eof()
    elif how == "lost":
        talk.connection.connection_lost(None)
    elif how == "drained":
        crowd.service.drain()
    else:
        crowd.service.connections.close()
    for _ in range(30):
        await crowd.turn()
    assert talk.connection.closing
    if how == "eof":
        assert len(talk.statuses) == 30
    elif how == "drained":
        assert len(talk.statuses) == begun + 1
    else:
        assert len(crowd.app.requests) == begun


@pytest.mark.parametrize("units", [2, 3, 50])
@pytest.mark.parametrize("segment", [1, 7, 400, 10**6])
async def test_turns_change_nothing_of_a_body(units: int, segment: int) -> None:
    """However a body is cut, and wherever its reader has to make way, it is the same."""
    body = bytes(range(256)) * 8
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    packed = b"".join(gzip.compress(body[i : i + 40]) for i in range(0, len(body), 40))
    data = CHUNKED + chunks + b"0\r\n\r\n" + post_gzip(packed) + GET
    crowd = Crowd(b"", count=1, units=units)
    (talk,) = crowd.talks
    talk.receive(*(data[i : i + segment] for i in range(0, len(data), segment)))
    for _ in range(3000):
        if len(talk.statuses) == 3:
            break
        await crowd.turn()
    assert [request.body for request in crowd.app.requests] == [body, body, b""]
    assert max(len(piece) for request in crowd.app.requests for piece in request.pieces) <= 1000


async def test_small_chunks_become_few_calls() -> None:
    """Chunks that came together are given to the application together, up to `chunk_size`."""
    talk = Talk()
    talk.receive(CHUNKED + b"1\r\na\r\n" * (MAX_CHUNKS * 100) + b"0\r\n\r\n")
    (request,) = talk.app.requests
    assert request.pieces == [b"a" * (MAX_CHUNKS * 100)]
    assert talk.statuses == [200]


async def test_an_awaitable_holds_back_what_was_joined() -> None:
    """A body that is held goes on where it was, with all that came meanwhile in one piece."""
    talk = Talk()
    held: list[asyncio.Future[None]] = []

    def hold(request: Recorder) -> asyncio.Future[None]:
        held.append(asyncio.get_running_loop().create_future())
        return held[-1]

    talk.app.on_data = hold
    talk.receive(CHUNKED + b"1\r\na\r\n" * 200)
    (request,) = talk.app.requests
    assert request.pieces == [b"a" * 200]
    talk.receive(b"1\r\nb\r\n" * 100, b"1\r\nc\r\n" * 100 + b"0\r\n\r\n")
    await talk.turn()
    assert request.pieces == [b"a" * 200]
    held[0].set_result(None)
    await talk.turn()
    assert request.pieces == [b"a" * 200, b"b" * 100 + b"c" * 100]
    assert request.ended == []
    held[1].set_result(None)
    await talk.turn()
    assert request.ended == ["finish"]


@pytest.mark.parametrize("limit", [499, 500])
async def test_joined_chunks_count_to_the_byte(limit: int) -> None:
    """`max_body_size` is exact for chunks that are joined."""
    talk = Talk(max_body_size=limit)
    talk.receive(CHUNKED + b"1\r\na\r\n" * 500 + b"0\r\n\r\n")
    assert talk.statuses == ([200] if limit == 500 else [413])
    assert len(talk.app.requests[0].body) <= limit
