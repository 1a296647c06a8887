"""Tests for `edgeserver.websocket.assembler`: frames become messages, and what waits is counted."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from edgeserver.websocket.assembler import Inbox
from edgeserver.websocket.settings import HELD_BYTES, HELD_MESSAGES


def frames(opcode: Opcode, *pieces: bytes) -> list[Frame]:
    """Return a message in as many frames as there are pieces."""
    last = len(pieces) - 1
    return [
        Frame(Opcode.CONT if number else opcode, piece, fin=number == last)
        for number, piece in enumerate(pieces)
    ]


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
    inbox.take(given)
    assert [inbox.pop() for _ in range(len(inbox.messages))] == messages
    assert inbox.held_bytes == 0


@pytest.mark.parametrize("pieces", [[b"\xff"], [b"\xc3", b"a"]], ids=["whole", "in-pieces"])
def test_a_text_that_is_no_utf8_is_refused(pieces: list[bytes]) -> None:
    """The last frame of such a text raises, and nothing is taken any more."""
    inbox = Inbox()
    *begun, last = frames(Opcode.TEXT, *pieces)
    inbox.take(begun)
    with pytest.raises(UnicodeDecodeError):
        inbox.take([last, *frames(Opcode.TEXT, b"after")])
    assert not inbox.messages


@pytest.mark.parametrize(
    ("size", "most"),
    [pytest.param(1, HELD_MESSAGES, id="count"), pytest.param(HELD_BYTES // 8, 8, id="bytes")],
)
def test_what_waits_is_bounded(size: int, most: int) -> None:
    """One message too many is when it is full; it has room again once half of them are gone."""
    inbox = Inbox()
    for _ in range(most):
        inbox.take(frames(Opcode.BINARY, bytes(size)))
        assert not inbox.is_full()
    inbox.take(frames(Opcode.BINARY, bytes(size)))
    assert inbox.is_full()
    while not inbox.has_room():
        inbox.pop()
    assert len(inbox.messages) == most // 2
