"""The tally of requests: how many have ended, with which status, and how long they took.

Decides what is kept of a request that has ended. It is added to with each, so it is plain numbers
of this process: whoever shows them reads them now and then. It must not know who that is.
"""

from __future__ import annotations

from bisect import bisect_left
from http import HTTPStatus
from typing import Final

from edgeserver.support.durations import BOUNDS_S

__all__ = ["QUICK_S", "UNKNOWN", "RequestTally"]

QUICK_S: Final = 0.005
"""The first of the bounds; most requests are in its bucket, which is what the others leave."""

UNKNOWN: Final = -1
"""Stands for every status without a name: an application may answer with what a client asks for."""


class RequestTally:
    """The numbers of one server.

    Attributes:
        ok: How many requests have ended quickly, and with 200: most.
        others: How many of the others have, by their status; 0 where no head was written.
        seconds: How long all requests took together.
        slow: How many took longer than `QUICK_S`, by bucket; the first is always 0.
    """

    __slots__ = ("ok", "others", "seconds", "slow")

    ok: int
    others: dict[int, int]
    seconds: float
    slow: list[int]

    def __init__(self) -> None:
        self.ok = 0
        self.others = dict.fromkeys((0, UNKNOWN, *(int(each) for each in HTTPStatus)), 0)
        self.seconds = 0.0
        self.slow = [0] * (len(BOUNDS_S) + 1)

    def add(self, status: int, duration_s: float) -> None:
        """Count a request that has ended."""
        self.seconds += duration_s
        if duration_s > QUICK_S or status != 200:
            self.add_rare(status, duration_s)
        else:
            self.ok += 1

    def add_rare(self, status: int, duration_s: float) -> None:
        """Count one that took long or was not answered with 200; its seconds are counted."""
        if duration_s > QUICK_S:
            self.slow[bisect_left(BOUNDS_S, duration_s)] += 1
        try:
            self.others[status] += 1
        except KeyError:
            self.others[UNKNOWN] += 1

    def statuses(self) -> dict[int, int]:
        """Return how many requests have ended, by their status."""
        return {**self.others, 200: self.ok + self.others[200]}

    def buckets(self) -> list[int]:
        """Return how many took how long, for each of `BOUNDS_S` and beyond."""
        quick = sum(self.others.values()) + self.ok - sum(self.slow)
        return [quick, *self.slow[1:]]
