"""The layer that reads a PROXY prelude off a fresh connection, then makes way for the next.

Decides who may speak, how long the prelude may take and that its bytes, and no others, are taken.
It must not know what the prelude means for a request, nor what protocol comes next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal, cast

from edgeserver.errors import ProxyProtocolError
from edgeserver.proxyheaders.proxyprotocol.parse import Prelude, is_prelude_start, parse_prelude
from edgeserver.support.addresses import peer_of
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import RateLimit, address_key
from edgeserver.transport.handover import replace_layer

__all__ = [
    "INVALID",
    "MISSING",
    "NOT_ALLOWED",
    "PRELUDE_TIMEOUT",
    "PreludeLayer",
    "PreludeTracker",
    "RefusalLog",
]

PRELUDE_TIMEOUT = 5.0
"""Seconds that a peer has for its whole prelude."""

MISSING = "proxy-prelude-missing"
"""The code of a refusal because no prelude came, or not the whole of one."""

INVALID = "proxy-prelude-invalid"
"""The code of a refusal because the prelude breaks a rule of the format."""

NOT_ALLOWED = "proxy-peer-not-allowed"
"""The code of a refusal because the peer is not on the listener's allow-list."""


class RefusalLog:
    """Writes one warning per refused connection, and counts instead once there are too many.

    Args:
        limit: How many lines an address, and all together, may cause in a minute.
        clock: Seconds that only grow.
    """

    def __init__(
        self, limit: RateLimit | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit or RateLimit()
        self._clock = clock

    @property
    def suppressed(self) -> int:
        """How many refusals were not logged since a line last told of them."""
        return self._limit.suppressed

    def warn(self, line: str, peer: str = "") -> None:
        """Log `line`, or count it until the minute is over.

        Args:
            line: What is said.
            peer: Whom it is about, an address; anything else has no limit of its own.
        """
        now = self._clock()
        missed = self._limit.missed(now)
        if not self._limit.permits(now, address_key(peer)):
            return
        if missed:
            line += f" ({missed} more refusals were not logged)"
        if self._limit.last:
            line += " (more in this minute are counted, not logged)"
        gen_log.warning("%s", line)


class PreludeTracker:
    """Knows the connections whose prelude is not whole yet, so that they count and can be ended.

    Args:
        on_begin: Called when one more has begun, such as to bound their number.

    Attributes:
        silent: How many have left without a byte, as the checks of load balancers do.
    """

    def __init__(self, on_begin: Callable[[], None] | None = None) -> None:
        self.layers: set[PreludeLayer] = set()
        self.silent = 0
        self._on_begin = on_begin

    def begin(self, layer: PreludeLayer) -> None:
        """Know of a connection that has just been accepted."""
        self.layers.add(layer)
        if self._on_begin is not None:
            self._on_begin()

    def abort_all(self) -> None:
        """Close every connection whose prelude is not whole, without a log line."""
        for layer in list(self.layers):
            layer.abort()


class PreludeLayer(asyncio.Protocol):
    """Reads one PROXY prelude, then hands the transport and what follows it to the next protocol.

    A refused connection is aborted without an answer, and logged once. One that leaves without a
    byte is a check, and only counted.

    Args:
        mode: Which versions the listener takes.
        allowed: Whether the peer with this address text (`"unix:"` for a Unix socket) may speak;
            whoever may not is closed before anything is read.
        next_protocol: Makes what reads the rest, a TLS layer or HTTP.
        timeout_s: Seconds that the peer has for its whole prelude.
        on_refusal: Told the code and the detail of each refusal, for counting.
        refusals: What writes the log lines, for all connections of a server; its own unless given.
        tracker: Knows the connection until its prelude is whole.
    """

    def __init__(
        self,
        *,
        mode: Literal["v1", "v2", "any"],
        allowed: Callable[[str], bool],
        next_protocol: Callable[[Prelude], asyncio.Protocol],
        timeout_s: float = PRELUDE_TIMEOUT,
        on_refusal: Callable[[str, str], None] | None = None,
        refusals: RefusalLog | None = None,
        tracker: PreludeTracker | None = None,
    ) -> None:
        self._mode = mode
        self._allowed = allowed
        self._next_protocol = next_protocol
        self._timeout_s = timeout_s
        self._on_refusal = on_refusal
        self._refusals = refusals if refusals is not None else RefusalLog()
        self._tracker = tracker
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._collected = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check the peer, and start the time limit."""
        # uvloop's transports do not derive from asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_of(transport)
        if not self._peer:
            self._end_silent()  # it was gone before anybody could ask who it is
            return
        try:
            allowed = self._allowed(self._peer)
        except Exception:
            # whoever cannot be judged is not let in
            self.abort()
            raise
        if not allowed:
            self._refuse(
                NOT_ALLOWED,
                "the peer is not on the allow-list of this listener; add it to the trusted proxies "
                "or let it connect to a listener without proxy_protocol",
            )
            return
        if self._tracker is not None:
            self._tracker.begin(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout_s, self._time_out)

    def data_received(self, data: bytes) -> None:
        """Take what belongs to the prelude, and hand over when it is whole."""
        if self._transport is None:
            return
        # never more than MAX_PRELUDE bytes and one read: with those parse_prelude has an answer
        self._collected += data
        try:
            parsed = parse_prelude(self._collected, allow=self._mode)
        except ProxyProtocolError as error:
            started = is_prelude_start(self._collected)
            self._refuse(INVALID if started else MISSING, f"{error} [{error.rfc}]")
            return
        if parsed is not None:
            self._hand_over(*parsed)

    def eof_received(self) -> None:
        """Called when the peer has sent its last byte before its prelude was whole."""
        if self._collected:
            self._refuse(MISSING, f"the peer ended the connection {self._progress()}")
        else:
            self._end_silent()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone; a reset in the middle of a prelude is a refusal."""
        if exc is None:
            self.abort()  # this server has closed it
        elif self._collected:
            self._refuse(MISSING, f"the connection broke {self._progress()}: {exc}")
        else:
            self._end_silent()

    def _time_out(self) -> None:
        """Refuse a peer that did not send its prelude in time."""
        self._refuse(MISSING, f"time limit of {self._timeout_s:g} s reached {self._progress()}")

    def _end_silent(self) -> None:
        """Count a connection that ended by itself without a byte."""
        if self._transport is not None and self._tracker is not None:
            self._tracker.silent += 1
        self.abort()

    def _progress(self) -> str:
        """Return how far the prelude had come, in words."""
        if not self._collected:
            return "before the first byte of a PROXY prelude"
        return f"after {len(self._collected)} bytes of a PROXY prelude: {escape(self._collected)}"

    def _hand_over(self, prelude: Prelude, consumed: int) -> None:
        """Make the next protocol the reader, beginning with the first byte after the prelude."""
        transport, leftover = self._transport, self._collected[consumed:]
        assert transport is not None
        self._release()
        try:
            # nothing was written, so the transport cannot have paused us
            replace_layer(transport, self._next_protocol(prelude), leftover)
        except Exception:
            transport.abort()
            raise

    def _refuse(self, code: str, detail: str) -> None:
        """Abort the connection, say once why, and tell who counts."""
        if self._transport is None:
            return
        self.abort()
        peer = escape(self._peer) or "an unknown peer"
        self._refusals.warn(f"{code}: connection from {peer} closed: {detail}", self._peer)
        if self._on_refusal is not None:
            self._on_refusal(code, detail)

    def abort(self) -> None:
        """Close the connection, if its prelude is not whole yet, without an answer or a word."""
        transport = self._transport
        self._release()
        if transport is not None:
            transport.abort()

    def _release(self) -> None:
        """Forget the connection and stop the clock."""
        if self._tracker is not None:
            self._tracker.layers.discard(self)
        self._transport = None
        self._collected = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
