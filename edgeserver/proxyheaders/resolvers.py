"""The resolvers: which fields each kind of policy reads on a connection, and to what end.

Decides what is handed to the walk, and under which key its answer is kept. It must not know sockets
or HTTP, nor how an address is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.declared import read_declared
from edgeserver.proxyheaders.fast_path import FieldValues
from edgeserver.proxyheaders.networks import Rule
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import Resolved
from edgeserver.proxyheaders.rules import Rules
from edgeserver.proxyheaders.stripping import DECLARABLE, StripSet
from edgeserver.proxyheaders.tornado_rules import Claims, decide_tornado, read_claims
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

__all__ = [
    "DeclaringResolver",
    "FixedResolver",
    "Memory",
    "PolicyResolver",
    "RawPairs",
    "Resolver",
    "TornadoResolver",
    "make_resolver",
    "strip_of",
]

RawPairs = Collection[tuple[bytes, bytes]]
"""The `(lower-case name, value)` pairs of one head, in order."""

MAX_KEY_BYTES: Final = 256
"""A longer value is never a key: to decide costs less than the memory, and a stranger chose it."""

MAX_OWN: Final = 8

_NO_KEY: FieldValues = ()

_LISTS = {b"x-forwarded-for": PLAIN, b"forwarded": FORWARDED}
"""The sources that hold a list; every other holds one address."""

_SHARED_REASONS = frozenset({"first-untrusted", "all-hops-trusted", "max-hops", "x-real-ip"})
"""The reasons with which a header entry is the client, whoever the peer is."""

Decide = Callable[[RawPairs, FieldValues | None], Resolved]
"""Decides from a head's pairs, and from what its relevant fields hold, if each is one value."""


class Resolver(Protocol):
    """What finds the client of each request of one connection."""

    def resolve(self, raw: RawPairs | None, fields: dict[bytes, bytes]) -> Resolved:
        """Return who the client of one request is, and count it.

        Args:
            raw: The head's pairs; None where `fields` are all of them.
            fields: The last value of each name; looked at only where `raw` is None.
        """
        ...

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Decide without any memory, and keep every step in `trace`."""
        ...


class FixedResolver:
    """Where no header counts: the answer is the same for every request of the connection.

    Args:
        rules: The policy.
        fixed: The answer.
    """

    __slots__ = ("_fixed", "_reasons")

    def __init__(self, rules: Rules, fixed: Resolved) -> None:
        self._fixed = fixed
        self._reasons = rules.tally.reasons

    def resolve(self, raw: RawPairs | None, fields: dict[bytes, bytes]) -> Resolved:
        """Return the one answer of this connection."""
        fixed = self._fixed
        self._reasons[fixed.reason] += 1
        return fixed

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Return the one answer of this connection."""
        return self._fixed


class Memory:
    """What is remembered of decisions on one connection, and how what is not is found.

    Made for the first decision that the cache does not have at hand: most connections have none.

    Args:
        rules: The policy.
        peer: The other end.
        cache: The decisions that are at hand.
    """

    __slots__ = ("_cache", "_fast", "_own", "_peer")

    def __init__(
        self, rules: Rules, peer: Peer, cache: DecisionCache[FieldValues, Resolved]
    ) -> None:
        self._peer = peer
        self._fast = rules.fast
        self._cache = cache
        # Answers that are the peer's own address, which must not be another peer's.
        self._own: dict[FieldValues, Resolved] | None = None  # most connections have none

    def look(self, key: FieldValues, raw: RawPairs, decide: Decide) -> Resolved:
        """Decide what the cache does not have at hand, and remember it.

        Args:
            key: The values of the fields, none of them too long to be kept.
            raw: The head's pairs.
            decide: Decides from the headers alone; this is what may be remembered.
        """
        cache = self._cache
        resolved = None
        if cache.old:
            resolved = cache.recall(key)
        own = self._own
        if resolved is None and own is not None:
            resolved = own.get(key)
        if resolved is None:
            resolved = decide(raw, key)
            if resolved.reason in _SHARED_REASONS:
                cache.admit(key, resolved, hash(key))
            else:
                if own is None:
                    own = self._own = {}
                elif len(own) >= MAX_OWN:
                    own.clear()
                own[key] = resolved
        return resolved

    def look_long(
        self, raw: RawPairs, line: bytes | None, claimed: bytes | None, decide: Decide
    ) -> Resolved:
        """Decide what is too long to be remembered.

        Args:
            raw: The head's pairs.
            line: The source's value, if nothing else can name the client.
            claimed: The value that names the scheme, or None.
            decide: Decides from the headers alone.
        """
        resolved = None
        if line is not None and self._fast is not None:
            resolved = self._fast.resolve(_NO_KEY, line, claimed, self._peer, None)
        return decide(raw, None) if resolved is None else resolved


