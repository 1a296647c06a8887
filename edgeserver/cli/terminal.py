"""Standard streams: each a terminal, a file or pipe, or nothing at all.

Decides where pictures and colours go; it must not know what is printed.
"""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["is_coloured", "is_terminal"]


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
