"""How a log record looks on a terminal or in a file, whoever wrote what is in it.

Decides that nothing in a record can act on a terminal or pass for another record. It must not know
who logs; an exception's text, which an application often makes of what a stranger sent, is why.
"""

from __future__ import annotations

import logging

__all__ = ["RecordFormatter"]


class RecordFormatter(logging.Formatter):
    """Formats as `logging.Formatter`, escapes controls, and indents all lines but the first."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of `record`; a line that starts without a space starts a record."""
        lines = super().format(record).split("\n")
        return "\n  ".join(map(_printable, lines))


def _printable(line: str) -> str:
    # Among what is not printable are the controls of terminals, old (ESC) and new (U+0080 to
    # U+009F), other line ends, and what changes the direction of text.
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in line
    )
