"""A row of counters: named numbers in memory that one process writes and others read at any time.

Decides how they lie there, and that neither the numbers nor their names can become too many. It
must not know what is counted: `edgeserver.operate` has the names and their meaning.

A number is a double, which is exact for counts up to 2**53, and is written in one piece: whoever
reads meanwhile sees the old or the new one. Its name is written before it counts as there.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["MOST_LABELS", "OTHER", "ROW_BYTES", "CounterRow"]

ENTRIES: Final = 960
"""Numbers in a row; what has no place there is counted in one that nobody reads."""

NAME_BYTES: Final = 96
"""A name: its length, then a family and its labels, with a NUL between any two."""

TEXT_BYTES: Final = 16 * 1024
"""The longest text beside the numbers."""

MOST_LABELS: Final = 128
"""How many numbers a family has at most; those beyond count under `OTHER`."""

OTHER: Final = "other"
"""The label of what has no number of its own."""

_HEAD: Final = 4 * 8  # of names: how many there are; of the text: its length, twice, and spare
_NAMES_AT: Final = _HEAD + 8 * (ENTRIES + 1)
_TEXT_AT: Final = _NAMES_AT + NAME_BYTES * ENTRIES

ROW_BYTES: Final = _TEXT_AT + TEXT_BYTES

_COUNT: Final = struct.Struct("Q")
_LENGTHS: Final = struct.Struct("QQ")


class CounterRow:
    """The numbers of one process at a time, which outlive it.

    A process that takes over the row of one that has ended goes on counting where that stopped. No
    two may write to the same row at once: an addition is a read and a write.

    Args:
        memory: Where the numbers lie, `ROW_BYTES` of zeros or a row's; new memory that processes
            forked from this one share, if None.

    Attributes:
        cells: The numbers, to be added to by `index`; the quickest way.
    """

    __slots__ = ("_families", "_indexes", "_memory", "_view", "cells")

    def __init__(self, memory: mmap.mmap | bytearray | None = None) -> None:
        self._memory = mmap.mmap(-1, ROW_BYTES) if memory is None else memory
        self._view = memoryview(self._memory)
        self.cells: memoryview[float] = self._view[_HEAD:_NAMES_AT].cast("d")
        self._indexes: dict[tuple[str, ...], int] = {}  # of the names that are known here
        self._families: dict[str, int] = {}  # how many of them each family has

    # Whoever counts.

    def add(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """Add to the number of a family that has these labels; never raises.

        Args:
            family: What is counted, such as `shed_total`.
            labels: The values of its labels, in order. Never what a client wrote.
            amount: How much.
        """
        self.cells[self.index(family, *labels)] += amount

    def set(self, family: str, *labels: str, value: float) -> None:
        """Replace a number."""
        self.cells[self.index(family, *labels)] = value

    def index(self, family: str, *labels: str) -> int:
        """Return where the number with this name lies in `cells`; it is made where it is not."""
        key = (family, *labels)
        found = self._indexes.get(key)
        if found is not None:
            return found
        if not self._indexes:
            self._learn()
            if key in self._indexes:
                return self._indexes[key]
        if self._families.get(family, 0) >= MOST_LABELS - 1 and set(labels) != {OTHER}:
            return self.index(family, *(OTHER for _ in labels))
        return self._make(key)

    def _learn(self) -> None:
        """Note the names that somebody before has made."""
        for number, key in enumerate(self._names()):
            self._indexes[key] = number
            self._families[key[0]] = self._families.get(key[0], 0) + 1

    def _make(self, key: tuple[str, ...]) -> int:
        """Give a name a number, 0 so far."""
        number = int(_COUNT.unpack_from(self._memory)[0])
        name = "\0".join(key).encode()
        if number >= ENTRIES or len(name) >= NAME_BYTES:
            return ENTRIES
        start = _NAMES_AT + number * NAME_BYTES
        self._view[start : start + 1 + len(name)] = bytes((len(name),)) + name
        _COUNT.pack_into(self._memory, 0, number + 1)
        self._indexes[key] = number
        self._families[key[0]] = self._families.get(key[0], 0) + 1
        return number

    def write_text(self, data: bytes) -> None:
        """Replace the text; one that is too long is not written."""
        if len(data) <= TEXT_BYTES:
            # The lengths differ while it is written: whoever reads then finds no text.
            _LENGTHS.pack_into(self._memory, 8, len(data) + 1, 0)
            self._view[_TEXT_AT : _TEXT_AT + len(data)] = data
            _LENGTHS.pack_into(self._memory, 8, len(data), len(data))

    # Whoever reads.

    def _names(self) -> Iterator[tuple[str, ...]]:
        count = min(int(_COUNT.unpack_from(self._memory)[0]), ENTRIES)
        for start in range(_NAMES_AT, _NAMES_AT + count * NAME_BYTES, NAME_BYTES):
            size = min(self._view[start], NAME_BYTES - 1)
            name = bytes(self._view[start + 1 : start + 1 + size])
            yield tuple(name.decode("utf-8", "replace").split("\0"))

    def read(self) -> dict[tuple[str, ...], float]:
        """Return all numbers, each by its family and labels."""
        return {key: self.cells[number] for number, key in enumerate(self._names())}

    def read_text(self) -> bytes:
        """Return the text; nothing where there is none, or it is being written."""
        length, again = _LENGTHS.unpack_from(self._memory, 8)
        if length != again or length > TEXT_BYTES:
            return b""
        return bytes(self._view[_TEXT_AT : _TEXT_AT + length])

    def clear(self, family: str) -> None:
        """Set every number of a family to 0, such as one of a process that has ended."""
        for number, key in enumerate(self._names()):
            if key[0] == family:
                self.cells[number] = 0.0
