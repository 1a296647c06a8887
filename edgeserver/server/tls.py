"""The TLS of one server: whose contexts serve which listener, and when they are looked at again.

Decides that one set of options is read once, however many listeners have it, and that handshakes
of all listeners count together. It must not know certificates, nor what is spoken after TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.escape import escape
from edgeserver.tls import ReloadResult, ReloadTimer, TLSContexts, build_contexts
from edgeserver.tls.connection.transport import TLSTransport
from edgeserver.tls.handshake.layer import TLSLayer
from edgeserver.tls.handshake.limiter import (
    HandshakeCounts,
    HandshakeLimiter,
    HandshakeTally,
)
from edgeserver.transport.lingering import linger

__all__ = ["TLSService"]


class TLSService:
    """Contexts, handshake limits and reloads.

    Args:
        redirect: Answer plain HTTP on a TLS port with 308 to https rather than with 400.
        on_begin: Called when `handshaking` has grown, or None.
        alpn: What may be negotiated by ALPN, by what a listener's `http2` is; it is offered where
            the options say nothing of it. What is not in it may offer anything.
    """

    def __init__(
        self,
        *,
        redirect: bool = False,
        on_begin: Callable[[], None] | None = None,
        alpn: Mapping[object, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        self._alpn = alpn
        self._redirect = redirect
        self._on_begin = on_begin
        self._on_end: Callable[[object], None] | None = None  # what `watch_ends` was given
        self._tally: HandshakeTally | None = None
        # By the options, and by what is offered where these say nothing of it.
        self._contexts: dict[tuple[int, tuple[str, ...]], tuple[Any, TLSContexts]] = {}
        self._timers: dict[tuple[int, tuple[str, ...]], ReloadTimer] = {}
        self.limiter: HandshakeLimiter | None = None

    def prepare(
        self,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | TLSContexts,
        http2: object = False,
    ) -> TLSContexts:
        """Return the contexts for `ssl_options`, made when they are first asked for.

        Contexts that were made before a fork may be given as they are: its processes then resume
        each other's sessions.

        Raises:
            KeyError: A dict has no `certfile`.
            TLSConfigurationError: An option or a file is wrong, or offers what is not spoken.
        """
        # By identity, and the options are kept: an id is only unique while its object lives.
        alpn = self._alpn.get(http2, ())
        known = self._contexts.get((id(ssl_options), alpn))
        if known is not None:
            return known[1]
        contexts = build_contexts(ssl_options, alpn=alpn)
        if alpn:
            self._check_alpn(contexts, frozenset(alpn))
        self._contexts[id(ssl_options), alpn] = (ssl_options, contexts)
        if self.limiter is None:
            limits = contexts.handshake_limits
            self.limiter = HandshakeLimiter(
                max_handshakes=limits.total,
                max_per_client=limits.per_client,
                max_stalled=limits.stalled,
                on_begin=self._on_begin,
                on_end=self._on_end,
            )
            self.limiter.tally = self._tally
        return contexts

    def watch_ends(self, on_end: Callable[[object], None]) -> None:
        """Have `on_end` called with each connection whose handshake is over, however it ended."""
        self._on_end = on_end
        if self.limiter is not None:
            self.limiter.on_end = on_end

    @staticmethod
    def _check_alpn(contexts: TLSContexts, spoken: frozenset[str]) -> None:
        """Refuse to offer clients a protocol that nobody here would answer in."""
        for host, options in contexts.options.items():
            unspoken = sorted({*options.alpn} - spoken)
            if unspoken:
                where = f' of host "{escape(host)}"' if host else ""
                raise TLSConfigurationError(
                    f'"alpn"{where} offers {escape(repr(unspoken[0]))}, which this server does not'
                    ' speak: a client that takes it would get no answer; give "alpn": ["http/1.1"],'
                    " or leave it out"
                )

    def keep_only(self, used: Iterable[Any]) -> None:
        """Forget the contexts of options that no listener has any more.

        Args:
            used: The `ssl_options` of all listeners.
        """
        wanted = {id(options) for options in used}
        for key in [each for each in self._contexts if each[0] not in wanted]:
            del self._contexts[key]
            timer = self._timers.pop(key, None)
            if timer is not None:
                timer.stop()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the files from now on; a further start does nothing for those looked at."""
        for key, (_, contexts) in self._contexts.items():
            if key not in self._timers:
                self._timers[key] = ReloadTimer(contexts)
            self._timers[key].start(loop)

    def stop(self) -> None:
        """Look at no file any more, and give up handshakes that are not complete."""
        for timer in self._timers.values():
            timer.stop()
        self._timers.clear()

    def abort_handshakes(self) -> None:
        """Close the connections whose handshake is not over."""
        if self.limiter is not None:
            self.limiter.abort_all()

    @property
    def contexts(self) -> tuple[TLSContexts, ...]:
        """All contexts in use."""
        return tuple(contexts for _, contexts in self._contexts.values())

    @property
    def handshaking(self) -> int:
        """How many connections have not completed their handshake."""
        return 0 if self.limiter is None else len(self.limiter.connections)

    @property
    def handshakes(self) -> HandshakeCounts | None:
        """Where the handshakes stand: running, waiting, stalled, evicted; None without TLS."""
        return None if self.limiter is None else self.limiter.counts

    def keep_tally(self) -> HandshakeTally:
        """Return how many handshakes have succeeded, and how fast, since this was first called."""
        if self._tally is None:
            self._tally = HandshakeTally()
            if self.limiter is not None:
                self.limiter.tally = self._tally
        return self._tally

    @property
    def failures(self) -> dict[str, int]:
        """How many handshakes have failed, by the name of the reason."""
        return {} if self.limiter is None else dict(self.limiter.log.counts)

    def build_layer(
        self,
        contexts: TLSContexts,
        build_protocol: Callable[[TLSTransport], asyncio.BaseProtocol],
        client: str | None,
    ) -> TLSLayer:
        """Return what does TLS on one accepted connection.

        Args:
            contexts: The listener's, as `prepare` returned them.
            build_protocol: Makes the protocol above, once the handshake is done.
            client: The address that a PROXY prelude named; handshakes are limited by it.
        """
        assert self.limiter is not None, "prepare makes it"
        return TLSLayer(
            contexts=contexts,
            build_protocol=build_protocol,
            limiter=self.limiter,
            linger=linger,
            client=client,
            redirect=self._redirect,
        )

    def reload(self) -> tuple[ReloadResult, ...]:
        """Read all files again; what is good serves new connections from now on."""
        return tuple(contexts.reload() for contexts in self.contexts)
