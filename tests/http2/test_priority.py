"""Priorities: what is sent first."""

from __future__ import annotations

import pytest

from edgeserver.http2.priority import parse_priority
from tests.http2.conversation import DATA, WINDOW_UPDATE, Talk, frame, number, settings


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7, i", (7, True)),
        (b"i", (3, True)),
        (b"i=?0", (3, False)),
        (b"u=5;x=y , i=?1", (5, True)),
        (b"u=8", (3, False)),
        (b"u=", (3, False)),
        (b"u=1.5", (3, False)),
        (b"u=01", (3, False)),
        (b"u=2, u=4", (4, False)),
        (b"x, i=1", (3, False)),
        (b"u=0" + b" " * 300, (3, False)),
        (b'"', (3, False)),
    ],
)
def test_what_a_field_means(value: bytes, meaning: tuple[int, bool]) -> None:
    """What is wrong or unknown changes nothing."""
    assert parse_priority(value) == meaning


def order(talk: Talk) -> list[int]:
    """Return the streams in the order in which DATA was sent, each once in a row."""
    streams = [each.stream for each in talk.frames(DATA)]
    return [each for place, each in enumerate(streams) if streams[place - 1 : place] != [each]]


def asked(*priorities: str | None, updates: bytes = b"") -> Talk:
    """Return a conversation in which three frames of each answer wait for a window."""
    talk = Talk()
    talk.app.on_finish = lambda request: None
    talk.receive(settings(_4=1 << 20), frame(WINDOW_UPDATE, 0, 0, number(1)), updates)
    block = talk.ask()
    talk.app.requests[0].connection.write_headers(("", 200, ""), [], bytes(65536))
    assert talk.sent  # the window of the connection is used up
    talk.receive(frame(3, 0, block, number(8)))
    for each in priorities:
        talk.ask(fields=[] if each is None else [("priority", each)])
        connection = talk.app.requests[-1].connection
        connection.write_headers(("", 200, ""), [], bytes(3 * 16384))
        connection.finish()
    talk.transport.sent.clear()
    return talk


def grant(talk: Talk) -> list[int]:
    """Open the connection's window; return the order in which it is used."""
    talk.receive(frame(WINDOW_UPDATE, 0, 0, number(1 << 20)))
    return order(talk)


@pytest.mark.parametrize(
    ("priorities", "streams"),
    [
        pytest.param(("u=5", "u=1", "u=3"), [5, 7, 3], id="the most urgent first"),
        pytest.param(("u=3", "u=3", "u=3"), [3, 5, 7], id="then in the order of streams"),
        pytest.param(("u=3,i", "u=3,i"), [3, 5, 3, 5, 3, 5], id="incremental ones in turns"),
        pytest.param((None, None), [3, 5, 3, 5, 3, 5], id="in turns where nothing is said"),
        pytest.param((None, "u=1"), [5, 3], id="what is said counts"),
        pytest.param(("u=3,i", "u=0", "u=3,i"), [5, 3, 7, 3, 7, 3, 7], id="all together"),
    ],
)
async def test_the_order_of_answers(priorities: tuple[str | None, ...], streams: list[int]) -> None:
    """Urgency, then order, then turns."""
    assert grant(asked(*priorities)) == streams


def update(stream: int, value: bytes, on: int = 0) -> bytes:
    """Return a PRIORITY_UPDATE."""
    return frame(16, 0, on, number(stream) + value)


async def test_an_update_of_a_stream_that_is_open() -> None:
    """It counts from then on."""
    talk = asked("u=3", "u=3")
    talk.receive(update(5, b"u=0"))
    assert grant(talk) == [5, 3]


async def test_an_update_beforehand() -> None:
    """It is remembered, and stronger than the field."""
    talk = asked("u=1", "u=2", updates=update(5, b"u=0") + update(3, b"u=7"))
    assert grant(talk) == [5, 3]


async def test_only_so_many_are_remembered() -> None:
    """A hundred; more are forgotten, and the flood of them ends as any other."""
    updates = b"".join(update(2 * each + 101, b"u=0") for each in range(100))
    talk = asked("u=3", "u=3", updates=updates + update(5, b"u=0"))
    assert grant(talk) == [3, 5]
    talk.receive(update(999, b"u=0") * 1200)
    assert [code for _, code in talk.goaways] == [11]


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param(update(1, b"", on=1), 1, id="on a stream"),
        pytest.param(update(0, b""), 1, id="of stream 0"),
        pytest.param(update(2, b""), 1, id="of a pushed stream"),
        pytest.param(frame(16, 0, 0, b"abc"), 6, id="too short"),
    ],
)
async def test_broken_updates(broken: bytes, code: int) -> None:
    """Errors of the connection."""
    talk = Talk()
    talk.receive(broken)
    assert talk.goaways == [(0, code)]
