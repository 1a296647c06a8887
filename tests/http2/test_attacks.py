"""Attacks: what costs a peer little ends within its bound, with the right code."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest

from tests.http2.conversation import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    App,
    Talk,
    frame,
    number,
    settings,
)

CALM, REFUSED, FLOW = 11, 7, 3


def waiting(**limits: int) -> Talk:
    """Return a conversation whose application answers nothing."""
    app = App()
    app.on_finish = lambda request: None
    return Talk(app=app, **limits)


async def test_rapid_reset_counts_what_the_application_still_does() -> None:
    """CVE-2023-44487: a place is free when the application has let go, not when RST comes."""
    talk = waiting(max_streams=10)
    for _ in range(30):
        stream = talk.ask()
        talk.receive(frame(RST_STREAM, 0, stream, number(8)))
    assert len(talk.app.requests) == 10  # the test's application keeps them all
    assert {answer.reset for answer in talk.answers.values() if answer.reset} == {REFUSED}
    assert not talk.goaways
    talk.app.requests.clear()
    talk.ask()
    assert len(talk.app.requests) == 1


@pytest.mark.parametrize("limit", [5, 200])
async def test_rapid_reset_ends_the_connection(limit: int) -> None:
    """However fast the application lets go, resets in a row have a bound."""
    talk = waiting(max_resets=limit)
    for _ in range(limit + 50):
        stream = talk.ask()
        talk.receive(frame(RST_STREAM, 0, stream, number(8)))
        talk.app.requests.clear()
    assert talk.goaways == [(2 * limit + 1, CALM)]
    assert talk.ending


async def test_resets_come_back_with_time() -> None:
    """Twenty a second: whoever gives up now and then is never told off."""
    talk = waiting(max_resets=5)
    for _ in range(10):
        stream = talk.ask()
        talk.receive(frame(RST_STREAM, 0, stream, number(8)))
        talk.app.requests.clear()
        await talk.later(0.1)
    assert not talk.goaways


@pytest.mark.parametrize(
    "provoke",
    [
        pytest.param(lambda stream: frame(WINDOW_UPDATE, 0, stream, number(0)), id="a step of 0"),
        pytest.param(
            lambda stream: frame(WINDOW_UPDATE, 0, stream, number(2**31 - 1)), id="a large window"
        ),
        pytest.param(lambda stream: frame(DATA, 0, stream, b"x"), id="DATA after the end"),
        pytest.param(lambda stream: frame(PRIORITY, 0, stream, b"1234"), id="half a PRIORITY"),
        pytest.param(
            lambda stream: frame(PRIORITY, 0, stream, number(stream) + b"\1"), id="a dependency"
        ),
    ],
)
async def test_made_you_reset(provoke: object) -> None:
    """CVE-2025-8671: resets that a peer makes us send count like its own."""
    talk = waiting(max_resets=20, max_streams=10)
    for _ in range(60):
        stream = talk.ask()
        talk.receive(provoke(stream))  # type: ignore[operator]  # one of those above
    assert len(talk.app.requests) == 10
    assert [code for _, code in talk.goaways] == [CALM]


async def test_streams_beyond_the_limit_are_refused() -> None:
    """Nothing is lost with them: the table is kept, and a later one is served."""
    talk = waiting(max_streams=3)
    streams = [talk.ask(fields=[("x", str(number))]) for number in range(5)]
    assert [talk.answers[each].reset for each in streams[3:]] == [REFUSED, REFUSED]
    talk.app.requests[0].answer(b"ok")
    last = talk.ask(fields=[("x", "4")])
    talk.app.requests[-1].answer(b"last")
    assert talk.answer(last).body == b"last"
    assert talk.app.requests[-1].connection.fields[b"x"] == b"4"


async def test_other_limits_are_those_of_later_connections() -> None:
    """A peer is held to what its own SETTINGS have told it: it would be refused else, and cut."""
    first = waiting(max_streams=3, max_resets=2)
    limits = dataclasses.replace(first.service.limits, max_streams=1, max_resets=1)
    first.service.set_limits(limits)
    second = Talk(app=first.app, http2=first.http2)
    for talk, most in ((first, 3), (second, 1)):
        streams = [talk.ask() for _ in range(most + 1)]
        assert {number: each.reset for number, each in talk.answers.items()} == {
            streams[-1]: REFUSED
        }
        assert not talk.goaways
        talk.ask()
        assert len(talk.goaways) == (most == 1)


@pytest.mark.parametrize(
    ("flood", "most"),
    [
        pytest.param(frame(PING, 0, 0, b"12345678"), 1000, id="PING"),
        pytest.param(frame(PING, ACK, 0, b"12345678"), 1000, id="PING with ACK"),
        pytest.param(settings(), 1000, id="SETTINGS"),
        pytest.param(frame(SETTINGS, ACK, 0), 1000, id="SETTINGS with ACK"),
        pytest.param(settings(_4=0) + settings(_4=2**31 - 1), 500, id="window flips"),
        pytest.param(frame(PRIORITY, 0, 99, number(1) + b"\1"), 1000, id="PRIORITY"),
        pytest.param(frame(77, 0, 0, b"x"), 1000, id="unknown"),
        pytest.param(frame(DATA, 0, 1), 1000, id="empty DATA"),
        pytest.param(frame(DATA, PADDED, 1, b"\x05" + bytes(5)), 1000, id="DATA of padding"),
        pytest.param(frame(WINDOW_UPDATE, 0, 1, number(1)), 1000, id="small steps"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, number(1)), 1000, id="small steps in all"),
    ],
)
async def test_frames_that_do_nothing(flood: bytes, most: int) -> None:
    """The floods of 2019: a thousand in a row, and no more."""
    talk = waiting()
    talk.post()
    talk.receive(flood * (most - 10))
    assert not talk.goaways
    talk.receive(flood * 200)
    assert talk.goaways == [(1, CALM)]
    assert talk.ending
    assert len(talk.sent) < 2 * most + 20


async def test_useful_requests_earn_what_does_nothing() -> None:
    """A peer that is answered may go on: ten frames for each request."""
    talk = Talk()
    for _ in range(150):
        talk.receive(frame(PING, 0, 0, b"12345678") * 10)
        talk.ask()
    assert not talk.goaways


async def test_settings_with_many_entries() -> None:
    """There are nine settings in all."""
    talk = Talk()
    talk.receive(frame(SETTINGS, 0, 0, (b"\0\x01" + number(4096)) * 33))
    assert talk.goaways == [(0, CALM)]


@pytest.mark.parametrize(
    ("size", "frames"), [(0, 9), (1, 9), (16384, 4)], ids=["empty", "short", "long"]
)
async def test_continuation_without_end(size: int, frames: int) -> None:
    """CVE-2024-27316: the block has a bound, and nothing of it is decoded before its end."""
    talk = Talk()
    talk.receive(frame(HEADERS, END_STREAM, 1, b"\x82"))
    for number_ in range(frames):
        assert not talk.goaways, number_
        talk.receive(frame(CONTINUATION, 0, 1, b"\x82" * size))
    assert talk.goaways == [(0, CALM)]
    assert talk.ending


async def test_a_head_beyond_the_limit_is_told_431() -> None:
    """The connection and its table go on; of more than twice as much it ends."""
    talk = Talk(max_header_size=1000)
    big = talk.ask(fields=[("x-long", "y" * 1200), ("x-kept", "z")])
    assert talk.answer(big).status == 431
    assert talk.answer(talk.ask(fields=[("x-kept", "z")])).status == 200
    open_ended = talk.post(fields=[("x-long", "y" * 1200)])
    assert (talk.answer(open_ended).status, talk.answer(open_ended).reset) == (431, 0)
    talk.ask(fields=[("x-longer", "y" * 2500)])
    assert talk.goaways == [(5, CALM)]


async def test_too_many_fields_are_told_431() -> None:
    """Each costs this server something, however short it is."""
    talk = Talk(max_header_fields=10)
    assert talk.answer(talk.ask(fields=[("x", "y")] * 10)).status == 431
    assert len(talk.app.requests) == 0
    talk.ask(fields=[("x", "y")] * 30)
    assert [code for _, code in talk.goaways] == [CALM]


async def test_an_hpack_bomb_costs_no_more_than_its_own_bytes() -> None:
    """References of one byte to a long field count as what they stand for."""
    talk = Talk()
    bomb = b"\x82\x86\x84\x41\1a\x40\1a\x7f\xa1\x1e" + b"v" * 4000
    talk.receive(frame(HEADERS, 5, 1, bomb))
    tracemalloc.start()
    talk.receive(frame(HEADERS, 5, 3, b"\xbe" * 16000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300_000
    assert talk.goaways == [(1, CALM)]


async def test_data_beyond_the_credit_of_a_stream() -> None:
    """256 KiB may come before the application takes any, and not a byte more."""
    talk = waiting()
    talk.app.on_data = lambda request: talk.service.ready_future  # not awaitable: never reached
    app_waits = talk.connection.sender.output.loop.create_future()
    talk.app.on_head = lambda request: app_waits
    stream = talk.post()
    for _ in range(16):
        talk.data(stream, bytes(16384))
    assert talk.answers.get(stream) is None
    talk.data(stream, b"x")
    assert talk.answer(stream).reset == FLOW
    assert talk.service.budget.held == 0
    assert not talk.goaways
    app_waits.cancel()


async def test_a_body_in_single_bytes_is_held_in_one_piece() -> None:
    """What waits for an application takes as many bytes as have come, not forty times that."""
    talk = waiting()
    app_waits = talk.connection.sender.output.loop.create_future()
    talk.app.on_head = lambda request: app_waits
    stream = talk.post()
    one = frame(DATA, 0, stream, b"x")
    tracemalloc.start()
    for _ in range(5):
        talk.receive(one * 1000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert talk.service.budget.held == 5000
    assert size < 60_000
    app_waits.cancel()


async def test_a_body_that_nobody_takes_holds_back_its_own_stream_alone() -> None:
    """Others on the connection get on, however many are stuck."""
    talk = waiting()
    app_waits = talk.connection.sender.output.loop.create_future()
    talk.app.on_head = lambda request: app_waits if request.head.path == "/stuck" else None
    for _ in range(8):
        stuck = talk.post("/stuck")
        for _ in range(16):
            talk.data(stuck, bytes(16384))
    good = talk.post("/good")
    for _ in range(40):
        talk.data(good, bytes(16384))
    assert not talk.goaways
    assert len(talk.app.requests[-1].body) == 40 * 16384
    app_waits.cancel()


async def test_where_too_much_is_held_nobody_is_asked_for_more() -> None:
    """Then the credit of the whole connection comes back only as bodies are taken."""
    talk = waiting(max_held=100_000)
    app_waits = talk.connection.sender.output.loop.create_future()
    talk.app.on_head = lambda request: app_waits
    streams = [talk.post() for _ in range(6)]
    for stream in streams:
        for _ in range(16):
            talk.data(stream, bytes(16384))
    assert len(talk.frames(WINDOW_UPDATE, 0)) == 1  # that of the beginning
    app_waits.cancel()


async def test_a_long_burst_makes_way_for_others() -> None:
    """After 64 streams the event loop has its turn, however many are there already."""
    talk = Talk(max_streams=1000)
    talk.receive(b"".join(talk.request() for _ in range(200)))
    assert len(talk.app.requests) == 64
    await talk.turn(1)
    assert len(talk.app.requests) == 128
    await talk.turn(5)
    assert len(talk.app.requests) == 200


async def test_nothing_is_read_while_the_peer_takes_nothing() -> None:
    """So what has to be acknowledged cannot pile up."""
    talk = waiting()
    talk.transport.stalled = True
    talk.post()
    request = talk.app.requests[0].connection
    request.write_headers(("", 200, ""), [])
    for _ in range(10):
        request.write(bytes(16384))
    talk.sent  # noqa: B018  # flushes
    talk.receive(frame(WINDOW_UPDATE, 0, 1, number(1 << 20)))
    talk.sent  # noqa: B018
    assert not talk.transport.reading or talk.transport.buffered < 64 * 1024
    talk.transport.take()
    assert talk.transport.reading


async def test_upper_bound_of_what_waits_to_be_sent() -> None:
    """A write waits beyond 64 KiB of its stream; windows of nothing hold no more than that."""
    talk = waiting()
    talk.receive(settings(_4=0))
    talk.ask()
    connection = talk.app.requests[0].connection
    assert connection.write_headers(("", 200, ""), []).done()
    assert connection.write(bytes(64 * 1024)).done()
    more = connection.write(b"x")
    assert not more.done()
    talk.receive(frame(WINDOW_UPDATE, 0, 1, number(20_000)))
    assert talk.sent
    assert more.done()


async def test_end_headers_in_the_last_frame_alone() -> None:
    """A block may be cut at any place, into as many as eight frames."""
    talk = Talk()
    block = talk.block("/cut")
    talk.receive(frame(HEADERS, END_STREAM, 1, b""))
    for place in range(7):
        talk.receive(frame(CONTINUATION, 0, 1, block[place : place + 1]))
    talk.receive(frame(CONTINUATION, END_HEADERS, 1, block[7:]))
    assert talk.answer(1).status == 200
