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
from edgeserver.http.service import HTTPService, TrustSource
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
from edgeserver.tcpserver import INHERIT
from edgeserver.tls import TLSContexts
from edgeserver.tls.connection.transport import TLSTransport
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

HTTP1_NAMES: Final = frozenset(("http/1.1", "http/1.0"))
"""What ALPN calls what `HTTP1Connection` speaks."""

FIRST_LINE: Final = PREFACE[:16]
"""What HTTP/1 takes for the first line of a request whose version it does not know."""

PRELUDE_MODES = ("v1", "v2", "any")


class SecuredListener:
    """What all connections over TLS of one listener have in common; made for the first of them.

    Args:
        listener: The listener.
        contexts: Those of its `ssl_options`.
        believed: Who is believed on its connections.

    Attributes:
        options: The `ssl_options` that this was made of.
        contexts: Those of the options.
        believed: Who is believed.
        http2: Whether HTTP/2 may be spoken: a bool, or `"only"`.
        misdirected: As for `HTTP1Connection`.
        above: Makes the protocol above TLS where no PROXY header came; set by who makes this.
    """

    __slots__ = ("above", "believed", "contexts", "http2", "misdirected", "options")

    above: Callable[[TLSTransport], asyncio.Protocol]

    def __init__(self, listener: Listener, contexts: TLSContexts, believed: TrustSource) -> None:
        self.options = listener.ssl_options
        self.contexts = contexts
        self.believed = believed
        self.http2: Any = listener.http2
        self.misdirected = contexts.misdirected if contexts.policies_differ else None


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
        # Those of listeners that have their own, as long as the server lives: connections outlive
        # their listener.
        self._believed: dict[Listener, TrustSource] = {}
        self._prelude_modes: dict[TrustSource, str] = {}  # under which preludes may be spoken
        self._secured: dict[Listener, SecuredListener] = {}
        self._gate: ConnectionGate | None = None
        self.set_client_limit(max_per_client)
        self._refusals = RefusalLog()
        self._unspoken = RefusalLog()

    def set_policy(
        self,
        policy: TrustPolicy,
        listeners: Iterable[Listener],
        listener: Listener | None = None,
    ) -> None:
        """Judge by `policy` from now on.

        Args:
            policy: Who may speak the PROXY protocol, and who is believed.
            listeners: Those of the server; one is warned of where nobody is believed now.
            listener: Whose connections alone it is for; None for those of all listeners that have
                no policy of their own.

        Raises:
            ConfigurationError: There are connections with preludes, or may be: even when their
                listener has closed they go on.
        """
        self._secured.clear()  # made again for the next connection of each
        believed = self._service.believed if listener is None else self._believed_by(listener)
        mode = self._prelude_modes.get(believed)
        if mode is not None:
            self.check_prelude(mode, policy)
        if listener is not None and believed is self._service.believed:
            # Its open connections stay with those of all others.
            believed = self._believed[listener] = TrustSource(policy)
            if mode is not None:
                self._prelude_modes[believed] = mode
        before = self.policy if listener is None else self._policy_of(listener)
        for each in listeners if listener is None else (listener,):
            if listener is not None or each.trust is INHERIT:
                warn_of_listener(each.socket, policy, each.proxy_protocol, before)
        policy.watch_claims(ClaimLog(policy).tell)
        believed.trust = policy
        if listener is None:
            self.policy = policy
        else:
            listener.trust = policy

    def set_client_limit(self, most: int | None) -> ConnectionGate | None:
        """Let one client have so many connections from now on, those that are open counted in.

        Args:
            most: How many; None for no limit.

        Returns:
            Who counts, None where nobody does.
        """
        if most is None:
            self._gate = None
        elif self._gate is not None:
            self._gate.set_most(most)
        else:
            count_shed = self._service.count_shed
            counts = ClientCounts(most, self._may_speak, on_refusal=count_shed)
            self._gate = ConnectionGate(counts)
            self._tls.watch_ends(self._gate.leave)
            for connection in self._service.connections.open:
                self._gate.adopt(connection, connection.admission.info)
        self._service.clients = self._gate
        return self._gate

    def prepare(self, listener: Listener) -> None:
        """Make ready what the connections of `listener` need.

        Raises:
            ConfigurationError: Its settings cannot work.
            KeyError: Its `ssl_options` have no `certfile`.
        """
        policy = self._policy_of(listener)
        if listener.proxy_protocol:
            self.check_prelude(listener.proxy_protocol, policy)
        if listener.trust is not INHERIT:
            self._believed[listener] = TrustSource(policy)
            policy.watch_claims(ClaimLog(policy).tell)
        if listener.proxy_protocol:
            self._prelude_modes[self._believed_by(listener)] = listener.proxy_protocol
        if listener.http2 not in HTTP2_MODES:
            raise ConfigurationError(
                f"http2={listener.http2!r} is unknown: give True, False or 'only'"
            )
        if listener.http2:
            self._prepare_http2()
        warn_of_listener(listener.socket, policy, listener.proxy_protocol)
        if listener.ssl_options is not None:
            self._tls.prepare(listener.ssl_options, listener.http2)
            self._tls.start(listener.loop)

    def _policy_of(self, listener: Listener) -> TrustPolicy:
        """Return the policy that the connections of a listener are judged by."""
        policy: TrustPolicy = self.policy if listener.trust is INHERIT else listener.trust
        return policy

    def _believed_by(self, listener: Listener) -> TrustSource:
        """Return who is believed on the connections of a listener."""
        return self._believed.get(listener, self._service.believed)

    def _prepare_http2(self) -> HTTP2Shared:
        if self._http2 is None:
            self._http2 = HTTP2Shared(self._service)
            self._either = HTTP1Shared(self._service)
            self._either.other_version = self._prior_knowledge
        return self._http2

    def _prior_knowledge(
        self, first: bytes, prelude: Any, believed: TrustSource
    ) -> asyncio.Protocol | None:
        """Return who speaks HTTP/2, to a client that begins with its preface; else None.

        Source: RFC 9113 section 3.3.
        """
        if not first.startswith(FIRST_LINE):
            return None
        return HTTP2Connection(self._prepare_http2(), prelude, None, believed)

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
        self._service.accepted(listener.loop)
        if listener.proxy_protocol:
            return PreludeLayer(
                mode=listener.proxy_protocol,
                allowed=functools.partial(self._may_speak_to, listener),
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
        believed = self._believed_by(listener)
        if not listener.http2:
            return HTTP1Connection(self._http1, prelude, None, believed)
        if listener.http2 == "only":
            return HTTP2Connection(self._prepare_http2(), prelude, None, believed)
        self._prepare_http2()
        return HTTP1Connection(self._either or self._http1, prelude, None, believed)

    def _secure(self, listener: Listener, prelude: Prelude | None) -> asyncio.Protocol:
        secured = self._secured.get(listener)
        if secured is None or secured.options is not listener.ssl_options:
            secured = self._share_secured(listener)
        client, above = None, secured.above
        if prelude is not None:
            above = functools.partial(self._above_tls, secured, prelude)
            source = prelude.source
            client = None if source is None or source.startswith("unix:") else source
        layer = self._tls.build_layer(secured.contexts, above, client)
        return layer if self._gate is None else CountedHandshake(self._gate, layer, prelude)

    def _share_secured(self, listener: Listener) -> SecuredListener:
        """Make what the connections of a listener have in common from now on."""
        assert listener.ssl_options is not None, "only asked for where there are some"
        contexts = self._tls.prepare(listener.ssl_options, listener.http2)
        secured = SecuredListener(listener, contexts, self._believed_by(listener))
        secured.above = functools.partial(self._above_tls, secured, None)
        self._secured[listener] = secured
        return secured

    def _above_tls(
        self, secured: SecuredListener, prelude: Prelude | None, transport: TLSTransport
    ) -> asyncio.Protocol:
        """Return who speaks what ALPN has negotiated; nothing negotiated is HTTP/1.1."""
        negotiated = transport.tls_info.alpn
        if secured.http2 and (negotiated == "h2" or secured.http2 == "only"):
            shared = self._prepare_http2()
            return HTTP2Connection(shared, prelude, secured.misdirected, secured.believed)
        if negotiated is not None and negotiated not in HTTP1_NAMES:
            # Only where the application's own SSLContext has offered it.
            self._unspoken.warn(
                f"ALPN has chosen {escape(str(negotiated))}, which this server does not speak:"
                " connection closed; leave it out of the SSLContext's set_alpn_protocols"
            )
            transport.close()
            return asyncio.Protocol()
        return HTTP1Connection(self._http1, prelude, secured.misdirected, secured.believed)

    def _may_speak(self, peer: str) -> bool:
        """Return whether a peer is a proxy that somebody lists, behind which there are many."""
        return self.policy.trusts(peer) or any(
            listener.trust.trusts(peer) for listener in self._believed
        )

    def _may_speak_to(self, listener: Listener, peer: str) -> bool:
        return self._policy_of(listener).trusts(peer)

    def _count_refusal(self, code: str, detail: str) -> None:
        # A peer that may not speak at all counts as an invalid prelude: the codes are permanent.
        self.policy.count_findings([make_finding(code if code in CODES else INVALID, detail)])
