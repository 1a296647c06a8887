"""Tests for `edgeserver.logs.format`: no record can be forged from inside another."""

from __future__ import annotations

import logging
import sys

import pytest

from edgeserver.logs.format import RecordFormatter


def render(message: str, error: Exception | None = None) -> str:
    """Return the formatted text of a record, with the traceback of `error`."""
    info = None
    if error is not None:
        try:
            raise error
        except Exception:
            info = sys.exc_info()
    record = logging.LogRecord("edgeserver", logging.INFO, __file__, 1, message, None, info)
    return RecordFormatter("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain text", "INFO plain text"),
        ("caf\xe9 \u4e2d", "INFO caf\xe9 \u4e2d"),
        ("a\nERROR b", "INFO a\n  ERROR b"),
        ("a\r\nb", "INFO a\\r\n  b"),
        ("\x1b[31mred\x07", "INFO \\x1b[31mred\\x07"),
        ("\x9b31m\x7f", "INFO \\x9b31m\\x7f"),
        ("a\u202eb\u2028c", "INFO a\\u202eb\\u2028c"),
        ("\udcff", "INFO \\udcff"),
    ],
    ids=["plain", "letters", "line", "crlf", "escape", "c1", "direction", "surrogate"],
)
def test_records(message: str, shown: str) -> None:
    """Only the first line of a record starts at the margin, and no control is written."""
    assert render(message) == shown


def test_tracebacks() -> None:
    """The text of an exception is no better than a message."""
    text = render("failed", ValueError("\n2026-01-01 ERROR forged\x1b[2J"))
    lines = text.split("\n")
    assert lines[0] == "INFO failed"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in text
