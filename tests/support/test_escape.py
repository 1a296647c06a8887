"""Tests for `edgeserver.support.escape`: what of a stranger's text may pass."""

from __future__ import annotations

import pytest

from edgeserver.support.escape import escape


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("plain", "plain", id="ascii"),
        pytest.param(b"\xff\n", "\\xff\\x0a", id="bytes"),
        pytest.param("\xe9", "\\xe9", id="latin-1"),
        pytest.param("\u20ac", "\\xe2\\x82\\xac", id="utf-8"),
        pytest.param("a\\b", "a\\\\b", id="backslash"),
        pytest.param("a\udcff", "a\\xff", id="a-byte-that-was-no-utf-8"),
        pytest.param("\u20ac\udc80", "\\xe2\\x82\\xac\\x80", id="such-a-byte-and-utf-8"),
        pytest.param("\ud800", "\\\\ud800", id="a-surrogate-of-no-byte"),
    ],
)
def test_what_is_shown(value: bytes | str, shown: str) -> None:
    """Printable ASCII passes; every other byte stands as its number."""
    assert escape(value) == shown


def test_what_is_long_is_cut() -> None:
    """So many bytes are shown, and how many are not."""
    assert escape("a" * 300, 10) == "aaaaaaaaaa ...(+290 bytes)"