class PolicyResolver:
    """A trust policy, on a connection whose other end is listed.

    Args:
        rules: The policy.
        peer: The other end.
        author: The entry that lists whoever writes the heads.
    """

    __slots__ = (
        "_cache",
        "_fast",
        "_memory",
        "_peer",
        "_proto",
        "_reasons",
        "_rules",
        "_source",
    )

    def __init__(self, rules: Rules, peer: Peer, author: Rule) -> None:
        self._rules = rules
        self._peer = peer
        self._memory: Memory | None = None
        # These three are asked for each request.
        self._cache = cache_of(rules, peer)
        self._fast = rules.fast
        self._reasons = rules.tally.reasons
        self._source = rules.source_raw
        self._proto = rules.proto_of(author)

    def resolve(self, raw: RawPairs | None, fields: dict[bytes, bytes]) -> Resolved:
        """Return who the client of one request is."""
        if raw is not None:
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
            return self._look_long(_pairs(raw, fields), source, claimed)
        key = (source, claimed)
        cache = self._cache
        resolved = cache.main.get(key)
        if resolved is None:
            if source is not None and self._fast is not None:
                resolved = self._fast.resolve(key, source, claimed, self._peer, cache)
            if resolved is None:
                resolved = self._recall().look(key, _pairs(raw, fields), self._decide)
        self._reasons[resolved.reason] += 1
        return resolved

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Walk the configured source, and read the scheme, without any memory of decisions."""
        return self._decide(raw, None, trace)

    def _recall(self) -> Memory:
        memory = self._memory
        if memory is None:
            memory = self._memory = Memory(self._rules, self._peer, self._cache)
        return memory

    def _look_long(self, raw: RawPairs, source: bytes | None, claimed: bytes | None) -> Resolved:
        resolved = self._recall().look_long(raw, source, claimed, self._decide)
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
        self, raw: RawPairs, values: FieldValues | None = None, trace: Trace | None = None
    ) -> Resolved:
        """Walk the configured source, and read the scheme."""
        rules = self._rules
        lines: Sequence[bytes]
        if values is None:
            lines, claimed = self._read(raw)
        else:
            source, claimed = values
            lines = () if source is None else (source,)
        scheme = None if claimed is None else read_scheme(claimed)
        if not lines:
            return self._peer.resolved(self._unclaimed(), scheme)
        family = _LISTS.get(self._source)
        if family is not None:
            outcome = walk(
                family,
                lines,
                rules.table,
                max_hops=rules.max_hops,
                trace=trace,
                memo=rules.memo,
            )
            if outcome.scheme is not None and rules.proto is not None:
                scheme = read_scheme(outcome.scheme)
        else:
            outcome = walk_single(lines, rules.table, trace=trace)
        return self._peer.resolved(outcome, scheme)

    def _unclaimed(self) -> Outcome:
        """Return the outcome where the configured source is absent."""
        source = self._peer.source
        if source is not None:
            return Outcome("all-hops-trusted", source)
        return Outcome("trusted-peer-as-client", None)


class DeclaringResolver:
    """A trust policy, where the author of the head declares headers that it sets.

    Args:
        client: Finds the client.
        declares: The lower-case names that the author sets, and that this server reads.
    """

    __slots__ = ("_client", "_declares")

    def __init__(self, client: PolicyResolver, declares: frozenset[bytes]) -> None:
        self._client = client
        self._declares = declares

    def resolve(self, raw: RawPairs | None, fields: dict[bytes, bytes]) -> Resolved:
        """Return who the client of one request is, and what else the proxy says."""
        return self._with_declared(self._client.resolve(raw, fields), _pairs(raw, fields))

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Walk, and read the declared headers."""
        return self._with_declared(self._client.decide(raw, trace), raw)

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


