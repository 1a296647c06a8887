"""A row of counters: numbers that outlive who counts, and are never too many."""

from __future__ import annotations

import os

import pytest

from edgeserver.support.counters import MOST_LABELS, OTHER, ROW_BYTES, CounterRow


def test_numbers_have_their_names() -> None:
    """A number is read back by its family and its labels, each on its own."""
    row = CounterRow(bytearray(ROW_BYTES))
    row.add("shed_total", "max-held")
    row.add("shed_total", "client-rate", amount=2)
    row.add("connections_total")
    row.add("certificates", "")
    row.add("shed_total", "max-held")
    assert row.read() == {
        ("shed_total", "max-held"): 2,
        ("shed_total", "client-rate"): 2,
        ("connections_total",): 1,
        ("certificates", ""): 1,
    }


def test_the_next_process_goes_on() -> None:
    """Whoever takes a row over adds to what is there, and knows the names in it."""
    memory = bytearray(ROW_BYTES)
    first = CounterRow(memory)
    first.add("requests_total", "200", amount=5)
    second = CounterRow(memory)
    second.add("requests_total", "404")
    second.add("requests_total", "200")
    assert CounterRow(memory).read() == {
        ("requests_total", "200"): 6,
        ("requests_total", "404"): 1,
    }


def test_a_forked_process_is_read() -> None:
    """What a child counts is seen by its parent, after its end too."""
    row = CounterRow()
    pid = os.fork()
    if not pid:
        row.add("requests_total", "200", amount=3)
        row.write_text(b"from the child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert row.read() == {("requests_total", "200"): 3}
    assert row.read_text() == b"from the child"


def test_labels_are_bounded() -> None:
    """A family has so many numbers at most; what is beyond counts as another."""
    row = CounterRow(bytearray(ROW_BYTES))
    for number in range(2 * MOST_LABELS):
        row.add("findings_total", f"code-{number}")
    numbers = row.read()
    assert len(numbers) == MOST_LABELS
    assert sum(numbers.values()) == 2 * MOST_LABELS
    assert numbers["findings_total", OTHER] == MOST_LABELS + 1


def test_families_are_bounded() -> None:
    """A row that is full goes on taking what it cannot keep, and hurts nothing that is there."""
    row = CounterRow(bytearray(ROW_BYTES))
    row.add("kept", amount=7)
    for number in range(3000):
        row.add(f"family-{number}")
    row.add("n" * 500)
    assert row.read()[("kept",)] == 7
    assert len(row.read()) < 1000


def test_a_family_is_cleared_alone() -> None:
    """What only a living process has goes with it; what it has counted stays."""
    row = CounterRow(bytearray(ROW_BYTES))
    row.set("connections", value=9)
    row.add("connections_total", amount=4)
    row.clear("connections")
    assert row.read() == {("connections",): 0, ("connections_total",): 4}


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\0" * 5000, b"x" * 16384], ids=["empty", "short", "nuls", "longest"]
)
def test_text(text: bytes) -> None:
    """The text is read as it was written last."""
    row = CounterRow(bytearray(ROW_BYTES))
    row.write_text(b"before")
    row.write_text(text)
    assert row.read_text() == text


def test_a_text_that_is_too_long_is_not_written() -> None:
    """What was there before stays."""
    row = CounterRow(bytearray(ROW_BYTES))
    row.write_text(b"before")
    row.write_text(b"x" * 16385)
    assert row.read_text() == b"before"


def test_memory_that_holds_nonsense_raises_nothing() -> None:
    """A row that somebody has written over is read all the same."""
    memory = bytearray(b"\xff" * ROW_BYTES)
    row = CounterRow(memory)
    row.read()
    assert row.read_text() == b""
