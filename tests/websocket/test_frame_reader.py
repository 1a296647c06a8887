"""Tests for `edgeserver.websocket.frame_reader`: bytes become frames, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from edgeserver.websocket.frame_reader import FrameReader

MOST = 2**20  # bytes of a message


def make() -> FrameReader:
    """Return the frame reader of an open WebSocket."""
    return FrameReader(ServerProtocol(state=State.OPEN, max_size=MOST), lambda: 0.0, MOST)


def take(reader: FrameReader) -> list[Frame]:
    """Return all frames that are whole."""
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    return found


def wire(frames: list[Frame]) -> bytes:
    """Return frames as a client sends them."""
    return b"".join(frame.serialize(mask=True, extensions=[]) for frame in frames)


def same(frames: list[Frame]) -> list[tuple[Opcode, bytes, bool]]:
    """Return what two frames have to have in common."""
    return [(frame.opcode, bytes(frame.data), frame.fin) for frame in frames]


FRAMES = [
    Frame(Opcode.TEXT, b""),
    Frame(Opcode.BINARY, b"x" * 125, fin=False),
    Frame(Opcode.PING, b"?" * 125),
    Frame(Opcode.CONT, b"x" * 126, fin=False),
    Frame(Opcode.CONT, b"y" * 65535),
    Frame(Opcode.PONG, b""),
    Frame(Opcode.BINARY, b"z" * 65536),
]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.booleans())
def test_cuts_change_nothing(sizes: list[int], eager: bool) -> None:
    """Frames of all lengths come out as they were, wherever segments end."""
    reader = make()
    data = wire(FRAMES)
    found = []
    for size in sizes:
        reader.put(data[:size])
        data = data[size:]
        if eager:
            found += take(reader)
    reader.put(data)
    found += take(reader)
    assert same(found) == same(FRAMES)
    assert not reader.has_more()
    assert reader.held_bytes == 0


def test_every_byte_on_its_own() -> None:
    """A frame is there with its last byte, not before, and what is held grows by one each time."""
    data = wire(FRAMES[1:4])
    reader = make()
    found, held = [], 0
    for number in range(len(data)):
        reader.put(data[number : number + 1])
        frames = take(reader)
        held = 0 if frames else held + 1
        assert reader.held_bytes == held
        found += frames
    assert same(found) == same(FRAMES[1:4])


def test_only_one_frame_is_decoded_at_a_time() -> None:
    """What comes behind a frame is still there as it came."""
    reader = make()
    data = wire(FRAMES)
    reader.put(data)
    assert same([reader.next()]) == same(FRAMES[:1])
    assert reader.has_more()
    reader.clear()
    assert (reader.has_more(), reader.held_bytes, reader.next()) == (False, 0, None)


@pytest.mark.parametrize(
    ("data", "small"),
    [
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"\x81", True, id="half-a-head"),
        pytest.param(wire([Frame(Opcode.TEXT, b"x" * 50)]), True, id="small"),
        pytest.param(wire([Frame(Opcode.PING, b"x" * 50)]), True, id="ping"),
        pytest.param(wire([Frame(Opcode.TEXT, b"x" * 100)]), False, id="large"),
        pytest.param(wire([Frame(Opcode.TEXT, b"x", fin=False)]), False, id="fragment"),
        pytest.param(b"\xc1\x81\0\0\0\0x", False, id="compressed"),
    ],
)
def test_what_is_small_is_known_before_it_is_decoded(data: bytes, small: bool) -> None:
    """A small message is whole, in one frame, and not compressed."""
    reader = make()
    reader.put(data)
    assert reader.is_small(100) is small


def test_a_frame_under_way_is_not_small() -> None:
    """Its length is not known to those who ask in the middle of it."""
    reader = make()
    data = wire([Frame(Opcode.TEXT, b"x" * 50)])
    reader.put(data[:-1])
    assert reader.next() is None
    assert not reader.is_small(100)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x81\x01x", id="not-masked"),
        pytest.param(b"\x82\xff" + b"\xff" * 8 + bytes(4), id="length-of-64-bits"),
        pytest.param(b"\x83\x80\0\0\0\0", id="unknown-opcode"),
        pytest.param(b"\xc1\x81\0\0\0\0x", id="reserved-bit"),
        pytest.param(b"\x82\xff" + (MOST + 1).to_bytes(8, "big") + bytes(4), id="too-large"),
    ],
)
def test_a_frame_that_is_wrong_ends_it(data: bytes) -> None:
    """The sans-IO layer fails the connection; no frame comes of it or of what stands behind."""
    protocol = ServerProtocol(state=State.OPEN, max_size=MOST)
    reader = FrameReader(protocol, lambda: 0.0, MOST)
    reader.put(data + wire(FRAMES))
    assert take(reader) == []
    assert protocol.eof_sent


@pytest.mark.parametrize(
    ("frames", "taken"),
    [
        pytest.param(
            [Frame(Opcode.TEXT, b"x", fin=False), Frame(Opcode.TEXT, b"y")], 1, id="begun"
        ),
        pytest.param([Frame(Opcode.CLOSE, b"\x03\xe8"), Frame(Opcode.TEXT, b"y")], 1, id="closed"),
        pytest.param(
            [
                Frame(Opcode.BINARY, b"x", fin=False),
                Frame(Opcode.PING, b""),
                Frame(Opcode.BINARY, b"y" * 300),
            ],
            2,
            id="begun-before-a-ping",
        ),
    ],
)
def test_a_message_may_not_stand_everywhere(frames: list[Frame], taken: int) -> None:
    """One that stands inside of another, or behind a Close frame, never comes out."""
    protocol = ServerProtocol(state=State.OPEN, max_size=MOST)
    reader = FrameReader(protocol, lambda: 0.0, MOST)
    reader.put(wire(frames))
    assert same(take(reader)) == same(frames[:taken])
    assert protocol.eof_sent


def test_a_message_of_the_greatest_size_comes_out() -> None:
    """The limit is the greatest size that is allowed, in one frame and after another."""
    reader = make()
    frames = [Frame(Opcode.BINARY, b"x" * MOST), Frame(Opcode.TEXT, b"y")]
    reader.put(wire(frames))
    assert same(take(reader)) == same(frames)
