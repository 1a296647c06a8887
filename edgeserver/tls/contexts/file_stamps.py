"""Changes of files, found by their metadata alone, without an event from the kernel.

Decides what counts as a change. It opens no file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Stamp", "stamp_files"]

_RACY_NS = 2_000_000_000


class Stamp(NamedTuple):
    """The metadata of some files at one moment.

    Args:
        files: For each file its modification time, size, inode and device; None if missing. A
            symbolic link is followed, so that an exchanged link is a change too.
        racy: Whether a file was modified so shortly before that a further change could bear the
            same time: what was read then is to be read again.
    """

    files: tuple[tuple[int, int, int, int] | None, ...]
    racy: bool


def stamp_files(paths: Iterable[str]) -> Stamp:
    """Return the metadata of `paths` now; take it before reading them, never after."""
    files: list[tuple[int, int, int, int] | None] = []
    racy = False
    now_ns = time.time_ns()
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            files.append(None)
            continue
        files.append((found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev))
        racy = racy or abs(now_ns - found.st_mtime_ns) < _RACY_NS
    return Stamp(tuple(files), racy)
