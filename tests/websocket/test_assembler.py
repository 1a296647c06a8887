"""Tests for `edgeserver.websocket.assembler`: frames become messages, and what waits is counted."""

from __future__ import annotations

from sys import getsizeof

import pytest
from websockets.frames import Frame, Opcode

from edgeserver.websocket.assembler import MessageAssembler
from edgeserver.websocket.settings import (
    FRAGMENT_BYTES,
    FREE_FRAGMENTS,
    HELD_BYTES,
    HELD_MESSAGES,
    Excess,
)


def frames(opcode: Opcode, *pieces: bytes) -> list[Frame]:
    """Return a message in as many frames as there are pieces."""
    last = len(pieces) - 1
    return [
        Frame(Opcode.CONT if number else opcode, piece, fin=number == last)
        for number, piece in enumerate(pieces)
    ]


def put(assembler: MessageAssembler, given: list[Frame]) -> None:
    """Give all frames to an assembler."""
    for frame in given:
        assembler.put(frame)


PING = Frame(Opcode.PING, b"?")


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        pytest.param(frames(Opcode.TEXT, b"a"), ["a"], id="text"),
        pytest.param(frames(Opcode.BINARY, b"a"), [b"a"], id="binary"),
        pytest.param(frames(Opcode.TEXT, b""), [""], id="empty"),
        pytest.param(frames(Opcode.TEXT, b"\xc3", b"", b"\xbc"), ["\u00fc"], id="cut-in-a-letter"),
        pytest.param(frames(Opcode.BINARY, b"a", b"b", b"c"), [b"abc"], id="binary-in-pieces"),
        pytest.param([PING], [], id="control"),
        pytest.param(
            [frames(Opcode.TEXT, b"a", b"b")[0], PING, frames(Opcode.TEXT, b"a", b"b")[1]],
            ["ab"],
            id="control-between",
        ),
        pytest.param(frames(Opcode.TEXT, b"a", b"b")[:1], [], id="begun"),
        pytest.param(
            [*frames(Opcode.BINARY, b"a", b"b"), *frames(Opcode.TEXT, b"c", b"d")],
            [b"ab", "cd"],
            id="one-after-the-other",
        ),
    ],
)
def test_frames_become_messages(given: list[Frame], messages: list[str | bytes]) -> None:
    """Pieces are joined, texts decoded as a whole, and control frames passed over."""
    assembler = MessageAssembler()
    put(assembler, given)
    assert [assembler.pop() for _ in range(len(assembler.messages))] == messages
    assert assembler.held_bytes == 0
    assert assembler.count == len(messages)


@pytest.mark.parametrize("pieces", [[b"\xff"], [b"\xc3", b"a"]], ids=["whole", "in-pieces"])
def test_a_text_that_is_not_utf8_is_refused(pieces: list[bytes]) -> None:
    """The last frame of such a text raises, and nothing of it is kept."""
    assembler = MessageAssembler()
    *begun, last = frames(Opcode.TEXT, *pieces)
    put(assembler, begun)
    with pytest.raises(UnicodeDecodeError):
        assembler.put(last)
    assert not assembler.messages
    assert assembler.begun_bytes == 0


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(1, HELD_MESSAGES, id="count"),
        pytest.param(HELD_BYTES // 8 - getsizeof(b""), 8, id="bytes"),
    ],
)
def test_what_waits_is_bounded(size: int, most: int) -> None:
    """One message too many is when it is full; it has room again once half of them are gone."""
    assembler = MessageAssembler()
    for _ in range(most):
        put(assembler, frames(Opcode.BINARY, bytes(size)))
        assert not assembler.is_full()
    put(assembler, frames(Opcode.BINARY, bytes(size)))
    assert assembler.is_full()
    while not assembler.has_room():
        assembler.pop()
    assert len(assembler.messages) == most // 2


@pytest.mark.parametrize(
    ("text", "least"),
    [
        pytest.param("", 1, id="empty"),
        pytest.param("x" * 1000, 1000, id="ascii"),
        pytest.param("x" * 999 + "\U0001f600", 4000, id="four-bytes-a-character"),
    ],
)
def test_messages_are_counted_as_what_they_are(text: str, least: int) -> None:
    """What counts is memory: an empty message costs some, and an emoji makes a text wide."""
    assembler = MessageAssembler()
    put(assembler, frames(Opcode.TEXT, text.encode()))
    assert least <= assembler.held_bytes < least + 100
    assert assembler.pop() == text
    assert assembler.held_bytes == 0


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(0, FREE_FRAGMENTS, id="empty"),
        pytest.param(FRAGMENT_BYTES // 2, 2 * FREE_FRAGMENTS, id="half-as-large"),
    ],
)
def test_small_fragments_are_numbered(size: int, most: int) -> None:
    """A message is of so many fragments, and of more as long as they have content."""
    assembler = MessageAssembler()
    assembler.put(Frame(Opcode.BINARY, b"", fin=False))
    with pytest.raises(Excess, match="fragments"):
        put(assembler, [Frame(Opcode.CONT, bytes(size), fin=False)] * 2 * most)
    assert assembler.begun_bytes >= (most - FREE_FRAGMENTS) * FRAGMENT_BYTES


def test_fragments_are_counted_for_each_message() -> None:
    """The next message begins anew."""
    assembler = MessageAssembler()
    for _ in range(3):
        put(assembler, frames(Opcode.BINARY, *[b""] * FREE_FRAGMENTS))
    assert assembler.count == 3


@pytest.mark.parametrize("clear", [False, True], ids=["stop", "clear"])
def test_an_assembler_that_was_stopped_takes_nothing(clear: bool) -> None:
    """What has begun is forgotten, what is complete only where nobody will receive it."""
    assembler = MessageAssembler()
    put(assembler, frames(Opcode.BINARY, b"whole"))
    put(assembler, frames(Opcode.BINARY, b"begun", b"end")[:1])
    (assembler.clear if clear else assembler.stop)()
    put(assembler, frames(Opcode.BINARY, b"begun", b"end")[1:])
    put(assembler, frames(Opcode.BINARY, b"late"))
    assert list(assembler.messages) == ([] if clear else [b"whole"])
    assert assembler.begun_bytes == 0
    assert bool(assembler.held_bytes) is not clear