class TornadoResolver:
    """Tornado's rules, which believe any peer.

    Args:
        rules: The policy.
        peer: The other end.
    """

    __slots__ = ("_cache", "_memory", "_peer", "_reasons", "_rules")

    def __init__(self, rules: Rules, peer: Peer) -> None:
        self._rules = rules
        self._peer = peer
        self._memory: Memory | None = None
        # These two are asked for each request.
        self._cache = cache_of(rules, peer)
        self._reasons = rules.tally.reasons

    def resolve(self, raw: RawPairs | None, fields: dict[bytes, bytes]) -> Resolved:
        """Return who the client of one request is, by Tornado's rules."""
        if raw is not None:
            chain, proto, single, x_scheme = read_claims(raw).joined()
        else:
            chain = fields.get(b"x-forwarded-for")
            proto = fields.get(b"x-forwarded-proto")
            single = fields.get(b"x-real-ip")
            x_scheme = fields.get(b"x-scheme")
        if chain is not None and len(chain) > MAX_KEY_BYTES:
            return self._look_long(
                _pairs(raw, fields),
                chain if single is None else None,
                proto if x_scheme is None else x_scheme,
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
                return self._look_long(_pairs(raw, fields), chain, proto)
            fast = self._rules.fast
            if chain is not None and fast is not None:
                resolved = fast.resolve(key, chain, proto, self._peer, self._cache)
            if resolved is None:
                resolved = self._recall().look(key, _pairs(raw, fields), self._decide)
        self._reasons[resolved.reason] += 1
        return resolved

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Apply Tornado's rules, without any memory of decisions."""
        return self._decide(raw, None, trace)

    def _recall(self) -> Memory:
        memory = self._memory
        if memory is None:
            memory = self._memory = Memory(self._rules, self._peer, self._cache)
        return memory

    def _look_long(self, raw: RawPairs, chain: bytes | None, claimed: bytes | None) -> Resolved:
        resolved = self._recall().look_long(raw, chain, claimed, self._decide)
        self._reasons[resolved.reason] += 1
        return resolved

    def _decide(
        self, raw: RawPairs, values: FieldValues | None = None, trace: Trace | None = None
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
        # An explanation keeps every step, so it walks without what was remembered.
        memo = self._rules.memo if trace is None else None
        outcome, scheme = decide_tornado(claims, self._rules.table, memo=memo, trace=trace)
        return self._peer.resolved(outcome, scheme)


def _pairs(raw: RawPairs | None, fields: dict[bytes, bytes]) -> RawPairs:
    """Return the pairs of a head, of which `fields` are all where there are no others."""
    return fields.items() if raw is None else raw


def cache_of(rules: Rules, peer: Peer) -> DecisionCache[FieldValues, Resolved]:
    """Return the decisions that one connection has at hand.

    What was said over a connection with a prelude carries it, so it stays with it.
    """
    return rules.caches[peer.scheme] if peer.prelude is None else DecisionCache(MAX_OWN)


def make_resolver(rules: Rules, peer: Peer) -> Resolver:
    """Return the resolver for one connection: which of the classes above fits."""
    if rules.mode == "off":
        return FixedResolver(rules, peer.resolved(Outcome("proxy-headers-off", None), None))
    if rules.mode == "tornado":
        return TornadoResolver(rules, peer)
    author = peer.author
    if author is None:
        assert peer.outcome is not None, "an author who is not listed is the client"
        return FixedResolver(rules, peer.resolved(peer.outcome, None))
    client = PolicyResolver(rules, peer, author)
    declares = author.sets & DECLARABLE
    return DeclaringResolver(client, declares) if declares else client


def strip_of(rules: Rules, peer: Peer) -> StripSet | None:
    """Return what a trust policy hides of the heads of one connection; None if nothing."""
    author = peer.author
    return rules.strip_unlisted if author is None else rules.strip_for(author)
