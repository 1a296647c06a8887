"""The protocol stack of an accepted connection: PROXY header, TLS, HTTP, each where it is wanted.

Decides which layers a listener's connections pass, hands each what the one below found out, and
picks the version of HTTP that ALPN has negotiated. It must not know what any layer does.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from edgeserver.errors import ConfigurationError
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Connection, HTTP1Shared
from edgeserver.http2 import HTTP2Connection, HTTP2Shared
from edgeserver.http2.frames import PREFACE
from edgeserver.proxyheaders import CODES, TrustPolicy
from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.proxyheaders.proxyprotocol.parse import Prelude
from edgeserver.server.client_limit import ClientCounts, ConnectionGate, CountedHandshake
from edgeserver.server.tls import TLSService
from edgeserver.server.unbelieved import ClaimLog, warn_of_listener
from edgeserver.support.escape import escape
from edgeserver.tls import TLSContexts
from edgeserver.transport.proxyprotocol import INVALID, PreludeLayer, PreludeTracker, RefusalLog

if TYPE_CHECKING:
    from edgeserver.tcpserver import Listener

__all__ = ["ALPN", "HTTP2_MODES", "ProtocolStack"]

HTTP2_MODES: Final = (True, False, "only")
"""What a listener's `http2` may be."""

ALPN: Final[dict[object, tuple[str, ...]]] = {
    True: ("h2", "http/1.1", "http/1.0"),
    False: ("http/1.1", "http/1.0"),
    "only": ("h2",),
}
"""What may be negotiated by ALPN with each, best first. Source: IANA's registry of protocol ids."""

FIRST_LINE: Final = PREFACE[:16]
"""What HTTP/1 takes for the first line of a request whose version it does not know."""

PRELUDE_MODES = ("v1", "v2", "any")


