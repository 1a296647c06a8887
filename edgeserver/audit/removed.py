"""Removed ranges that proxies still come from, by what a log shows.

Decides which addresses of a log are proxies of ranges that a new list no longer has. It must not
know where heads and lists come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgeserver.audit.aggregate import Head
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.addresses import parse_peer
from edgeserver.proxyheaders.networks import NetworkTable, Rule, parse_network

__all__ = ["Still", "still_seen"]

_MAX_ADDRESSES = 10_000


class Still(NamedTuple):
    """A proxy that a log shows, in a range that is to go.

    Args:
        address: The proxy.
        range: The range.
        requests: How many requests came over it.
        last: When the last of them did, in seconds since the epoch; None where the log has no time.
    """

    address: str
    range: str
    requests: int
    last: float | None


def still_seen(
    heads: Iterable[Head],
    *,
    old: Iterable[str],
    new: Iterable[str],
    others: Iterable[str],
    since_s: float,
) -> list[Still]:
    """Return the proxies of the old ranges, and of no new one, that a log shows, by address.

    Args:
        heads: The heads of the log.
        old: The ranges that are in force.
        new: Those that are to be.
        others: Further proxies that are trusted, such as one's own in front.
        since_s: From when on they count; heads without a time always do.
    """
    before, after = [*old], _table(new)
    policy, gone = TrustPolicy([*others, *before]), _table(before)
    found: dict[str, Still] = {}
    for head in heads:
        if head.last is not None and head.last < since_s:
            continue
        try:
            proof = policy.explain(
                peer=head.peer, headers=list(head.fields), scheme=head.scheme or "http"
            )
        except ValueError:
            continue
        for text in {hop.address for hop in proof.hops if hop.verdict == "trusted"}:
            if text is None or text.startswith("unix:"):
                continue
            address = parse_peer(text)
            rule = gone.find(address)
            if rule is None or after.find(address) is not None:
                continue
            known = found.get(text)
            if known is None:
                if len(found) < _MAX_ADDRESSES:
                    found[text] = Still(text, rule.text, head.requests, head.last)
                continue
            last = max((each for each in (known.last, head.last) if each is not None), default=None)
            found[text] = known._replace(requests=known.requests + head.requests, last=last)
    return [found[text] for text in sorted(found)]


def _table(ranges: Iterable[str]) -> NetworkTable:
    return NetworkTable((parse_network(text), Rule(text)) for text in ranges)
