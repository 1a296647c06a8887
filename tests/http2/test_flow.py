"""Windows: what is sent when, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.conversation import DATA, WINDOW_UPDATE, App, Talk, frame, number
from tests.http2.conversation import settings as settings_frame

HEAD = ("", 200, "OK")


def begun(window: int = 65535, count: int = 1, app: App | None = None) -> tuple[Talk, list[Any]]:
    """Return a conversation in which requests wait for their bodies, and where these go."""
    app = App() if app is None else app
    app.on_finish = lambda request: None
    talk = Talk(app=app)
    talk.receive(settings_frame(_4=window))
    for _ in range(count):
        talk.ask()
    connections = [request.connection for request in app.requests]
    for connection in connections:
        connection.write_headers(HEAD, [])
    return talk, connections


def grant(talk: Talk, stream: int, size: int) -> None:
    """Let the peer take `size` bytes more."""
    talk.receive(frame(WINDOW_UPDATE, 0, stream, number(size)))


async def test_a_long_body_in_frames() -> None:
    """As much as the windows allow, in frames of 16 KiB, and END_STREAM in the last."""
    talk, (connection,) = begun()
    connection.write(bytes(100_000))
    connection.finish()
    sizes = [len(each.payload) for each in talk.frames(DATA)]
    assert sizes == [16384, 16384, 16384, 16383]
    grant(talk, 0, 100_000)
    assert talk.sent
    assert len(talk.frames(DATA)) == 4
    grant(talk, 1, 100_000)
    assert [len(each.payload) for each in talk.frames(DATA)][4:] == [16384, 16384, 1697]
    assert talk.frames(DATA)[-1].flags == 1
    assert talk.service.connections.in_flight == 0


@pytest.mark.parametrize(
    ("granted", "then", "sizes"),
    [
        pytest.param(0, 1000, [1000], id="narrower"),
        pytest.param(0, 9000, [5000], id="wider"),
        pytest.param(3000, 1000, [4000], id="widened, then narrower"),
        pytest.param(3000, 2000, [5000], id="widened to what is needed"),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
async def test_windows_that_move_before_the_answer(
    whole: bool, granted: int, then: int, sizes: list[int]
) -> None:
    """The stream's is what SETTINGS say last, and what was granted to it alone besides."""
    app = App()
    app.on_finish = lambda request: None
    talk = Talk(app=app)
    talk.receive(settings_frame(_4=4096))
    talk.ask()
    if granted:
        grant(talk, 1, granted)
    talk.receive(settings_frame(_4=then))
    connection = app.requests[0].connection
    connection.write_headers(HEAD, [("Content-Length", "5000")], bytes(5000), whole=whole)
    connection.finish()
    assert [len(each.payload) for each in talk.frames(DATA)] == sizes
    grant(talk, 1, 5000)
    assert sum(len(each.payload) for each in talk.frames(DATA)) == 5000
    assert talk.frames(DATA)[-1].flags == 1


