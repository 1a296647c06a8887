"""The log of failed handshakes: which are written, and what is kept of them.

Decides what is remembered and what is said of the failures that are not logged one by one. It must
know neither TLS nor sockets: failures come in, lines go to `edgeserver.general`, counts and the
last ones are kept.
"""

from __future__ import annotations

from collections import Counter, deque

from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit
from edgeserver.tls.handshake.failures import HandshakeFailure

__all__ = ["FailureLog"]

KEPT = 100


class FailureLog:
    """One line for each failed handshake, within limits that a flood cannot pass.

    Args:
        limit: How many lines an address, and all together, may cause; what is above is counted,
            and summed up in one line when the minute is over and something else fails.

    Attributes:
        recent: The last 100 failures, the newest last, logged or not.
        counts: Failures by the name of their reason.
    """

    __slots__ = ("_limit", "counts", "recent")

    def __init__(self, *, limit: RateLimit | None = None) -> None:
        self.recent: deque[HandshakeFailure] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self._limit = limit or RateLimit()

    def add(self, failure: HandshakeFailure, key: bytes) -> None:
        """Count and keep a failure, and log it where its address has lines left.

        Args:
            failure: What happened.
            key: The client's address as `ratelimit.address_key` gives it.
        """
        self.counts[failure.reason.name] += 1
        self.recent.append(failure)
        missed = self._limit.missed(failure.when_s)
        if missed:
            gen_log.warning(
                "SSL Error on several connections: %d more failed handshakes in the minute before "
                "were not logged one by one",
                missed,
            )
        if self._limit.permits(failure.when_s, key):
            gen_log.warning("%s", failure.render())
