"""How the pieces of a body are kept until it is complete."""

from __future__ import annotations

import tracemalloc

import pytest

from edgeserver.adapters.collecting import Collected


@pytest.mark.parametrize(
    "pieces",
    [[], [b"one"], [b"one", b"two"], [b"x"] * 1000],
    ids=["none", "one", "two", "many"],
)
def test_a_body_is_its_pieces(pieces: list[bytes]) -> None:
    """They come in order, and nothing is kept once they were taken."""
    body = Collected()
    for piece in pieces:
        body.add(piece)
    assert body.take() == b"".join(pieces)
    assert body.take() == b""


def test_one_piece_is_not_copied() -> None:
    """What nearly every body is costs nothing."""
    piece = bytes(100)
    body = Collected()
    body.add(piece)
    assert body.take() is piece


@pytest.mark.parametrize("size", [1, 65536], ids=["tiny", "large"])
def test_a_body_takes_little_more_than_its_bytes(size: int) -> None:
    """Neither many tiny pieces nor their joining take a multiple of what they hold."""
    total = 1 << 20
    body = Collected()
    tracemalloc.start()
    try:
        for _ in range(total // size):
            body.add(bytes(size))
        taken = body.take()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(taken) == total
    assert peak < 1.5 * total