@pytest.mark.parametrize("window", [65535, 10])
@pytest.mark.parametrize("paused", [False, True], ids=["at once", "paused"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
async def test_an_answer_in_hand(whole: bool, paused: bool, window: int) -> None:
    """Its DATA ends the stream: nothing empty follows, whatever has stood in its way."""
    app = App()

    def answer(request: Any) -> None:
        if paused:
            talk.connection.pause_writing()
        fields = [(b"content-length", b"20")]
        request.connection.write_headers(HEAD, fields, b"x" * 20, whole=whole)
        request.connection.finish()

    app.on_finish = answer
    talk = Talk(app=app)
    talk.receive(settings_frame(_4=window))
    stream = talk.ask()
    if paused:
        talk.connection.resume_writing()
    grant(talk, stream, 1000)
    assert talk.answer(stream).body == b"x" * 20
    frames = talk.frames(DATA)
    assert [each.flags for each in frames] == [0] * (len(frames) - 1) + [1]
    assert all(each.payload for each in frames)
    assert talk.service.connections.in_flight == 0


async def test_a_first_window_that_changes() -> None:
    """What streams may send changes by the difference, below nothing, too."""
    talk, (connection,) = begun(window=3000)
    connection.write(bytes(10_000))
    assert sum(len(each.payload) for each in talk.frames(DATA)) == 3000
    talk.receive(settings_frame(_4=1000))  # 2000 below nothing
    grant(talk, 1, 2000)
    assert sum(len(each.payload) for each in talk.frames(DATA)) == 3000
    talk.receive(settings_frame(_4=4000))
    assert sum(len(each.payload) for each in talk.frames(DATA)) == 6000


@pytest.mark.parametrize("window", [1, 100])
async def test_a_tiny_window(window: int) -> None:
    """A peer that takes a byte at a time gets it; what it asks for so is counted."""
    talk, (connection,) = begun(window=window)
    connection.write(b"x" * 300)
    assert [len(each.payload) for each in talk.frames(DATA)] == [window]


async def test_the_rest_of_a_window_waits_for_more() -> None:
    """No frame is shorter than 1 KiB because of a window, unless it is the rest."""
    talk, (connection,) = begun(window=16384 + 500)
    connection.write(bytes(20_000))
    assert [len(each.payload) for each in talk.frames(DATA)] == [16384]
    grant(talk, 1, 600)
    assert [len(each.payload) for each in talk.frames(DATA)] == [16384, 1100]
    connection.finish()
    grant(talk, 1, 100_000)
    assert sum(len(each.payload) for each in talk.frames(DATA)) == 20_000


async def test_streams_take_turns() -> None:
    """Long answers share the connection: nobody's waits for the end of another's."""
    talk, connections = begun(window=200_000, count=3)
    grant(talk, 0, 1_000_000)
    for connection in connections:
        connection.write(bytes(50_000))
        connection.finish()
    assert [each.stream for each in talk.frames(DATA)][:6] == [1, 3, 5, 1, 3, 5]
    assert all(answer.ended for answer in talk.answers.values())


async def test_a_small_answer_beside_a_long_one() -> None:
    """It does not wait until the long one is sent."""
    talk, (long, short) = begun(window=1_000_000, count=2)
    long.write(bytes(1_000_000))
    assert talk.sent  # the window of the connection is used up
    short.write(b"short")
    short.finish()
    long.finish()
    grant(talk, 0, 20_000)
    assert talk.answer(3).body == b"short"


async def test_a_write_waits_for_its_own_stream() -> None:
    """Back-pressure is a stream's: another with a window goes on."""
    talk, (stuck, free) = begun(window=0, count=2)
    grant(talk, 3, 100_000)
    assert stuck.write(bytes(65536)).done()
    waiting = stuck.write(b"more")
    assert not waiting.done()
    assert free.write(b"x").done()
    grant(talk, 1, 20_000)
    assert talk.sent
    assert waiting.done()


async def test_all_streams_together_hold_no_more_than_1_mib() -> None:
    """Then each write waits, however little its own stream holds."""
    talk, connections = begun(window=0, count=17)
    for connection in connections[:16]:
        connection.write(bytes(65536))
    last = connections[16].write(b"x")
    assert not last.done()
    for stream in range(1, 8, 2):
        grant(talk, stream, 16_384)
    assert talk.sent
    assert last.done()


async def test_who_waits_goes_on_when_the_stream_is_reset() -> None:
    """And what it writes then is lost, as with a connection that is lost."""
    talk, (connection,) = begun(window=0)
    waiting = connection.write(bytes(70_000))
    assert not waiting.done()
    talk.receive(frame(3, 0, 1, number(8)))
    assert waiting.done()
    assert connection.write(b"x").exception() is not None


async def test_an_application_that_holds_back_its_body() -> None:
    """The peer gets credit for what was taken, and only then."""
    app = App()
    talk = Talk(app=app)
    taken = talk.connection.sender.output.loop.create_future()
    app.on_data = lambda request: taken if not taken.done() else None
    stream = talk.post()
    for _ in range(16):
        talk.data(stream, bytes(16384))
    assert not talk.frames(WINDOW_UPDATE, stream)
    assert app.requests[0].pieces == [bytes(16384)]
    taken.set_result(None)
    await talk.turn()
    assert len(app.requests[0].body) == 16 * 16384
    given = [int.from_bytes(each.payload, "big") for each in talk.frames(WINDOW_UPDATE, stream)]
    assert given
    talk.data(stream, b"", ends=True)
    assert talk.answer(stream).body == b"ok"


async def test_pieces_are_no_longer_than_chunk_size() -> None:
    """As in HTTP/1."""
    talk = Talk(chunk_size=1000)
    stream = talk.post()
    talk.data(stream, bytes(2500), ends=True)
    assert [len(piece) for piece in talk.app.requests[0].pieces] == [1000, 1000, 500]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40_000)), min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from([0, 1, 3, 5]), st.integers(1, 60_000)), max_size=12),
    st.integers(0, 70_000),
)
def test_windows_are_kept_and_nothing_is_lost(
    writes: list[tuple[int, int]], grants: list[tuple[int, int]], window: int
) -> None:
    """Whatever is written and granted: never more than allowed, in the end all, in order."""
    import asyncio

    async def run() -> None:
        talk, connections = begun(window=window, count=3)
        sent = {1: b"", 3: b"", 5: b""}
        allowed = {0: 65535, 1: window, 3: window, 5: window}
        for number_, (place, size) in enumerate(writes):
            data = bytes((number_,)) * size
            sent[2 * place + 1] += data
            connections[place].write(data)
        for connection in connections:
            connection.finish()
        for stream, step in [*grants, *((each, 400_000) for each in (1, 3, 5, 0))]:
            assert talk.sent
            used = dict.fromkeys(sent, 0)
            for each in talk.frames(DATA):
                used[each.stream] += len(each.payload)
            assert sum(used.values()) <= allowed[0]
            assert all(used[each] <= allowed[each] for each in sent)
            allowed[stream] += step
            grant(talk, stream, step)
        assert {stream: answer.body for stream, answer in talk.answers.items()} == sent
        assert all(answer.ended for answer in talk.answers.values())

    asyncio.run(run())