class ProtocolStack:
    """Builds the protocol of each connection of one server.

    Args:
        service: What the HTTP connections share.
        tls: The server's TLS.
        policy: Who may speak the PROXY protocol, and who is believed.
        on_begin: Called when a connection has begun whose prelude is to come.
        max_per_client: Most connections of one client; None for no limit.
        claims_level: The level of the lines that say who claims something and is not believed.
    """

    def __init__(
        self,
        service: HTTPService,
        tls: TLSService,
        policy: TrustPolicy,
        on_begin: Callable[[], None] | None = None,
        max_per_client: int | None = None,
        *,
        claims_level: int = logging.WARNING,
    ) -> None:
        self.preludes = PreludeTracker(on_begin)
        self._service = service
        self._http1 = HTTP1Shared(service)
        # Made for the first listener that needs them: who speaks HTTP/2, and HTTP/1 that hands a
        # connection over to it.
        self._http2: HTTP2Shared | None = None
        self._either: HTTP1Shared | None = None
        self._tls = tls
        self.policy = policy
        policy.watch_claims(ClaimLog(policy, level=claims_level).tell)
        self._prelude_mode = ""
        self._gate: ConnectionGate | None = None
        if max_per_client is not None:
            gate = ConnectionGate(ClientCounts(max_per_client, self._may_speak))
            self._gate = service.clients = gate
            tls.watch_ends(gate.leave)
        self._refusals = RefusalLog()
        self._unspoken = RefusalLog()

    def set_policy(self, policy: TrustPolicy, listeners: Iterable[Listener]) -> None:
        """Judge by `policy` from now on.

        Args:
            policy: Who may speak the PROXY protocol, and who is believed.
            listeners: Whose connections it is for; one is warned of where nobody is believed now.

        Raises:
            ConfigurationError: There are connections with preludes, or may be: even when their
                listener has closed they go on.
        """
        if self._prelude_mode:
            self.check_prelude(self._prelude_mode, policy)
        policy.watch_claims(ClaimLog(policy).tell)
        for listener in listeners:
            warn_of_listener(listener.socket, policy, listener.proxy_protocol, self.policy)
        self.policy = policy

    def prepare(self, listener: Listener) -> None:
        """Make ready what the connections of `listener` need.

        Raises:
            ConfigurationError: Its settings cannot work.
            KeyError: Its `ssl_options` have no `certfile`.
        """
        if listener.proxy_protocol:
            self.check_prelude(listener.proxy_protocol, self.policy)
            self._prelude_mode = listener.proxy_protocol
        if listener.http2 not in HTTP2_MODES:
            raise ConfigurationError(
                f"http2={listener.http2!r} is unknown: give True, False or 'only'"
            )
        if listener.http2:
            self._prepare_http2()
        warn_of_listener(listener.socket, self.policy, listener.proxy_protocol)
        if listener.ssl_options is not None:
            self._tls.prepare(listener.ssl_options, listener.http2)
            self._tls.start(listener.loop)

    def _prepare_http2(self) -> HTTP2Shared:
        if self._http2 is None:
            self._http2 = HTTP2Shared(self._service)
            self._either = HTTP1Shared(self._service)
            self._either.other_version = self._prior_knowledge
        return self._http2

    def _prior_knowledge(self, first: bytes, prelude: Any) -> asyncio.Protocol | None:
        """Return who speaks HTTP/2, to a client that begins with its preface; else None.

        Source: RFC 9113 section 3.3.
        """
        if not first.startswith(FIRST_LINE):
            return None
        return HTTP2Connection(self._prepare_http2(), prelude)

    @staticmethod
    def check_prelude(mode: object, policy: TrustPolicy) -> None:
        """Check `mode`, a listener's `proxy_protocol` under `policy`.

        Raises:
            ConfigurationError: It is none, or nobody says who may speak it.
        """
        if mode not in PRELUDE_MODES:
            raise ConfigurationError(
                f"proxy_protocol={mode!r} is unknown: give 'v1', 'v2', 'any' or None"
            )
        if policy.mode != "policy":
            raise ConfigurationError(
                f"proxy_protocol={mode!r} needs a trust policy: pass trust=TrustPolicy([...]) with"
                " the addresses that may speak it"
            )

    def build(self, listener: Listener) -> asyncio.Protocol:
        """Return the lowest protocol of a connection that `listener` has accepted."""
        self._http1.service.accepted(listener.loop)
        if listener.proxy_protocol:
            return PreludeLayer(
                mode=listener.proxy_protocol,
                allowed=self._may_speak,
                next_protocol=functools.partial(self._after_prelude, listener),
                on_refusal=self._count_refusal,
                refusals=self._refusals,
                tracker=self.preludes,
            )
        if listener.ssl_options is not None:
            return self._secure(listener, None)
        return self._plain(listener, None)

    def _after_prelude(self, listener: Listener, prelude: Prelude) -> asyncio.Protocol:
        if listener.ssl_options is not None:
            return self._secure(listener, prelude)
        return self._plain(listener, prelude)

    def _plain(self, listener: Listener, prelude: Prelude | None) -> asyncio.Protocol:
        """Return who speaks first on a connection without TLS."""
        if not listener.http2:
            return HTTP1Connection(self._http1, prelude)
        if listener.http2 == "only":
            return HTTP2Connection(self._prepare_http2(), prelude)
        self._prepare_http2()
        return HTTP1Connection(self._either or self._http1, prelude)

    def _secure(self, listener: Listener, prelude: Prelude | None) -> asyncio.Protocol:
        assert listener.ssl_options is not None, "only asked for where there are some"
        contexts = self._tls.prepare(listener.ssl_options, listener.http2)
        source = None if prelude is None else prelude.source
        layer = self._tls.build_layer(
            contexts,
            functools.partial(self._above_tls, listener.http2, contexts, prelude),
            None if source is None or source.startswith("unix:") else source,
        )
        return layer if self._gate is None else CountedHandshake(self._gate, layer, prelude)

    def _above_tls(
        self,
        http2: Any,
        contexts: TLSContexts,
        prelude: Prelude | None,
        transport: asyncio.Transport,
    ) -> asyncio.Protocol:
        """Return who speaks what ALPN has negotiated; nothing negotiated is HTTP/1.1."""
        info = transport.get_extra_info("tls_info")
        negotiated = None if info is None else info.alpn
        misdirected = contexts.misdirected if contexts.policies_differ else None
        if http2 and (negotiated == "h2" or http2 == "only"):
            return HTTP2Connection(self._prepare_http2(), prelude, misdirected)
        if negotiated not in (
            None,
            "http/1.1",
            "http/1.0",
        ):  # only where the application's own SSLContext has offered it
            self._unspoken.warn(
                f"ALPN has chosen {escape(str(negotiated))}, which this server does not speak:"
                " connection closed; leave it out of the SSLContext's set_alpn_protocols"
            )
            transport.close()
            return asyncio.Protocol()
        return HTTP1Connection(self._http1, prelude, misdirected)

    def _may_speak(self, peer: str) -> bool:
        return self.policy.trusts(peer)

    def _count_refusal(self, code: str, detail: str) -> None:
        # A peer that may not speak at all counts as an invalid prelude: the codes are permanent.
        self.policy.count_findings([make_finding(code if code in CODES else INVALID, detail)])
