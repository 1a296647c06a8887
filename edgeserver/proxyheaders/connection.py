"""A policy on one connection: what is decided once, and what is remembered for its requests.

Decides nothing about trust; it joins what the connection says (peer, prelude, scheme) with what the
walk says. It must not know sockets or HTTP.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from edgeserver.proxyheaders.cache import DecisionCache
from edgeserver.proxyheaders.explanation.explain import explain_request
from edgeserver.proxyheaders.fast_path import FieldValues
from edgeserver.proxyheaders.peer import Endpoint
from edgeserver.proxyheaders.results import Provenance, Resolved
from edgeserver.proxyheaders.stripping import StripSet
from edgeserver.proxyheaders.walk import Outcome, Trace

if TYPE_CHECKING:
    from edgeserver.proxyheaders.policy import TrustPolicy

__all__ = [
    "MAX_KEY_BYTES",
    "Bound",
    "CachedBound",
    "FieldValues",
    "FixedBound",
    "RawPairs",
]

RawPairs = Collection[tuple[bytes, bytes]]

MAX_KEY_BYTES = 256
"""A longer value is never a key: to decide costs less than the memory, and a stranger chose it."""

_MAX_OWN = 8

_NO_KEY: FieldValues = ()


class Bound:
    """A policy on one connection; made by `TrustPolicy.bind`.

    Args:
        policy: The policy.
        endpoint: The connection.
        strip: The names that the application does not get to see; None if it sees all.
    """

    __slots__ = ("_reasons", "direct", "endpoint", "policy", "strip")

    def __init__(
        self, policy: TrustPolicy, endpoint: Endpoint, strip: StripSet | None = None
    ) -> None:
        self.policy = policy
        self.endpoint = endpoint
        self.strip = strip
        self._reasons = policy._reasons
        # Where answers are kept under (source, scheme) alone, and nothing else counts; or None.
        self.direct: DecisionCache[FieldValues, Resolved] | None = None

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return who the client of one request is; never raises, never changes its arguments.

        Args:
            raw: The head's `(lower-case name, value)` pairs, in order.
            fields: The same as a dict, if no name repeats; else None.
        """
        raise NotImplementedError  # one of the kinds, in `boundkinds`

    def count(self, resolved: Resolved) -> None:
        """Count one more request with fields of which `resolve` said `resolved`."""
        self._reasons[resolved.reason] += 1

    def explain(self, raw: RawPairs) -> Provenance:
        """Return the whole proof of what `resolve` answers for the same pairs.

        Args:
            raw: The pairs captured when the request was resolved.
        """
        provenance = explain_request(self, raw)
        self.policy.count_findings(provenance.findings)
        return provenance

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Decide without any memory, and keep every step in `trace`."""
        raise NotImplementedError  # one of the kinds, in `boundkinds`


class FixedBound(Bound):
    """Where no header counts: the answer is the same for every request of the connection."""

    __slots__ = ("_fixed",)

    def __init__(
        self,
        policy: TrustPolicy,
        endpoint: Endpoint,
        outcome: Outcome,
        strip: StripSet | None = None,
    ) -> None:
        super().__init__(policy, endpoint, strip)
        self._fixed = endpoint.resolved(outcome, None)

    def resolve(self, raw: RawPairs, fields: dict[bytes, bytes] | None) -> Resolved:
        """Return the one answer of this connection."""
        fixed = self._fixed
        self._reasons[fixed.reason] += 1
        return fixed

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Return the one answer of this connection."""
        return self._fixed


class CachedBound(Bound):
    """Where headers count: remembers what the same values meant."""

    __slots__ = ("_cache", "_own", "_short")

    def __init__(
        self, policy: TrustPolicy, endpoint: Endpoint, strip: StripSet | None = None
    ) -> None:
        super().__init__(policy, endpoint, strip)
        # What was said over a connection with a prelude carries it, so it stays with it.
        self._cache = (
            policy._caches[endpoint.scheme] if endpoint.prelude is None else DecisionCache(_MAX_OWN)
        )
        self._own: dict[FieldValues, Resolved] = {}
        self._short = policy._short

    def decide(self, raw: RawPairs, trace: Trace | None = None) -> Resolved:
        """Decide without any memory, and keep every step in `trace`."""
        return self._decide(raw, trace)

    def _decide(
        self, raw: RawPairs, trace: Trace | None = None, values: FieldValues | None = None
    ) -> Resolved:
        """Decide from the headers alone; this is what may be remembered.

        Args:
            raw: The head's pairs.
            trace: Keeps every step, if given.
            values: What the head's relevant fields hold, if each is one value and at hand.
        """
        raise NotImplementedError  # one of the kinds, in `boundkinds`

    def _look(self, key: FieldValues, raw: RawPairs) -> Resolved:
        """Decide what the cache does not have at hand, and remember it.

        Args:
            key: The values of the fields, none of them too long to be kept.
            raw: The head's pairs.
        """
        cache = self._cache
        resolved = None
        if cache.old:
            resolved = cache.recall(key)
        if resolved is None and self._own:
            resolved = self._own.get(key)
        if resolved is None:
            resolved = self._decide(raw, None, key)
            if resolved.reason in _SHARED_REASONS:
                cache.admit(key, resolved, hash(key))
            else:  # the peer's own address must not be remembered for another peer
                if len(self._own) >= _MAX_OWN:
                    self._own.clear()
                self._own[key] = resolved
        self._reasons[resolved.reason] += 1
        return resolved

    def _look_long(self, raw: RawPairs, line: bytes | None, claimed: bytes | None) -> Resolved:
        """Decide what is too long to be remembered.

        Args:
            raw: The head's pairs.
            line: The source's value, if nothing else can name the client.
            claimed: The value that names the scheme, or None.
        """
        resolved = None
        if line is not None and self._short is not None:
            resolved = self._short.resolve(_NO_KEY, line, claimed, self.endpoint, None)
        if resolved is None:
            resolved = self._decide(raw)
        self._reasons[resolved.reason] += 1
        return resolved


_SHARED_REASONS = frozenset({"first-untrusted", "all-hops-trusted", "max-hops", "x-real-ip"})
"""The reasons with which a header entry is the client, whoever the peer is."""
