"""A trust policy bound to one connection: who its clients are, and the proof of it.

Decides what is said once for a connection and not with each of its requests. It must not know
sockets or HTTP, nor how a client is found: that is the resolver's.
"""

from __future__ import annotations

from edgeserver.proxyheaders.explanation.codes import STANDING
from edgeserver.proxyheaders.explanation.explain import explain_request
from edgeserver.proxyheaders.explanation.render import Provenance
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.resolvers import RawPairs, Resolver, make_resolver, strip_of
from edgeserver.proxyheaders.results import Resolved
from edgeserver.proxyheaders.rules import Rules
from edgeserver.proxyheaders.stripping import StripSet
from edgeserver.proxyheaders.walk import Trace
from edgeserver.support.addresses import client_name

__all__ = ["ConnectionPolicy"]

_NOTHING: frozenset[str] = frozenset()


class ConnectionPolicy:
    """A policy bound to one connection; made by `TrustPolicy.bind`.

    Args:
        rules: The policy.
        peer: The other end, judged where the policy judges peers.

    Attributes:
        resolver: What finds the client of each request; it stays the same.
        strip: The names that the application does not get to see; None if it sees all.
    """

    __slots__ = ("_peer", "_rules", "_told", "resolver", "strip")

    def __init__(self, rules: Rules, peer: Peer) -> None:
        self._rules = rules
        self._peer = peer
        # Codes of findings about the proxy's setup that a log has been told.
        self._told = _NOTHING
        self.resolver: Resolver = make_resolver(rules, peer)
        self.strip: StripSet | None = None if rules.mode != "policy" else strip_of(rules, peer)

    @property
    def peer(self) -> Peer:
        """What the connection itself says of its other end."""
        return self._peer

    def vouches(self) -> bool:
        """Return whether whoever wrote the heads on this connection is a listed proxy."""
        return self._peer.author is not None

    def has_findings(self, raw: RawPairs) -> bool:
        """Return whether a request is odd in itself, and not by how its proxy is set up.

        Nothing counts it, unlike `explain` and `report`.

        Args:
            raw: The pairs captured when the request was resolved.
        """
        return any(each.code not in STANDING for each in self.prove(raw).findings)

    def begin(self, fields: dict[bytes, bytes]) -> None:
        """Called with the fields of a connection's first request: what they claim is told."""
        rules, peer = self._rules, self._peer
        if rules.mode == "tornado" or peer.author is not None or rules.on_claims is None:
            return
        claimed = rules.claims.among(fields)
        # Behind a prelude that names nobody there is nobody whom to list.
        if claimed and (peer.prelude is None or peer.source):
            rules.on_claims(client_name((peer.source or peer.address).text), claimed)

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return who the client of one request is; never raises, never changes its arguments.

        Args:
            raw: The head's `(lower-case name, value)` pairs, in order.
            fields: The same as a dict, if no name repeats; else None.
        """
        if fields is None:
            return self.resolver.resolve(raw, {})
        return self.resolver.resolve(None, fields)

    def count(self, resolved: Resolved) -> None:
        """Count one more request with fields of which `resolve` said `resolved`."""
        self._rules.tally.reasons[resolved.reason] += 1

    def explain(self, raw: RawPairs) -> Provenance:
        """Return the whole proof of what `resolve` answers for the same pairs.

        Args:
            raw: The pairs captured when the request was resolved.
        """
        proof = self.prove(raw)
        self._rules.tally.count_findings(proof.findings)
        return proof

    def report(self, raw: RawPairs) -> Provenance:
        """Return the proof for a log, where a finding about the proxy's setup stands once.

        Args:
            raw: The pairs captured when the request was resolved.
        """
        proof = self.prove(raw)
        told = self._told
        findings = tuple([each for each in proof.findings if each.code not in told])
        self._told = told.union([each.code for each in findings if each.code in STANDING])
        self._rules.tally.count_findings(findings)
        if len(findings) == len(proof.findings):
            return proof
        return Provenance(proof.resolved, proof.hops, findings, proof.unseen)

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Decide without any memory, and keep every step in `trace`."""
        return self.resolver.decide(raw, trace)

    def prove(self, raw: RawPairs) -> Provenance:
        """Return the whole proof, which nothing counts.

        Args:
            raw: The pairs captured when the request was resolved.
        """
        trace = Trace(self._rules.source_raw)
        resolved = self.resolver.decide(raw, trace)
        return explain_request(self._rules, self._peer, raw, trace, resolved)
