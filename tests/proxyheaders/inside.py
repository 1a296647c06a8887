"""What tests look at inside of trust policies, where nothing public says it."""

from __future__ import annotations

from typing import Any

from edgeserver.proxyheaders import TrustPolicy

__all__ = [
    "decisions",
    "has_fast_path",
    "is_listed",
    "known_entries",
    "known_shapes",
    "known_spellings",
    "known_tails",
    "own_decisions",
    "peers",
    "stripped_shapes",
]


def stripped_shapes(strip: Any) -> list[tuple[bytes, ...]]:
    """Return the sets of names for which a `StripSet` remembers what is hidden."""
    return list(strip._shapes)


def decisions(trust: TrustPolicy) -> int:
    """How many decisions a policy remembers for plain HTTP."""
    return len(trust._caches["http"])


def own_decisions(bound: Any) -> int:
    """How many decisions a connection of a trusted peer remembers."""
    return len(bound._own)


def known_entries(trust: TrustPolicy) -> list[bytes]:
    """Return the single entries that a policy remembers."""
    return list(trust._memo)


def peers(trust: TrustPolicy) -> int:
    """How many peers a policy remembers."""
    return len(trust._bounds)


def known_spellings(trust: TrustPolicy) -> tuple[int, int]:
    """Return how many names a policy remembers: those that it reads, and others."""
    return len(trust._spellings), len(trust._spellings.ignored)


def known_shapes(trust: TrustPolicy) -> list[tuple[bytes, ...]]:
    """Return the lists of names whose places a policy remembers."""
    return list(trust._shapes)


def has_fast_path(trust: TrustPolicy) -> bool:
    """Whether the usual chain is decided without a full walk."""
    return trust._short is not None


def known_tails(trust: TrustPolicy) -> set[bytes]:
    """Return the ends of chains that are known to be proxies alone."""
    assert trust._short is not None
    return set(trust._short._tails)


def is_listed(trust: TrustPolicy, address: Any) -> bool:
    """Whether an entry of the policy's table matches a parsed address."""
    return trust._table.find(address) is not None
