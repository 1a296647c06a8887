"""The explanation of one request: the chain as hops, with the verdict on each.

Decides how a decision is told. It is given the decision and the trace of the walk that took it, so
it cannot disagree with it; what is odd about the head is `oddities.py`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgeserver.proxyheaders.addresses import Address
from edgeserver.proxyheaders.explanation.oddities import find_findings
from edgeserver.proxyheaders.explanation.render import Hop, Provenance
from edgeserver.proxyheaders.forwarded import split_rightmost
from edgeserver.proxyheaders.peer import Peer
from edgeserver.proxyheaders.results import Resolved
from edgeserver.proxyheaders.rules import Rules
from edgeserver.proxyheaders.walk import Trace, WalkStep, find_last_comma
from edgeserver.support.addresses import client_name

__all__ = ["MAX_EXAMINED", "MAX_IGNORED", "explain_request"]

RawPairs = Collection[tuple[bytes, bytes]]

MAX_IGNORED = 32
"""How many entries left of the client are shown; the others are counted."""

MAX_EXAMINED = 64
"""How many examined entries are shown; of more, the nearest ones and the last."""

_WHY = {
    "proxy-headers-off": "no header is read",
    "untrusted-peer": "first untrusted address: not a listed proxy",
    "first-untrusted": "first untrusted address",
    "x-real-ip": "X-Real-Ip decides by Tornado's rules",
    "all-hops-trusted": "leftmost; every hop is a listed proxy",
    "max-hops": "max_hops reached",
    "trusted-peer-as-client": "no claim came with the request",
}


def explain_request(
    rules: Rules, peer: Peer, raw: RawPairs, trace: Trace, resolved: Resolved
) -> Provenance:
    """Return the whole proof of one decision.

    Args:
        rules: The policy.
        peer: The connection's other end.
        raw: The head's `(lower-case name, value)` pairs.
        trace: What the walk looked at.
        resolved: What was decided.
    """
    hops = _connection_hops(rules, peer, resolved, bool(trace.steps))
    left_out = len(trace.steps) - MAX_EXAMINED
    for position, step in enumerate(trace.steps):
        is_last = position == len(trace.steps) - 1
        if position < MAX_EXAMINED - 1 or is_last:
            if is_last and left_out > 0:
                hops.append(_gap_hop(trace, hops[-1], left_out))
            hops.append(_step_hop(trace, step, resolved, hops[-1], is_last=is_last))
    if not resolved.verified and not any(hop.verdict == "client" for hop in hops):
        hops[0] = _as_client(hops[0], "no usable claim: the socket peer, unverified")
    unseen = _add_ignored(hops, raw, trace)
    findings = find_findings(rules, peer, raw, trace, resolved)
    return Provenance(resolved, tuple(hops), tuple(findings), unseen)


def _hop(address: Address | None, **fields: object) -> Hop:
    """Return a hop with the parts of an address spread out."""
    text, port, zone = (address.text, address.port, address.zone) if address else (None, None, None)
    return Hop(address=text, port=port, zone=zone, **fields)  # type: ignore[arg-type]  # spelled below


def _as_client(hop: Hop, why: str) -> Hop:
    """Return the same hop as the client."""
    return Hop(
        hop.address,
        hop.port,
        hop.zone,
        hop.claimed,
        hop.said_by,
        hop.field,
        hop.line,
        hop.index,
        hop.rule,
        "client",
        why,
    )


def _connection_hops(rules: Rules, peer: Peer, resolved: Resolved, walked: bool) -> list[Hop]:
    """Return the hops that the connection itself shows: the peer, and the PROXY source."""
    outcome = peer.outcome
    source_spoke = peer.source is not None or (outcome is not None and bool(outcome.detail))
    peer_is_client = not walked and not source_spoke
    hops = [
        _hop(
            peer.address._replace(port=peer.port),
            claimed=peer.text.encode("utf-8", "backslashreplace"),
            said_by="TCP",
            field="TCP",
            line=None,
            index=None,
            rule=str(peer.rule) if peer.rule is not None else None,
            verdict="client" if peer_is_client else "trusted",
            why=_WHY[resolved.reason]
            if peer_is_client
            else ("any peer is believed" if rules.mode == "tornado" else f"in {peer.rule}"),
        )
    ]
    if source_spoke:
        hops.append(_prelude_hop(peer, resolved, walked))
    return hops


def _prelude_hop(peer: Peer, resolved: Resolved, walked: bool) -> Hop:
    """Return the hop that the PROXY prelude names."""
    rule = peer.author
    if peer.source is None:
        assert peer.outcome is not None, "a source that is unusable decided the outcome"
        verdict, why = "unusable", peer.outcome.detail
    elif walked:
        verdict, why = "trusted", f"in {rule}"
    else:
        verdict, why = "client", _WHY[resolved.reason]
    return _hop(
        peer.source,
        claimed=_prelude_claim(peer.prelude).encode("utf-8", "backslashreplace"),
        said_by="PROXY",
        field="PROXY",
        line=None,
        index=None,
        rule=str(rule) if rule is not None else None,
        verdict=verdict,
        why=why,
    )


def _prelude_claim(prelude: Any) -> str:
    """Return what a prelude claims, in one word: its source, or why there is none."""
    if prelude.command != "PROXY":
        return str(prelude.command)
    return "UNSPEC" if prelude.source is None else str(prelude.source)


def _step_hop(
    trace: Trace, step: WalkStep, resolved: Resolved, before: Hop, *, is_last: bool
) -> Hop:
    """Return the hop for one entry that the walk looked at."""
    if step.address is None:
        verdict, why = "unusable", step.detail
    elif is_last:
        verdict, why = "client", _WHY[resolved.reason]
    else:
        verdict, why = "trusted", f"in {step.rule}"
    return _hop(
        step.address,
        claimed=step.raw.strip(b" \t"),
        said_by=_author(before),
        field=trace.field.decode("latin-1"),
        line=step.line,
        index=step.position,
        rule=str(step.rule) if step.rule is not None else None,
        verdict=verdict,
        why=why,
    )


def _author(hop: Hop) -> str:
    """Return who wrote the entry that comes after `hop`, as people call it."""
    return hop.said_by if hop.address is None else client_name(hop.address)


def _gap_hop(trace: Trace, before: Hop, count: int) -> Hop:
    """Return what stands for entries that were examined and are not shown."""
    return _hop(
        None,
        claimed=b"...",
        said_by=_author(before),
        field=trace.field.decode("latin-1"),
        line=None,
        index=None,
        rule=None,
        verdict=before.verdict,
        why=f"{count} more entries, not shown",
    )


def _add_ignored(hops: list[Hop], raw: RawPairs, trace: Trace) -> int:
    """Add what stands left of the boundary, as claimed bytes; return how many more there are."""
    if not trace.steps:
        return 0
    lines = [value for name, value in raw if name == trace.field]
    split = split_rightmost if trace.field == b"forwarded" else find_last_comma
    said_by = _author(hops[-1])
    why = (
        "left of an unusable entry: never looked at"
        if trace.steps[-1].address is None
        else "left of the client: anyone can write it"
    )
    shown = unseen = 0
    end, position = trace.end, trace.index
    for number in range(trace.line, -1, -1):
        line = lines[number]
        if number != trace.line:
            end, position = len(line), 0
        while end >= 0:
            if shown == MAX_IGNORED:
                unseen += line.count(b",", 0, end) + 1
                break
            comma = split(line, end)
            hops.append(
                _hop(
                    None,
                    claimed=line[comma + 1 : end].strip(b" \t"),
                    said_by=said_by if shown == 0 else "anyone",
                    field=trace.field.decode("latin-1"),
                    line=number,
                    index=position,
                    rule=None,
                    verdict="ignored",
                    why=why,
                )
            )
            shown += 1
            position += 1
            end = comma
    return unseen
