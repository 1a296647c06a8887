"""The kinds of policy on one connection: which fields each reads, and what they mean together.

Decides what is handed to the walk, and under which key its answer is kept. It must not know sockets
or HTTP, nor how an address is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeserver.proxyheaders.connection import (
    MAX_KEY_BYTES,
    Bound,
    CachedBound,
    FieldValues,
    FixedBound,
    RawPairs,
)
from edgeserver.proxyheaders.declared import read_declared
from edgeserver.proxyheaders.peer import Endpoint
from edgeserver.proxyheaders.results import Resolved
from edgeserver.proxyheaders.tornado_rules import Claims, decide_contract, read_claims
from edgeserver.proxyheaders.walk import (
    FORWARDED,
    PLAIN,
    Outcome,
    Trace,
    new_tuple,
    read_scheme,
    walk,
    walk_single,
)

if TYPE_CHECKING:
    from edgeserver.proxyheaders.networks import Rule
    from edgeserver.proxyheaders.policy import TrustPolicy
    from edgeserver.proxyheaders.stripping import StripSet

__all__ = ["ContractBound", "DeclaringBound", "PolicyBound", "make_bound"]

_LISTS = {b"x-forwarded-for": PLAIN, b"forwarded": FORWARDED}
"""The sources that hold a list; every other holds one address."""


class PolicyBound(CachedBound):
    """A trust policy, on a connection whose other end is trusted."""

    __slots__ = ("_proto", "_source")

    def __init__(
        self, policy: TrustPolicy, endpoint: Endpoint, strip: StripSet | None = None
    ) -> None:
        super().__init__(policy, endpoint, strip)
        self.direct = self._cache
        self._source = policy._source_raw
        self._proto = policy._proto_raw

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return who the client of one request is."""
        if fields is None:
            lines, claimed = self._read(raw)
            if len(lines) > 1 and _LISTS.get(self._source) is not PLAIN:
                return self._look_long(raw, None, None)
            source = b",".join(lines) if lines else None
        else:
            source = fields.get(self._source)
            claimed = fields.get(self._proto)  # type: ignore[arg-type]  # None: no field is the key
        if (source is not None and len(source) > MAX_KEY_BYTES) or (
            claimed is not None and len(claimed) > MAX_KEY_BYTES
        ):
            return self._look_long(raw, source, claimed)
        key = (source, claimed)
        cache = self._cache
        resolved = cache.main.get(key)
        if resolved is None:
            if source is not None and self._short is not None:
                resolved = self._short.resolve(key, source, claimed, self.endpoint, cache)
            if resolved is None:
                return self._look(key, raw)
        self._reasons[resolved.reason] += 1
        return resolved

    def _read(self, raw: RawPairs) -> tuple[list[bytes], bytes | None]:
        """Return the lines of the source, and the last of the scheme's field."""
        source, proto = self._source, self._proto
        lines: list[bytes] = []
        claimed = None
        for name, value in raw:
            if name == source:
                lines.append(value)
            elif name == proto:
                claimed = value
        return lines, claimed

    def _decide(
        self, raw: RawPairs, trace: Trace | None = None, values: FieldValues | None = None
    ) -> Resolved:
        """Walk the configured source, and read the scheme."""
        policy = self.policy
        lines: Sequence[bytes]
        if values is None:
            lines, claimed = self._read(raw)
        else:
            source, claimed = values
            lines = () if source is None else (source,)
        scheme = None if claimed is None else read_scheme(claimed)
        if not lines:
            return self.endpoint.resolved(self._unclaimed(), scheme)
        family = _LISTS.get(self._source)
        if family is not None:
            outcome = walk(
                family,
                lines,
                policy._table,
                max_hops=policy.max_hops,
                trace=trace,
                memo=policy._memo,
            )
            if outcome.scheme is not None and policy.proto is not None:
                scheme = read_scheme(outcome.scheme)
        else:
            outcome = walk_single(lines, policy._table, trace=trace)
        return self.endpoint.resolved(outcome, scheme)

    def _unclaimed(self) -> Outcome:
        """Return the outcome where the configured source is absent."""
        source = self.endpoint.source
        if source is not None:
            return Outcome("all-hops-trusted", source)
        return Outcome("trusted-peer-as-client", None)


