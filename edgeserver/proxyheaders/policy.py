"""The trust policy: whom to believe, and about what.

Decides whether a configuration makes sense, once, and binds its rules to connections. It must not
know how a request is decided; nothing here runs per request but a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, Literal

from edgeserver.proxyheaders.addresses import parse_peer
from edgeserver.proxyheaders.connection import ConnectionPolicy
from edgeserver.proxyheaders.explanation.codes import make_finding
from edgeserver.proxyheaders.explanation.render import Provenance
from edgeserver.proxyheaders.networks import NetworkTable, parse_network
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import Finding, Resolved
from edgeserver.proxyheaders.rules import ClaimsCallback, Rules
from edgeserver.proxyheaders.settings import (
    Entries,
    Entry,
    check_choice,
    check_max_hops,
    check_proto,
    check_source,
    read_entries,
)
from edgeserver.support.addresses import UNIX

__all__ = ["TrustPolicy"]

_MAX_CONNECTIONS = 256


class TrustPolicy:
    """Whom to believe about who the client is; immutable but for its counters and caches.

    Args:
        proxies: Whom to trust: addresses, CIDR ranges, `"unix:"`, presets (`"loopback"`,
            `"private"`) and `TrustedProxy` entries.
        source: The one field that names the client: `"x-forwarded-for"`, `"forwarded"`, or any
            field that holds one address.
        proto: The one field that names the scheme, or None to read none; with source
            `"forwarded"` it is the element's own `proto`.
        max_hops: How many entries of the source are examined at most.
        unlisted: `"strip"` hides forwarding headers from an unlisted peer from the application;
            `"keep"` leaves them.
        undeclared: `"strip"` hides those of a listed peer that are neither the source nor the
            scheme header that counts nor declared by its `sets`; `"keep"` leaves them.
        allow_all: Accept a range that holds every address.

    Raises:
        TrustConfigurationError: A setting is wrong; the message names it and the fix.
        TypeError: A setting has the wrong type, such as a `str` in place of a list.
    """

    def __init__(
        self,
        proxies: Iterable[Entry],
        *,
        source: str = "x-forwarded-for",
        proto: str | None = "x-forwarded-proto",
        max_hops: int = 20,
        unlisted: Literal["strip", "keep"] = "strip",
        undeclared: Literal["strip", "keep"] = "strip",
        allow_all: bool = False,
    ) -> None:
        source_name = check_source(source)
        proto_name = check_proto(proto, source_name)
        self._setup(
            mode="policy",
            proxies=read_entries(
                proxies,
                allow_all=allow_all,
                setting="proxies",
                configured=frozenset(
                    name.encode("ascii") for name in (source_name, proto_name) if name
                ),
            ),
            source=source_name,
            proto=proto_name,
            max_hops=check_max_hops(max_hops),
            unlisted=check_choice(unlisted, "unlisted", ("strip", "keep")),
            undeclared=check_choice(undeclared, "undeclared", ("strip", "keep")),
            allow_all=allow_all,
        )

    @classmethod
    def tornado(cls, trusted_downstream: Iterable[str] | None = None) -> TrustPolicy:
        """Return Tornado's rules: what `HTTPServer(..., xheaders=True)` means.

        Args:
            trusted_downstream: Addresses or ranges to skip in `X-Forwarded-For`, from the right.

        Raises:
            TrustConfigurationError: An entry is wrong; the message names it and the fix.
            TypeError: A `str` in place of a list.
        """
        self = cls.__new__(cls)
        self._setup(
            mode="tornado",
            proxies=read_entries(
                trusted_downstream or (), allow_all=False, setting="trusted_downstream"
            ),
            source="x-forwarded-for",
            proto="x-forwarded-proto",
            max_hops=0,
            unlisted="keep",
            undeclared="keep",
            allow_all=True,
        )
        return self

    @classmethod
    def off(cls) -> TrustPolicy:
        """Return the policy that reads no header: the peer is the client, and nothing is hidden."""
        self = cls.__new__(cls)
        self._setup(
            mode="off",
            proxies=read_entries((), allow_all=False, setting="proxies"),
            source="x-forwarded-for",
            proto=None,
            max_hops=0,
            unlisted="keep",
            undeclared="keep",
            allow_all=False,
        )
        return self

    def _setup(
        self,
        *,
        mode: str,
        proxies: Entries,
        source: str,
        proto: str | None,
        max_hops: int,
        unlisted: str,
        undeclared: str,
        allow_all: bool,
    ) -> None:
        """Set every attribute; the settings are valid."""
        self.mode = mode
        self.proxies: tuple[str, ...] = proxies.texts
        self.sets: tuple[tuple[str, ...], ...] = proxies.sets
        self.source = source
        self.proto = proto
        self.max_hops = max_hops
        self.unlisted = unlisted
        self.undeclared = undeclared
        self.allow_all = allow_all
        rules = self._rules = Rules(
            mode=mode,
            table=NetworkTable(proxies.networks, proxies.unix),
            source=source,
            proto=proto,
            max_hops=max_hops,
            unlisted=unlisted,
            undeclared=undeclared,
            declared=proxies.declared,
            trusts_all=mode == "tornado" or proxies.trusts_all,
        )
        warnings = list(proxies.warnings)
        if rules.trusts_all:
            warnings.insert(0, make_finding("any-peer-trusted", _ANY_PEER[mode]))
        proto_raw = rules.proto_raw
        if rules.proto_is_declared and proto_raw is not None and proto_raw not in proxies.declared:
            warnings.append(make_finding("proto-undeclared", f"no proxy has {proto} in its sets"))
        self.warnings: tuple[Finding, ...] = tuple(warnings)
        # Connections that `resolve` was asked about, by peer, port and scheme; bounded.
        self._connections: dict[tuple[str, int | None, str], ConnectionPolicy] = {}

    # -- the two questions ---------------------------------------------------------------------

    def resolve(
        self,
        *,
        peer: str,
        headers: Sequence[tuple[bytes, bytes]],
        scheme: str = "http",
        peer_port: int | None = None,
        prelude: Any = None,
    ) -> Resolved:
        """Return who the client is; never raises for anything in `headers`.

        Args:
            peer: The address text of the TCP peer, with zone if any, or `"unix:"`.
            headers: `(name, value)` pairs in the order received, names in any case.
            scheme: The scheme of the connection itself.
            peer_port: The peer's port.
            prelude: The connection's PROXY prelude, if there was one.

        Raises:
            ValueError: `peer` or `scheme` is wrong, or a prelude meets Tornado's rules.
        """
        place = (peer, peer_port, scheme)
        bound = self._connections.get(place) if prelude is None else None
        if bound is None:
            bound = self.bind(peer=peer, peer_port=peer_port, scheme=scheme, prelude=prelude)
            if prelude is None:
                if len(self._connections) >= _MAX_CONNECTIONS:
                    self._connections.clear()
                self._connections[place] = bound
        fields = {name.lower(): value for name, value in headers}
        if len(fields) == len(headers):
            return bound.resolve(fields.items(), fields)
        return bound.resolve([(name.lower(), value) for name, value in headers], None)

    def explain(
        self,
        *,
        peer: str,
        headers: Sequence[tuple[bytes, bytes]],
        scheme: str = "http",
        peer_port: int | None = None,
        prelude: Any = None,
    ) -> Provenance:
        """Return the whole proof of what `resolve` answers for the same arguments."""
        bound = self.bind(peer=peer, peer_port=peer_port, scheme=scheme, prelude=prelude)
        return bound.explain([(name.lower(), value) for name, value in headers])

    def bind(
        self,
        *,
        peer: str,
        peer_port: int | None = None,
        scheme: str | None = "http",
        prelude: Any = None,
    ) -> ConnectionPolicy:
        """Return this policy bound to one connection, for the requests that come over it.

        Raises:
            ValueError: `peer` or `scheme` is wrong, or a prelude meets Tornado's rules.
        """
        if scheme is None:
            scheme = "http"
        elif scheme not in ("http", "https"):
            raise ValueError(f"scheme={scheme!r}: give 'http', 'https' or None")
        end = Peer(parse_peer(peer), peer, peer_port, scheme, prelude)
        if self.mode == "policy":
            end.judge(self._rules.table)
        elif prelude is not None:
            raise ValueError(
                "a PROXY prelude needs a trust policy: pass trust=TrustPolicy([...]) with the "
                "addresses that may speak it, in place of xheaders"
            )
        return ConnectionPolicy(self._rules, end)

    def trusts(self, peer: str) -> bool:
        """Return whether a peer is a listed proxy, and may so speak the PROXY protocol."""
        return self.mode == "policy" and self._rules.table.find(parse_peer(peer)) is not None

    def trusts_any(self, ranges: Iterable[str]) -> bool:
        """Return whether any peer out of some ranges, or `"unix:"`, is a listed proxy."""
        table = self._rules.table
        return self.mode == "policy" and any(
            table.unix is not None if text == UNIX else table.overlaps(parse_network(text))
            for text in ranges
        )

    def watch_claims(self, on_claims: ClaimsCallback) -> None:
        """Have `on_claims` called where whoever is not believed claims something.

        It is called for the first request of a connection alone, so that requests without claims
        cost nothing, and not under Tornado's rules, which believe everybody.

        Args:
            on_claims: Called with the name of whoever sent the head, its address or `unix:`, and
                the lower-case names of the forwarding headers in it.
        """
        self._rules.on_claims = on_claims

    # -- what has happened so far ----------------------------------------------------------------

    @property
    def reason_counts(self) -> MappingProxyType[str, int]:
        """How many requests were decided for each reason; a live view."""
        return MappingProxyType(self._rules.tally.reasons)

    @property
    def finding_counts(self) -> MappingProxyType[str, int]:
        """How many findings of each code were explained; a live view."""
        return MappingProxyType(self._rules.tally.findings)

    def count_findings(self, findings: Iterable[Finding]) -> None:
        """Count findings, those of an explanation or of a refused prelude; from any thread."""
        self._rules.tally.count_findings(findings)

    def __repr__(self) -> str:
        if self.mode != "policy":
            return f"<TrustPolicy {self.mode}>"
        return f"<TrustPolicy source={self.source} proxies={', '.join(self.proxies) or 'none'}>"


_ANY_PEER = {
    "tornado": "Tornado's rules believe the headers of whoever can connect",
    "policy": "the policy trusts every address, so whoever can connect names the client",
}
