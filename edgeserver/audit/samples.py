"""Samples of requests in a worker: over which proxies they came, and what was odd about them.

Decides which of a second's requests are looked at, and that what is kept of them is bounded and
holds nothing that a stranger wrote: addresses are those of peers and of listed proxies, in their
canonical form, all else is out of closed lists. It must not know who shows it.

Nothing is paid for between two windows: the server is told to send requests here while one is open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from edgeserver.proxyheaders.explanation.render import Hop, Provenance
from edgeserver.support.addresses import UNIX
from edgeserver.support.loggers import gen_log

__all__ = ["MOST_SAMPLES", "ChainSamples", "PeerCounts", "SampledPeer"]

MOST_SAMPLES: Final = 16
"""How many requests of one window are looked at; they stand for the others."""

MOST_CHAIN: Final = 80
"""How long the text of a chain is at most; the outer proxies of a longer one are left out."""

MOST_PEERS: Final = 128
"""How many peers are counted; where there are more, the half that came least is forgotten."""

_Pairs = Collection[tuple[bytes, bytes]]


class SampledPeer:
    """What is known of one peer.

    Attributes:
        listed: Whether it is a listed proxy.
        claims: Whether it has sent forwarding fields without being believed.
        requests: How many requests it has sent, about.
    """

    __slots__ = ("claims", "listed", "requests")

    def __init__(self, *, listed: bool) -> None:
        self.listed = listed
        self.claims = False
        self.requests = 0.0


class PeerCounts:
    """The peers that came most; never more than `MOST_PEERS`, whoever connects.

    Attributes:
        peers: The peers, by their address.
    """

    def __init__(self) -> None:
        self.peers: dict[str, SampledPeer] = {}

    def add(self, address: str, requests: float, *, listed: bool, claims: bool) -> None:
        """Count requests of a peer."""
        peer = self.peers.get(address)
        if peer is None:
            if len(self.peers) >= MOST_PEERS:
                self.peers = dict(self.most(MOST_PEERS // 2))
            peer = self.peers[address] = SampledPeer(listed=listed)
        peer.listed = listed
        peer.claims = peer.claims or claims
        peer.requests += requests

    def most(self, count: int) -> list[tuple[str, SampledPeer]]:
        """Return the peers that came most, those first."""
        ranked = sorted(self.peers.items(), key=lambda each: -each[1].requests)
        return ranked[:count]


class ChainSamples:
    """Looks at the first requests of each window; an audit log to the server that sends them.

    Args:
        on_full: Called when no more of this window are wanted.
        behind: The audit log that hears of each request, too.
    """

    def __init__(self, on_full: Callable[[], None], behind: Any = None) -> None:
        self._on_full = on_full
        self._behind = behind
        self._seen: list[tuple[str, bool, Provenance]] = []
        self.peers = PeerCounts()

    def record(
        self,
        explain: Callable[[], Any],
        method: str,
        target: str,
        now: float,
        *,
        pairs: _Pairs,
        bound: Any,
        policy: Any,
        request_id: str | None,
    ) -> None:
        """Look at one request, after the audit log has taken it; never raises."""
        if self._behind is not None:
            self._behind.record(
                explain, method, target, now, pairs=pairs, bound=bound, policy=policy,
                request_id=request_id,
            )  # fmt: skip
        if len(self._seen) < MOST_SAMPLES:
            try:
                proof = bound.prove(pairs)
            except Exception:
                gen_log.error("Uncaught exception in a sample of the chain", exc_info=True)
                return
            peer = bound.peer
            name = UNIX if peer.text.startswith(UNIX) else peer.address.text
            self._seen.append((name, peer.rule is not None, proof))
            if len(self._seen) >= MOST_SAMPLES:
                self._on_full()

    def take(self, requests: float) -> dict[tuple[str, str], float]:
        """Return what the requests of the last window were, and begin another one.

        Args:
            requests: How many there were; those that were looked at stand for all.

        Returns:
            How many of each there were, about, by a family (`audit_chains`, `audit_reasons`,
            `audit_shapes`, `audit_findings`) and what it is.
        """
        seen, self._seen = self._seen, []
        is_full = len(seen) >= MOST_SAMPLES
        weight = max(1.0, requests / len(seen)) if is_full else 1.0
        counts: dict[tuple[str, str], float] = {}

        def count(family: str, label: str) -> None:
            counts[family, label] = counts.get((family, label), 0.0) + weight

        for address, listed, proof in seen:
            codes = {each.code for each in proof.findings}
            chain = _listed_hops(proof.hops)
            resolved = proof.resolved
            count("audit_chains", _chain_text(chain))
            count("audit_reasons", resolved.reason)
            count("audit_shapes", _shape(len(chain), resolved.protocol, verified=resolved.verified))
            for code in codes:
                count("audit_findings", code)
            self.peers.add(address, weight, listed=listed, claims="untrusted-peer-claims" in codes)
        return counts


def _listed_hops(hops: tuple[Hop, ...]) -> list[str]:
    """Return the listed proxies of a chain, the outermost first."""
    found = []
    for hop in hops:
        # a listed peer that claims nothing is the client itself, and was passed all the same
        if hop.rule is None or not (hop.verdict == "trusted" or hop.field == "TCP"):
            break
        is_unix = hop.field == "TCP" and hop.claimed.startswith(UNIX.encode())
        found.append(UNIX if is_unix else hop.address or "?")
    return found[::-1]


def _chain_text(chain: list[str]) -> str:
    """Return a chain as the label of a counter."""
    text = " ".join(chain)
    while len(text) > MOST_CHAIN:
        text = " ".join(("...", *text.removeprefix("... ").split(" ")[1:]))
    return text


def _shape(proxies: int, scheme: str, *, verified: bool) -> str:
    noun = f"{proxies} listed prox{'y' if proxies == 1 else 'ies'}"
    if proxies > 4:
        noun = "more than 4 listed proxies"
    return f"{noun}, {scheme}, {'verified' if verified else 'not verified'}"