class DeclaringBound(PolicyBound):
    """The same, where the author of the head declares headers that it sets."""

    __slots__ = ("_declares",)

    def __init__(
        self, policy: TrustPolicy, endpoint: Endpoint, strip: StripSet, author: Rule
    ) -> None:
        super().__init__(policy, endpoint, strip)
        self.direct = None  # what is declared counts, too
        self._declares = author.sets

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return who the client of one request is, and what else the proxy says."""
        return self._with_declared(super().resolve(raw, fields), raw)

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Walk, and read the declared headers."""
        return self._with_declared(self._decide(raw, trace), raw)

    def _with_declared(self, resolved: Resolved, raw: RawPairs) -> Resolved:
        declares = self._declares
        values: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            if name in declares:
                values.setdefault(name, []).append(value)
        if not values:
            return resolved
        return Resolved(
            resolved.remote_ip,
            resolved.port,
            resolved.zone,
            resolved.protocol,
            resolved.verified,
            resolved.reason,
            resolved.prelude,
            read_declared(values),
        )


class ContractBound(CachedBound):
    """Tornado's contract, which believes any peer."""

    __slots__ = ()

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return who the client of one request is, by Tornado's contract."""
        if fields is None:
            chain, proto, single, x_scheme = read_claims(raw).joined()
        else:
            get = fields.get
            chain = get(b"x-forwarded-for")
            proto = get(b"x-forwarded-proto")
            single = get(b"x-real-ip")
            x_scheme = get(b"x-scheme")
        if chain is not None and len(chain) > MAX_KEY_BYTES:
            return self._look_long(
                raw, chain if single is None else None, proto if x_scheme is None else x_scheme
            )
        key = (chain, proto, single, x_scheme)
        resolved = self._cache.main.get(key)
        if resolved is None:
            # X-Real-Ip replaces the chain; a present but unusable X-Scheme hides X-Forwarded-Proto.
            if single is not None:
                chain = None
            if x_scheme is not None:
                proto = x_scheme
            if (
                (proto is not None and len(proto) > MAX_KEY_BYTES)
                or (single is not None and len(single) > MAX_KEY_BYTES)
                or (x_scheme is not None and key[1] is not None and len(key[1]) > MAX_KEY_BYTES)
            ):
                return self._look_long(raw, chain, proto)
            if chain is not None and self._short is not None:
                resolved = self._short.resolve(key, chain, proto, self.endpoint, self._cache)
            if resolved is None:
                return self._look(key, raw)
        self._reasons[resolved.reason] += 1
        return resolved

    def _decide(
        self, raw: RawPairs, trace: Trace | None = None, values: FieldValues | None = None
    ) -> Resolved:
        """Apply Tornado's rules."""
        if values is None:
            claims = read_claims(raw)
        else:
            chain, proto, single, x_scheme = values
            claims = new_tuple(
                Claims,
                (
                    () if chain is None else (chain,),
                    () if single is None else (single,),
                    x_scheme,
                    proto,
                ),
            )
        policy = self.policy
        # An explanation keeps every step, so it walks without what was remembered.
        memo = policy._memo if trace is None else None
        outcome, scheme = decide_contract(claims, policy._table, memo=memo, trace=trace)
        return self.endpoint.resolved(outcome, scheme)


def make_bound(policy: TrustPolicy, endpoint: Endpoint) -> Bound:
    """Return the bound for one connection: which of the classes above fits."""
    if policy.mode == "off":
        return FixedBound(policy, endpoint, Outcome("proxy-headers-off", None))
    if policy.mode == "tornado":
        return ContractBound(policy, endpoint)
    author = endpoint.author
    if author is None:
        assert endpoint.outcome is not None, "an untrusted author is the client"
        strip = policy._strip_unlisted if policy.unlisted == "strip" else None
        return FixedBound(policy, endpoint, endpoint.outcome, strip)
    strip = policy._strip_for(author)
    if author.sets:
        return DeclaringBound(policy, endpoint, strip, author)
    return PolicyBound(policy, endpoint, strip)
