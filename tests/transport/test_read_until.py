"""Tests of `edgeserver.transport.read_until`: where a read ends in a buffer that grows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.transport.read_until import (
    UnsatisfiableReadError,
    find_bytes,
    find_delimiter,
    find_match,
)


@pytest.mark.parametrize(
    ("count", "partial", "held", "end"),
    [
        (3, False, b"ab", None),
        (3, False, b"abc", 3),
        (3, False, b"abcd", 3),
        (0, False, b"", 0),
        (3, True, b"", None),
        (3, True, b"a", 1),
        (3, True, b"abcd", 3),
        (0, True, b"", 0),
    ],
)
def test_bytes(count, partial, held, end):
    """An exact read ends at its count, a partial one at what is there."""
    assert find_bytes(count, partial=partial)(bytearray(held)) == end


@pytest.mark.parametrize("make", [find_delimiter, find_match])
@pytest.mark.parametrize(
    ("held", "max_bytes", "end"),
    [
        (b"", None, None),
        (b"ab", None, None),
        (b"ab\r\ncd", None, 4),
        (b"ab\r\n", 4, 4),
        (b"ab\r\n", 3, UnsatisfiableReadError),
        (b"abcd", 3, UnsatisfiableReadError),
        (b"abc", 3, None),
    ],
)
def test_bounds(make, held, max_bytes, end):
    """A delimiter or match ends the read, within `max_bytes` or not at all."""
    find = make(b"\r\n", max_bytes=max_bytes)
    if end is UnsatisfiableReadError:
        with pytest.raises(UnsatisfiableReadError, match=f"not found within {max_bytes} bytes"):
            find(bytearray(held))
    else:
        assert find(bytearray(held)) == end


def test_match_leaves_the_buffer_free():
    """A buffer that was searched can still be cut."""
    buffer = bytearray(b"a1b")
    assert find_match(rb"\d", max_bytes=None)(buffer) == 2
    del buffer[:2]


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"a", b"ab", b"\r", b"\n", b"\r\n", b"\r\r"]), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r\n\r\n", b"aab"]),
)
def test_cutting_changes_nothing(pieces, delimiter):
    """A delimiter is found at the same place however the input is cut."""
    whole = b"".join(pieces)
    found = whole.find(delimiter)
    find = find_delimiter(delimiter, max_bytes=None)
    buffer = bytearray()
    end = None
    for piece in pieces:
        buffer += piece
        end = find(buffer)
        if end is not None:
            break
    assert end == (found + len(delimiter) if found >= 0 else None)
