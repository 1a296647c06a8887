"""Standard streams: each a terminal, a file or pipe, or nothing at all.

Decides where pictures and colours go; it must not know what is printed.
"""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["ProgressLine", "is_coloured", "is_terminal"]

_PROGRESS_CELLS = 30


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal; Python has None for one that was closed at start."""
    return stream is not None and stream.isatty()


def is_coloured(stream: TextIO | None) -> bool:
    """Return whether to colour what goes to `stream`.

    Source: https://no-color.org; a dumb terminal has no colours either.
    """
    return (
        is_terminal(stream)
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") != "dumb"
    )


class ProgressLine:
    """A line on a terminal that says how far a long work is, and goes when it is done.

    Args:
        stream: Where it is written; nothing is, unless that is a terminal.
        what: What is done, in plain letters.
    """

    def __init__(self, stream: TextIO | None, what: str) -> None:
        self._stream = stream if is_terminal(stream) else None
        self._what = what
        self._width = 0

    @property
    def is_shown(self) -> bool:
        """Whether there is a terminal to write to."""
        return self._stream is not None

    def show(self, share: float) -> None:
        """Show the share that is done, from 0 to 1."""
        share = max(0.0, min(1.0, share))
        done = round(share * _PROGRESS_CELLS)
        self._write(f"{self._what} [{'#' * done}{'.' * (_PROGRESS_CELLS - done)}] {share:4.0%}")

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("")
            self._write("")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r{text:<{self._width}}")
            self._stream.flush()
            self._width = len(text)
