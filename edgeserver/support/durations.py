"""Durations: how many there were of which length, in buckets with fixed bounds.

Decides the bounds. It must not know what took so long.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

__all__ = ["BOUNDS_S", "Durations"]

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the buckets, in seconds; what is beyond has a bucket of its own."""


class Durations:
    """The durations of one kind of thing.

    Attributes:
        counts: How many there were in each bucket.
        seconds: How long all took together.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS_S) + 1)
        self.seconds: float = 0.0

    def add(self, duration_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.seconds += duration_s
