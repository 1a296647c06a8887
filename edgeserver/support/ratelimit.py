"""The limit of a warning: how often it may repeat, for one address and in all, in a minute.

Decides which lines are written where a stranger can cause as many as it likes, and counts the
others. It must not know what they say: to `RateLimit` time and addresses come in, yes or no and a
count go out, and `LimitedLog` asks it for each line.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Final

__all__ = ["IN_ALL", "PER_ADDRESS", "WINDOW_S", "LimitedLog", "RateLimit", "address_key"]

PER_ADDRESS: Final = 5
"""Lines about one address in a minute."""

IN_ALL: Final = 60
"""Lines in a minute, about whomever."""

WINDOW_S: Final = 60.0
"""How long a minute is."""

_V4_MAPPED = bytes(10) + b"\xff\xff"


def address_key(address: str | None) -> bytes:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A household or a machine has a whole /64 (RFC 6177 section 2), so a single IPv6 address says
    nothing. Empty for a unix socket or an unknown address, which have no limit of their own.
    """
    if not address:
        return b""
    try:
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return b""
    return packed[12:] if packed.startswith(_V4_MAPPED) else packed[:8]


class RateLimit:
    """What may be written of one kind of line; a minute begins with the first line after the last.

    At most `in_all` addresses are remembered: who has written nothing is not.

    Args:
        per_address: Lines about one address in a minute.
        in_all: Lines in a minute.

    Attributes:
        suppressed: Lines not permitted since `missed` last told.
        last: Whether the line permitted last was the last for its address, or for all, in this
            minute.
    """

    __slots__ = ("_in_all", "_lines", "_per_address", "_window_ends_s", "_written", "last",
                 "suppressed")  # fmt: skip

    def __init__(self, *, per_address: int = PER_ADDRESS, in_all: int = IN_ALL) -> None:
        self._per_address = per_address
        self._in_all = in_all
        self._window_ends_s = float("-inf")
        self._written = 0
        self._lines: dict[bytes, int] = {}
        self.suppressed = 0
        self.last = False

    def permits(self, now_s: float, key: bytes = b"") -> bool:
        """Count a line, and say whether it may be written.

        Args:
            now_s: Seconds; where they go back by more than a minute, another minute begins.
            key: Whom it is about, an `address_key`; empty for nobody in particular, such as a
                unix socket, where only the number in all counts.
        """
        if self._is_over(now_s):
            self._window_ends_s = now_s + WINDOW_S
            self._written = 0
            self._lines.clear()
        lines = self._lines.get(key, 0) + 1 if key else 0
        if self._written >= self._in_all or lines > self._per_address:
            self.suppressed += 1
            return False
        self._written += 1
        if key:
            self._lines[key] = lines
        self.last = self._written == self._in_all or lines == self._per_address
        return True

    def missed(self, now_s: float) -> int:
        """Return how many lines a minute that is over has suppressed; it tells each time once."""
        if not self.suppressed or not self._is_over(now_s):
            return 0
        suppressed, self.suppressed = self.suppressed, 0
        return suppressed

    def _is_over(self, now_s: float) -> bool:
        # A clock of the day may be set back: nobody is to be silent until it has caught up.
        return not 0 < self._window_ends_s - now_s <= 2 * WINDOW_S


class LimitedLog:
    """The lines of one kind in a log: so many a minute, about one address and in all.

    Once that minute is over the next line says how many were not written.

    Args:
        logger: Where they go.
        level: Of what level they are.
        what: What they are called when those not written are counted, in the plural.
        limit: How many there may be.
        clock: Seconds that only grow.
    """

    __slots__ = ("_clock", "_level", "_limit", "_logger", "_what")

    def __init__(
        self,
        logger: logging.Logger,
        level: int,
        what: str,
        *,
        limit: RateLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._level = level
        self._what = what
        self._limit = limit or RateLimit()
        self._clock = clock

    def write(self, address: str, text: str, *args: object) -> None:
        """Write a line, or count it where there were so many already.

        Args:
            address: Whom it is about; what is not an IP address has no limit of its own.
            text: The line, with `%` for each of `args`, which are escaped already.
            args: What stands in it.
        """
        now = self._clock()
        missed = self._limit.missed(now)
        if missed:
            self._logger.log(
                self._level,
                "%s: %d more in the minute before were not logged one by one",
                self._what,
                missed,
            )
        if self._limit.permits(now, address_key(address)):
            self._logger.log(self._level, text, *args)
