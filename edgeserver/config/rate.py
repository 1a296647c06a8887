"""Rates: `20/s,burst=40`, a number of requests in a time, and how many at once.

Decides how one is written. It must not know what is counted.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["Rate", "parse_rate"]

_RATE = re.compile(r"([0-9]{1,6})/(s|m|h)(?:,burst=([0-9]{1,6}))?")

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(NamedTuple):
    """How often something may be.

    Args:
        number: So often,
        period_s: in so many seconds.
        burst: So often at once, after a pause.
    """

    number: int
    period_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        """Seconds for one."""
        return self.period_s / self.number


def parse_rate(name: str, text: object) -> Rate:
    """Return the rate that is written as `20/s`, `100/m` or `20/s,burst=40`.

    Without a burst it is as many at once as in one time.

    Args:
        name: How its setting is called, for the error.
        text: What was written.

    Raises:
        ConfigurationError: It is no rate.
    """
    match = _RATE.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
    if match is None or not int(match[1]) or (match[3] and not int(match[3])):
        raise ConfigurationError(
            f"{name} {escape(str(text))} is not a rate; write 20/s, 100/m, or 20/s,burst=40"
        )
    number = int(match[1])
    return Rate(number, _SECONDS[match[2]], int(match[3]) if match[3] else number)
