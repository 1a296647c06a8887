"""Which failed handshakes are logged, and what is kept of them.

Decides how many lines one address may cause and how much is remembered. It must know neither TLS
nor sockets: failures come in, lines go to `edgeserver.general`, counts and the last ones are kept.
"""

from __future__ import annotations

from collections import Counter, deque

from edgeserver.support.loggers import gen_log
from edgeserver.tls.handshake.failures import HandshakeFailure

__all__ = ["FailureLog"]

KEPT = 100
ADDRESSES_A_MINUTE = 1024


class FailureLog:
    """One line for each failed handshake, within limits that a flood cannot pass.

    Args:
        lines_per_minute: Lines that one client address may cause in a minute; what is above is
            counted, and summed up in one line when the minute is over and something else fails.

    Attributes:
        recent: The last 100 failures, the newest last, logged or not.
        counts: Failures by the name of their reason.
    """

    __slots__ = ("_lines", "_minute", "_unlogged", "counts", "lines_per_minute", "recent")

    def __init__(self, *, lines_per_minute: int = 5) -> None:
        self.lines_per_minute = lines_per_minute
        self.recent: deque[HandshakeFailure] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self._minute = 0
        self._lines: dict[bytes, int] = {}
        self._unlogged = 0

    def add(self, failure: HandshakeFailure, key: bytes) -> None:
        """Count and keep a failure, and log it where its address has lines left.

        Args:
            failure: What happened.
            key: The client's address as `handshakes.address_key` gives it.
        """
        self.counts[failure.reason.name] += 1
        self.recent.append(failure)
        minute = int(failure.when_s // 60)
        if minute != self._minute:
            self._start_minute(minute)
        lines = self._lines.get(key, 0)
        if lines >= self.lines_per_minute or (not lines and len(self._lines) >= ADDRESSES_A_MINUTE):
            self._unlogged += 1
            return
        self._lines[key] = lines + 1
        gen_log.warning("%s", failure.render())

    def _start_minute(self, minute: int) -> None:
        if self._unlogged:
            gen_log.warning(
                "SSL Error on several connections: %d more failed handshakes in the minute before "
                "were not logged one by one",
                self._unlogged,
            )
        self._minute = minute
        self._lines.clear()
        self._unlogged = 0
