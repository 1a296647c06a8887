"""What tests look at inside of trust policies, where nothing public says it."""

from __future__ import annotations

from typing import Any

from edgeserver.proxyheaders import TrustPolicy

__all__ = [
    "decisions",
    "has_fast_path",
    "is_listed",
    "known_entries",
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
    return len(trust._rules.caches["http"])


def own_decisions(bound: Any) -> int:
    """How many decisions a connection of a listed peer remembers for itself."""
    memory = bound.resolver._memory
    return 0 if memory is None else len(memory._own or ())


def known_entries(trust: TrustPolicy) -> list[bytes]:
    """Return the single entries that a policy remembers."""
    return list(trust._rules.memo)


def peers(trust: TrustPolicy) -> int:
    """How many peers a policy remembers."""
    return len(trust._connections)


def has_fast_path(trust: TrustPolicy) -> bool:
    """Whether the usual chain is decided without a full walk."""
    return trust._rules.fast is not None


def known_tails(trust: TrustPolicy) -> set[bytes]:
    """Return the ends of chains that are known to be proxies alone."""
    assert trust._rules.fast is not None
    return set(trust._rules.fast._tails)


def is_listed(trust: TrustPolicy, address: Any) -> bool:
    """Whether an entry of the policy's table matches a parsed address."""
    return trust._rules.table.find(address) is not None
