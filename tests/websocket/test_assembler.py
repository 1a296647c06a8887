"""Tests for `edgeserver.websocket.assembler`: frames become messages, and what waits is counted."""

from __future__ import annotations

from sys import getsizeof

import pytest
from websockets.frames import Frame, Opcode

from edgeserver.websocket.assembler import Inbox
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


def put(inbox: Inbox, given: list[Frame]) -> None:
    """Give all frames to an inbox."""
    for frame in given:
        inbox.put(frame)


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
    inbox = Inbox()
    put(inbox, given)
    assert [inbox.pop() for _ in range(len(inbox.messages))] == messages
    assert inbox.held_bytes == 0
    assert inbox.count == len(messages)


@pytest.mark.parametrize("pieces", [[b"\xff"], [b"\xc3", b"a"]], ids=["whole", "in-pieces"])
def test_a_text_that_is_no_utf8_is_refused(pieces: list[bytes]) -> None:
    """The last frame of such a text raises, and nothing of it is kept."""
    inbox = Inbox()
    *begun, last = frames(Opcode.TEXT, *pieces)
    put(inbox, begun)
    with pytest.raises(UnicodeDecodeError):
        inbox.put(last)
    assert not inbox.messages
    assert inbox.begun_bytes == 0


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(1, HELD_MESSAGES, id="count"),
        pytest.param(HELD_BYTES // 8 - getsizeof(b""), 8, id="bytes"),
    ],
)
def test_what_waits_is_bounded(size: int, most: int) -> None:
    """One message too many is when it is full; it has room again once half of them are gone."""
    inbox = Inbox()
    for _ in range(most):
        put(inbox, frames(Opcode.BINARY, bytes(size)))
        assert not inbox.is_full()
    put(inbox, frames(Opcode.BINARY, bytes(size)))
    assert inbox.is_full()
    while not inbox.has_room():
        inbox.pop()
    assert len(inbox.messages) == most // 2


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
    inbox = Inbox()
    put(inbox, frames(Opcode.TEXT, text.encode()))
    assert least <= inbox.held_bytes < least + 100
    assert inbox.pop() == text
    assert inbox.held_bytes == 0


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(0, FREE_FRAGMENTS, id="empty"),
        pytest.param(FRAGMENT_BYTES // 2, 2 * FREE_FRAGMENTS, id="half-as-large"),
    ],
)
def test_small_fragments_are_numbered(size: int, most: int) -> None:
    """A message is of so many fragments, and of more as long as they have content."""
    inbox = Inbox()
    inbox.put(Frame(Opcode.BINARY, b"", fin=False))
    with pytest.raises(Excess, match="fragments"):
        put(inbox, [Frame(Opcode.CONT, bytes(size), fin=False)] * 2 * most)
    assert inbox.begun_bytes >= (most - FREE_FRAGMENTS) * FRAGMENT_BYTES


def test_fragments_are_counted_for_each_message() -> None:
    """The next message begins anew."""
    inbox = Inbox()
    for _ in range(3):
        put(inbox, frames(Opcode.BINARY, *[b""] * FREE_FRAGMENTS))
    assert inbox.count == 3


@pytest.mark.parametrize("clear", [False, True], ids=["stop", "clear"])
def test_an_inbox_that_was_stopped_takes_nothing(clear: bool) -> None:
    """What has begun is forgotten, what is complete only where nobody will receive it."""
    inbox = Inbox()
    put(inbox, frames(Opcode.BINARY, b"whole"))
    put(inbox, frames(Opcode.BINARY, b"begun", b"end")[:1])
    (inbox.clear if clear else inbox.stop)()
    put(inbox, frames(Opcode.BINARY, b"begun", b"end")[1:])
    put(inbox, frames(Opcode.BINARY, b"late"))
    assert list(inbox.messages) == ([] if clear else [b"whole"])
    assert inbox.begun_bytes == 0
    assert bool(inbox.held_bytes) is not clear
