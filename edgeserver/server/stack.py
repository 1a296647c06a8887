"""The protocol stack of an accepted connection: PROXY header, TLS, HTTP, each where it is wanted.

Decides which layers a listener's connections pass, hands each what the one below found out, and
picks the version of HTTP that ALPN has negotiated. It must not know what any layer does.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgeserver.errors import ConfigurationError
from edgeserver.http.service import HTTPService
from edgeserver.http1 import HTTP1Connection, HTTP1Shared
from edgeserver.proxyheaders import CODES, TrustPolicy
from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.proxyheaders.proxyprotocol.parse import Prelude
from edgeserver.server.client_limit import ClientCounts, ConnectionGate, CountedTLSLayer
from edgeserver.server.tls import TLSService
from edgeserver.server.unbelieved import ClaimLog, warn_of_listener
from edgeserver.support.escape import escape
from edgeserver.tls import TLSContexts
from edgeserver.tls.handshake.layer import TLSLayer
from edgeserver.transport.proxyprotocol import INVALID, PreludeLayer, PreludeTracker, RefusalLog

if TYPE_CHECKING:
    from edgeserver.tcpserver import Listener

__all__ = ["SPOKEN", "ProtocolStack"]

SPOKEN: Final = frozenset(("http/1.1", "http/1.0"))
"""What may be negotiated by ALPN. Source: IANA's registry of ALPN protocol ids."""

PRELUDE_MODES = ("v1", "v2", "any")


class ProtocolStack:
    """Builds the protocol of each connection of one server.

    Args:
        service: What the HTTP connections share.
        tls: The server's TLS.
        policy: Who may speak the PROXY protocol, and who is believed.
        on_begin: Called when a connection has begun whose prelude is to come.
        max_per_client: Most connections of one client; None for no limit.
        tells_claims: Whether the log says who claims something and is not believed.
    """

    def __init__(
        self,
        service: HTTPService,
        tls: TLSService,
        policy: TrustPolicy,
        on_begin: Callable[[], None] | None = None,
        max_per_client: int | None = None,
        *,
        tells_claims: bool = True,
    ) -> None:
        self.preludes = PreludeTracker(on_begin)
        self._http1 = HTTP1Shared(service)
        # What was negotiated picks who speaks it; nothing negotiated is HTTP/1.1.
        self._versions: dict[str | None, Callable[..., asyncio.Protocol]] = dict.fromkeys(
            (*SPOKEN, None), HTTP1Connection
        )
        self._tls = tls
        self.policy = policy
        if tells_claims:
            policy.watch_claims(ClaimLog(policy).tell)
        self._prelude_mode = ""
        self._clients: ClientCounts | None = None
        if max_per_client is not None:
            self._clients = ClientCounts(max_per_client, self._may_speak)
            service.clients = ConnectionGate(self._clients)
        self._refusals = RefusalLog()
        self._unspoken = RefusalLog()

    def set_policy(self, policy: TrustPolicy) -> None:
        """Judge by `policy` from now on.

        Raises:
            ConfigurationError: There are connections with preludes, or may be: even when their
                listener has closed they go on.
        """
        if self._prelude_mode:
            self.check_prelude(self._prelude_mode, policy)
        policy.watch_claims(ClaimLog(policy).tell)
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
        warn_of_listener(listener.socket, self.policy, listener.proxy_protocol)
        if listener.ssl_options is not None:
            self._tls.prepare(listener.ssl_options)
            self._tls.start(listener.loop)

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
        return HTTP1Connection(self._http1)

    def _after_prelude(self, listener: Listener, prelude: Prelude) -> asyncio.Protocol:
        if listener.ssl_options is not None:
            return self._secure(listener, prelude)
        return HTTP1Connection(self._http1, prelude)

    def _secure(self, listener: Listener, prelude: Prelude | None) -> asyncio.Protocol:
        assert listener.ssl_options is not None, "only asked for where there are some"
        contexts = self._tls.prepare(listener.ssl_options)
        source = None if prelude is None else prelude.source
        layer = self._tls.build_layer(
            contexts,
            functools.partial(self._above_tls, contexts, prelude),
            None if source is None or source.startswith("unix:") else source,
            make=TLSLayer if self._clients is None else CountedTLSLayer,
        )
        if self._clients is not None and isinstance(layer, CountedTLSLayer):
            layer.count_by(self._clients, source)
        return layer

    def _above_tls(
        self, contexts: TLSContexts, prelude: Prelude | None, transport: asyncio.Transport
    ) -> asyncio.Protocol:
        info = transport.get_extra_info("tls_info")
        negotiated = None if info is None else info.alpn
        make = self._versions.get(negotiated)
        if make is None:  # only where the application's own SSLContext has offered it
            self._unspoken.warn(
                f"ALPN has chosen {escape(str(negotiated))}, which this server does not speak:"
                " connection closed; leave it out of the SSLContext's set_alpn_protocols"
            )
            transport.close()
            return asyncio.Protocol()
        return make(
            self._http1, prelude, contexts.misdirected if contexts.policies_differ else None
        )

    def _may_speak(self, peer: str) -> bool:
        return self.policy.trusts(peer)

    def _count_refusal(self, code: str, detail: str) -> None:
        # A peer that may not speak at all counts as an invalid prelude: the codes are permanent.
        self.policy.count_findings([make_finding(code if code in CODES else INVALID, detail)])
