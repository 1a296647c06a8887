"""What a worker and its parent share: a pipe of lines, and a page of memory with beats.

Decides how a worker says what it waits for, that it serves and that it lives, so that a worker
whose event loop is held needs no code of its own to be found out. It must not know what follows.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib

from edgeserver.support.counters import CounterRow

__all__ = ["Beats", "ParentLink", "SharedText"]

SLOTS = 4096
"""More processes than there ever are at once: two for each place, and those that leave."""

LINE_BYTES = 400
"""The longest line; a pipe takes so much whole (`PIPE_BUF`), or nothing of it."""

_STAMP = struct.Struct("d")


class Beats:
    """A page of memory in which each process stamps its slot; made before the first fork."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, SLOTS * _STAMP.size)
        self._free = list(range(SLOTS - 1, -1, -1))

    def take_slot(self) -> int:
        """Return a slot that nobody else has, stamped with the present."""
        slot = self._free.pop()
        self.stamp(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Take a slot back: its process has ended."""
        self._free.append(slot)

    def stamp(self, slot: int) -> None:
        """Write the present into a slot."""
        _STAMP.pack_into(self._page, slot * _STAMP.size, time.monotonic())

    def stamped_s(self, slot: int) -> float:
        """Return when a slot was stamped last, by the monotonic clock of all processes."""
        stamp: float = _STAMP.unpack_from(self._page, slot * _STAMP.size)[0]
        return stamp


class SharedText:
    """Memory in which the parent leaves a text for all workers; made before the first fork.

    Two places are written in turns, so that who reads while another text comes still has a whole
    one.

    Args:
        most: The longest text, in bytes.
    """

    _HEAD = struct.Struct("QqL")  # its number, its length (-1 for none), its checksum
    _TRIES = 100

    def __init__(self, most: int) -> None:
        self._most = most
        self._page = mmap.mmap(-1, 2 * (self._HEAD.size + most))
        self._count = 0

    def write(self, text: bytes | None) -> None:
        """Leave a text, or that there is none."""
        self._count += 1
        at = (self._count % 2) * (self._HEAD.size + self._most)
        content = text or b""
        start = at + self._HEAD.size
        self._page[start : start + len(content)] = content
        length = -1 if text is None else len(content)
        self._HEAD.pack_into(self._page, at, self._count, length, zlib.crc32(content))

    def read(self) -> bytes | None:
        """Return the last text; None where there is none."""
        for _ in range(self._TRIES):
            heads = []
            for at in (0, self._HEAD.size + self._most):
                heads.append((*self._HEAD.unpack_from(self._page, at), at))
            number, length, checksum, at = max(heads)
            start = at + self._HEAD.size
            content = bytes(self._page[start : start + max(length, 0)])
            if zlib.crc32(content) == checksum:
                return content if number and length >= 0 else None
        return None


class ParentLink:
    """A worker's side of what it shares with its parent.

    Args:
        place: Which worker this is, from 1 on.
        pipe: Where its lines go, a descriptor.
        lifeline: A descriptor whose end of file means that the parent is gone.
        beats: The page.
        slot: Its place on the page.
        is_renewed: Whether it replaces another, so that files may have changed since the parent
            has read them.
        text: Where the parent leaves the configuration file as it is to be in force.
        row: What it counts into; None where nobody asks.
    """

    def __init__(
        self,
        place: int,
        pipe: int,
        lifeline: int,
        *,
        beats: Beats,
        slot: int,
        is_renewed: bool,
        text: SharedText | None = None,
        row: CounterRow | None = None,
    ) -> None:
        self.place = place
        self.lifeline = lifeline
        self.is_renewed = is_renewed
        self.row = row
        self._pipe = pipe
        self._beats = beats
        self._slot = slot
        self._text = text
        os.set_blocking(pipe, False)

    def configuration(self) -> bytes | None:
        """Return the configuration file as the parent has found it right; None without one."""
        return None if self._text is None else self._text.read()

    def beat(self) -> None:
        """Tell that the event loop turns."""
        self._beats.stamp(self._slot)

    def waits(self, what: str) -> None:
        """Tell what the start waits for from now on."""
        self._write(f"waits {what}")

    def ready(self, said: str) -> None:
        """Tell that connections are accepted, and what the application was taken for."""
        self.beat()
        self._write(f"ready {said}")

    def reloaded(self) -> None:
        """Tell that what HUP asks for was done, or has failed."""
        self._write("reloaded")

    def renew(self, why: str) -> None:
        """Ask to be replaced."""
        self._write(f"renew {why}")

    def _write(self, line: str) -> None:
        data = " ".join(line.split("\n")).encode("utf-8", "replace")[:LINE_BYTES]
        try:
            os.write(self._pipe, data + b"\n")
        except OSError:
            pass  # the parent is gone, which its lifeline tells, or has not read for very long
