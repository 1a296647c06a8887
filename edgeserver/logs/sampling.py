"""The sample of an access log: errors, slow requests, odd ones, and a share of the rest.

Decides only that. It must not know how a line looks, nor how odd is found out: an exchange says it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

from edgeserver.errors import ConfigurationError

__all__ = ["SLOW_S", "AccessSampler", "Judged"]

SLOW_S: Final = 1.0
"""From when on a request is slow, where nobody says it."""


class Judged(Protocol):
    """What is asked of an exchange that has ended."""

    @property
    def status(self) -> int:
        """The status; 0 where no answer was sent."""
        ...

    @property
    def duration_s(self) -> float:
        """Seconds from the request to the end of the answer."""
        ...

    def has_findings(self) -> bool:
        """Return whether something was odd about who the client is; it takes some time."""
        ...


class AccessSampler:
    """Decides for each request that has ended.

    Args:
        share: The share of unremarkable requests that have a line, above 0 and at most 1.
        slow_s: From when on a request is slow.
        choose: Gives a number from 0 to 1 for each request, against which the share is held.

    Raises:
        ConfigurationError: `share` is not a share.
    """

    def __init__(
        self,
        share: float,
        *,
        slow_s: float = SLOW_S,
        choose: Callable[[], float] = random.random,
    ) -> None:
        if not isinstance(share, int | float) or not 0 < share <= 1:
            raise ConfigurationError(
                f"sample={share!r} is not a share: give a number above 0 and at most 1, such as 0.1"
            )
        self._share = float(share)
        self._slow_s = slow_s
        self._choose = choose

    def weigh(self, exchange: Judged) -> float:
        """Return the share of its like that have a line: 1 for what always has, 0 for no line."""
        status = exchange.status
        if not status or status >= 400 or exchange.duration_s >= self._slow_s:
            return 1.0
        if exchange.has_findings():
            return 1.0
        return self._share if self._choose() < self._share else 0.0
